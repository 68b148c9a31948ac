"""The websocket for clients of the Gateway: what is answered to what they say."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from ibkr_bridge import events
from ibkr_bridge.api.stream_websocket import BURST, MAX_MESSAGE_BYTES
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, within
from tests.stream_clients import Ws, socket

AAPL = 265598


async def up(harness: Harness) -> Harness:
    """A harness whose stream is fresh."""
    await harness.wait_for_events(events.FeedUp)
    return harness


@pytest.mark.parametrize("path", ["/ws", "/v1/api/ws"])
async def test_a_plain_request_is_told_that_this_is_a_websocket(harness: Harness, path: str) -> None:
    """Whoever opens it in a browser reads what to do."""
    reply = await harness.get(path)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert "/stream/" in reply.json["hint"]


@pytest.mark.parametrize("path", ["/ws", "/v1/api/ws"])
async def test_a_sign_of_life_is_answered_as_ibkr_does(harness: Harness, path: str) -> None:
    """Clients of the Gateway close a socket that does not answer."""
    async with socket(await up(harness), path) as talk:
        await talk.say("tic")
        told = await talk.next("tic")

    assert told["alive"] is True
    assert told["lastAccessed"] > 1_600_000_000_000


async def test_an_echo_comes_back_as_it_was_said(harness: Harness) -> None:
    """It is no JSON at the Gateway either."""
    async with socket(await up(harness)) as talk:
        await talk.say("ech+hb")

        assert await talk.until(lambda told: told == "ech+hb") == "ech+hb"


@pytest.mark.parametrize("said", ["", "nonsense", "smd", "smd+AAPL+{}", "smd+265598+{", "smd+265598+[]", "s" * 5000])
async def test_what_is_no_command_is_answered_and_the_socket_goes_on(harness: Harness, said: str) -> None:
    """The Gateway would say nothing, and its user would wait."""
    async with socket(await up(harness)) as talk:
        await talk.say(said)
        told = await talk.next("error")
        await talk.say("tic")
        await talk.next("tic")

    assert told["code"] == "bad_request"
    assert told["hint"]


async def test_bytes_are_no_command(harness: Harness) -> None:
    """The protocol is one of texts."""
    async with socket(await up(harness)) as talk:
        await talk.talk.send_bytes(b"tic")

        assert (await talk.next("error"))["code"] == "bad_request"


async def test_a_refusal_does_not_repeat_what_was_said(harness: Harness) -> None:
    """It may hold a secret, and answers end up in logs."""
    async with socket(await up(harness)) as talk:
        await talk.say("smd+canary-0123456789+{}")

        assert "canary" not in str(await talk.next("error"))


async def test_a_quote_is_told_until_it_is_left(harness: Harness, sim: Simulator) -> None:
    """In IBKR's own words, and IBKR is told when nobody wants it any more."""
    async with socket(await up(harness)) as talk:
        await talk.say(f'smd+{AAPL}+{{"fields":["31"]}}')
        told = await talk.next(f"smd+{AAPL}")
        await talk.say(f"umd+{AAPL}+{{}}")
        await within(sim.market.stream.has_heard(f"umd+{AAPL}+{{}}"))

    assert told["conid"] == AAPL


async def test_leaving_is_answered_where_ibkr_answers_it(harness: Harness) -> None:
    """Clients wait for these words."""
    async with socket(await up(harness)) as talk:
        await talk.say("usd+DU1234567+{}")

        assert await talk.until(lambda told: isinstance(told, dict) and "result" in told) == {
            "result": "unsubscribed from summary"
        }


async def test_many_commands_at_once_are_all_done(harness: Harness) -> None:
    """Nobody else is kept waiting meanwhile, and none is lost."""
    async with socket(await up(harness)) as talk:
        for _ in range(3 * BURST):
            await talk.say("tic")
        answers = [await talk.next("tic") for _ in range(3 * BURST)]
        health = await harness.get("/health", key=None)

    assert len(answers) == 3 * BURST
    assert health.status == 200


async def test_a_message_beyond_the_gateways_bound_ends_the_socket(harness: Harness) -> None:
    """With the code that says so."""
    async with socket(await up(harness)) as talk:
        await talk.say("x" * (MAX_MESSAGE_BYTES + 1))

        assert await code_of(talk) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def code_of(talk: Ws) -> int | None:
    """With which code a socket is closed; what comes before is passed over."""
    while True:
        message = await within(talk.talk.receive())
        if message.type is not aiohttp.WSMsgType.TEXT:
            return talk.talk.close_code


async def test_an_ending_bridge_goes_away_with_a_word(harness: Harness) -> None:
    """A client that knows the code connects again at once."""
    async with socket(await up(harness)) as talk:
        await talk.say("tic")
        await talk.next("tic")
        ending = asyncio.create_task(harness.finish())

        assert await code_of(talk) == aiohttp.WSCloseCode.GOING_AWAY
        await within(ending)

    (closed,) = await harness.wait_for_events(events.StreamClosed)
    assert isinstance(closed, events.StreamClosed)
    assert closed.reason == "shutting_down"
