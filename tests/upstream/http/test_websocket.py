"""The Gateway's websocket: how it is opened, which cookies it sends, and how it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.http import websocket as module
from ibkr_bridge.upstream.http.websocket import WebSocketFactory
from tests.contract.upstreams import GatewayScene
from tests.harness import with_timeout
from tests.upstream.gateway.scripted_gateway import TEST_TIMEOUT_S, Connection, Request, ScriptedGateway, never_respond


def new_factory(url: str, session: str = "") -> WebSocketFactory:
    """A factory of websockets to the Gateway at this address."""
    cookies = CookieStore(None, Bus(), Redactor(), SystemClock())
    return GatewayClient(url, cookies, TEST_TIMEOUT_S, tls=False, session_id=lambda: session)._websockets


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A scripted Gateway; with a `GatewayScene` its websocket sends hello and ends when it is released."""
    async with ScriptedGateway() as running:
        yield running


async def test_sending_on_a_websocket_that_has_ended_raises(gateway: ScriptedGateway) -> None:
    """The feed then opens another one."""
    scene = GatewayScene(gateway)
    scene.release.set()

    async with new_factory(gateway.url).open() as socket:
        while await with_timeout(socket.receive()) is not None:
            pass
        with pytest.raises(GatewayProtocolError, match="has ended"):
            await socket.send("tic")
    await scene.upstream.close()


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://localhost.invalid/\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_response_other_than_an_upgrade_is_a_protocol_error(gateway: ScriptedGateway, response: bytes) -> None:
    """A redirect is not followed, since the cookies would be sent to the other address."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(response)

    gateway.script = script

    with pytest.raises(GatewayProtocolError):
        async with new_factory(gateway.url).open():
            pass

    assert len(gateway.requests) == 1


async def test_a_port_without_a_listener_is_unreachable(unused_tcp_port: int) -> None:
    """The error is the same as for a call."""
    with pytest.raises(GatewayUnreachable):
        async with new_factory(f"http://127.0.0.1:{unused_tcp_port}").open():
            pass


async def test_opening_a_websocket_has_a_timeout(gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed must not wait without end for a Gateway that does not respond."""
    monkeypatch.setattr(module, "OPEN_TIMEOUT_S", 0.05)
    gateway.script = never_respond

    with pytest.raises(GatewayTimeout):
        async with new_factory(gateway.url).open():
            await asyncio.sleep(0)
