"""The calls that get access."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from yarl import URL

from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.posts import new_nonce, post_once
from tests.harness import with_timeout
from tests.upstream.gateway.scripted_gateway import Connection, Request, ScriptedGateway
from tests.upstream.oauth.scripted_api import TRAITS, WORDING


@pytest.fixture
async def server() -> AsyncIterator[ScriptedGateway]:
    """A server that answers `OK`."""
    async with ScriptedGateway() as running:
        yield running


def http_to(server: ScriptedGateway) -> HttpClient:
    """What sends the calls."""
    return HttpClient(URL(server.url), WORDING, 10.0, tls=False, abandoned_for_s=TRAITS.abandoned_for_s)


async def test_a_post_has_its_headers_and_its_length(server: ScriptedGateway) -> None:
    """Also without a body."""
    response = await with_timeout(post_once(http_to(server), server.url, "/x", (("Authorization", "OAuth a"),)))

    [request] = server.requests
    assert response.status == 200
    assert (request.method, request.header("Content-Length"), request.header("Authorization")) == (
        "POST",
        "0",
        "OAuth a",
    )
    assert request.header("User-Agent")


async def test_a_post_is_sent_once(server: ScriptedGateway) -> None:
    """A second handshake could end the first one."""

    async def break_off(_: Request, connection: Connection) -> None:
        await connection.close()

    server.script = break_off

    with pytest.raises(GatewayProtocolError):
        await with_timeout(post_once(http_to(server), server.url, "/x", ()))
    assert len(server.requests) == 1


def test_nonces_differ() -> None:
    """IBKR refuses one that it has seen."""
    assert len({new_nonce() for _ in range(100)}) == 100
