"""The websocket for clients of the Gateway: its responses to their commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from ibkr_bridge import events
from ibkr_bridge.api.stream_websocket import MAX_BURST, MAX_MESSAGE_BYTES
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, with_timeout
from tests.stream_clients import WebsocketReader, open_websocket

AAPL = 265598


async def with_feed(harness: Harness) -> Harness:
    """The harness once its feed is up."""
    await harness.wait_for_events(events.FeedUp)
    return harness


@pytest.mark.parametrize("path", ["/ws", "/v1/api/ws"])
async def test_a_plain_request_is_refused_with_a_hint(harness: Harness, path: str) -> None:
    """The hint says how to open it."""
    reply = await harness.get(path)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert "/stream/" in reply.json["hint"]


@pytest.mark.parametrize("path", ["/ws", "/v1/api/ws"])
async def test_a_heartbeat_is_answered_as_by_ibkr(harness: Harness, path: str) -> None:
    """Clients of the Gateway close a socket that does not answer it."""
    async with open_websocket(await with_feed(harness), path) as websocket:
        await websocket.send("tic")
        message = await websocket.receive("tic")

    assert message["alive"] is True
    assert message["lastAccessed"] > 1_600_000_000_000


async def test_an_echo_is_returned_unchanged(harness: Harness) -> None:
    """As at the Gateway, it is not JSON."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send("ech+hb")

        assert await websocket.receive_until(lambda message: message == "ech+hb") == "ech+hb"


@pytest.mark.parametrize("text", ["", "nonsense", "smd", "smd+AAPL+{}", "smd+265598+{", "smd+265598+[]", "s" * 5000])
async def test_an_unknown_command_is_an_error_and_the_socket_stays_open(harness: Harness, text: str) -> None:
    """The Gateway would send nothing, and its user would wait."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send(text)
        message = await websocket.receive("error")
        await websocket.send("tic")
        await websocket.receive("tic")

    assert message["code"] == "bad_request"
    assert message["hint"]


async def test_text_in_a_binary_frame_is_a_command(harness: Harness) -> None:
    """The Gateway itself sends binary frames, and its clients answer in kind."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.websocket.send_bytes(b"sor+{}")
        await websocket.websocket.send_bytes(b"tic")

        assert (await websocket.receive("tic"))["alive"] is True


async def test_bytes_that_are_not_text_are_an_error(harness: Harness) -> None:
    """The socket stays open."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.websocket.send_bytes(b"\xff\xfe\x00")

        assert (await websocket.receive("error"))["code"] == "bad_request"
        await websocket.send("tic")
        await websocket.receive("tic")


@pytest.mark.parametrize("frame", ["text", "binary"])
async def test_the_session_is_accepted_as_a_first_message(harness: Harness, frame: str) -> None:
    """Clients without cookies introduce themselves so to the Gateway. It has no answer, and no error."""
    text = '{"session": "0af3c2b1d4"}'
    async with open_websocket(await with_feed(harness)) as websocket:
        await (websocket.send(text) if frame == "text" else websocket.websocket.send_bytes(text.encode()))
        await websocket.send("tic")
        topics = [message.get("topic") async for message in _until_tic(websocket)]

    assert "error" not in topics


async def _until_tic(websocket: WebsocketReader) -> AsyncIterator[dict[str, Any]]:
    while (message := await websocket.receive()).get("topic") != "tic":
        yield message


@pytest.mark.parametrize(
    "text", ["{}", '{"session":', '{"session":7}', '{"session":null}', '["session"]', '{"sessio":"x"}']
)
async def test_other_json_is_not_a_command(harness: Harness, text: str) -> None:
    """Only the session is known in this form."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send(text)

        assert (await websocket.receive("error"))["code"] == "bad_request"


async def test_an_error_does_not_repeat_the_command(harness: Harness) -> None:
    """A command may have a secret, and clients log errors."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send("smd+canary-0123456789+{}")

        assert "canary" not in str(await websocket.receive("error"))


async def test_quotes_come_until_they_are_unsubscribed(harness: Harness, sim: Simulator) -> None:
    """In IBKR's format. IBKR gets the last unsubscription."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send(f'smd+{AAPL}+{{"fields":["31"]}}')
        message = await websocket.receive(f"smd+{AAPL}")
        await websocket.send(f"umd+{AAPL}+{{}}")
        await with_timeout(sim.market.stream.wait_for_message(f"umd+{AAPL}+{{}}"))

    assert message["conid"] == AAPL


async def test_an_unsubscription_is_answered_if_ibkr_answers_it(harness: Harness) -> None:
    """Clients wait for this message."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send("usd+DU1234567+{}")

        assert await websocket.receive_until(lambda message: isinstance(message, dict) and "result" in message) == {
            "result": "unsubscribed from summary"
        }


async def test_many_commands_at_once_are_all_handled(harness: Harness) -> None:
    """None is lost, and other requests are served meanwhile."""
    async with open_websocket(await with_feed(harness)) as websocket:
        for _ in range(3 * MAX_BURST):
            await websocket.send("tic")
        answers = [await websocket.receive("tic") for _ in range(3 * MAX_BURST)]
        health = await harness.get("/health", key=None)

    assert len(answers) == 3 * MAX_BURST
    assert health.status == 200


async def test_a_message_above_the_limit_of_the_gateway_closes_the_socket(harness: Harness) -> None:
    """The close code says why."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send("x" * (MAX_MESSAGE_BYTES + 1))

        assert await close_code_of(websocket) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def close_code_of(websocket: WebsocketReader) -> int | None:
    """The code with which the socket is closed; text messages before it are skipped."""
    while True:
        message = await with_timeout(websocket.websocket.receive())
        if message.type is not aiohttp.WSMsgType.TEXT:
            return websocket.websocket.close_code


async def test_a_stopping_bridge_closes_the_socket_with_a_code(harness: Harness) -> None:
    """A client that knows the code reconnects at once."""
    async with open_websocket(await with_feed(harness)) as websocket:
        await websocket.send("tic")
        await websocket.receive("tic")
        ending = asyncio.create_task(harness.finish())

        assert await close_code_of(websocket) == aiohttp.WSCloseCode.GOING_AWAY
        await with_timeout(ending)

    (closed,) = await harness.wait_for_events(events.StreamClosed)
    assert isinstance(closed, events.StreamClosed)
    assert closed.reason == "shutting_down"
