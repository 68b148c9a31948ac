"""The Gateway's client: its cookies, also for the websocket. `tests/upstream/http/test_client.py` has its deadlines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.upstream.gateway.client import WEBSOCKET_PATH, GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.contract.upstreams import GatewayScene
from tests.harness import with_timeout
from tests.upstream.gateway.scripted_gateway import OK, TEST_TIMEOUT_S, Connection, Request, ScriptedGateway


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A scripted Gateway; with a `GatewayScene` its websocket sends hello and ends when it is released."""
    async with ScriptedGateway() as running:
        yield running


def new_client(url: str, session: str = "") -> GatewayClient:
    """A client of the Gateway at this address, without cookies."""
    cookies = CookieStore(None, Bus(), Redactor(), SystemClock())
    return GatewayClient(url, cookies, TEST_TIMEOUT_S, tls=False, session_id=lambda: session)


@pytest.mark.parametrize(("session", "cookie"), [("abc1", 'api={"session":"abc1"}'), ("", None), ('a"b', None)])
async def test_the_cookie_contains_the_session_of_the_last_tickle(
    gateway: ScriptedGateway, session: str, cookie: str | None
) -> None:
    """A session id with special characters is not sent: it would end the cookie, or the line."""
    scene = GatewayScene(gateway)

    async with new_client(gateway.url, session).open_stream() as socket:
        assert await with_timeout(socket.receive()) == b"hello"
        scene.release.set()

    assert (gateway.requests[0].target, gateway.requests[0].header("Cookie")) == (WEBSOCKET_PATH, cookie)
    await scene.upstream.close()


async def test_cookies_are_stored_and_returned(gateway: ScriptedGateway) -> None:
    """IBKR's session is a cookie of the Gateway."""

    async def set_cookie(_: Request, connection: Connection) -> None:
        await connection.send(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"))

    gateway.script = set_cookie
    client = new_client(gateway.url)

    for _ in range(2):
        await client.send(Call("GET", "/v1/api/x"))

    assert [each.header("Cookie") for each in gateway.requests] == [None, "a=b"]
    await client.close()
