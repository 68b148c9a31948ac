"""The Gateway's websocket: how it is opened, what goes along, and how it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.upstream.gateway import websocket as module
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.websocket import WEBSOCKET_PATH, WebSocketFactory
from tests.contract.upstreams import GatewayScene
from tests.harness import within
from tests.upstream.gateway.scripted_gateway import Heard, Stage, Voice, never


def factory(url: str, session: str = "") -> WebSocketFactory:
    """Opens websockets to a Gateway."""
    cookies = CookieStore(None, Bus(), Redactor(), SystemClock())
    return WebSocketFactory(url, cookies, tls=False, session=lambda: session)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A Gateway whose websocket says hello and ends when it is let."""
    async with Stage() as opened:
        yield opened


@pytest.mark.parametrize(("session", "cookie"), [("abc1", 'api={"session":"abc1"}'), ("", None), ('a"b', None)])
async def test_the_session_of_the_last_tickle_goes_along(stage: Stage, session: str, cookie: str | None) -> None:
    """One that is no plain word does not: it would end the cookie, or the line."""
    scene = GatewayScene(stage)

    async with factory(stage.url, session).open() as socket:
        assert await within(socket.receive()) == b"hello"
        scene.release.set()

    assert (stage.heard[0].target, stage.heard[0].header("Cookie")) == (WEBSOCKET_PATH, cookie)
    await scene.upstream.close()


async def test_nothing_is_sent_on_a_socket_that_has_ended(stage: Stage) -> None:
    """The feed opens another one."""
    scene = GatewayScene(stage)
    scene.release.set()

    async with factory(stage.url).open() as socket:
        while await within(socket.receive()) is not None:
            pass
        with pytest.raises(GatewayProtocolError, match="has ended"):
            await socket.send("tic")
    await scene.upstream.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://localhost.invalid/\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_no_websocket_is_told_as_such(stage: Stage, answer: bytes) -> None:
    """And nobody is followed anywhere: the cookies would go along."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(answer)

    stage.script = script

    with pytest.raises(GatewayProtocolError):
        async with factory(stage.url).open():
            pass

    assert len(stage.heard) == 1


async def test_nothing_that_listens_is_unreachable(unused_tcp_port: int) -> None:
    """As for any other call."""
    with pytest.raises(GatewayUnreachable):
        async with factory(f"http://127.0.0.1:{unused_tcp_port}").open():
            pass


async def test_a_gateway_that_does_not_answer_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed must not hang in it."""
    monkeypatch.setattr(module, "OPEN_TIMEOUT_S", 0.05)
    stage.script = never

    with pytest.raises(GatewayTimeout):
        async with factory(stage.url).open():
            await asyncio.sleep(0)
