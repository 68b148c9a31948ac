"""Access by OAuth 2.0 over a real socket. IBKR itself was never seen on this road."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from yarl import URL

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.oauth.credential import OAuth2Credential
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.bearer import SESSION_PATH, TOKEN_PATH, BearerSession
from tests.harness import with_timeout
from tests.oauth.credentials import signature_key, text_of
from tests.upstream.gateway.scripted_gateway import Connection, Request, ScriptedGateway
from tests.upstream.oauth.scripted_api import TRAITS, WORDING, response


@pytest.fixture
async def server() -> AsyncIterator[ScriptedGateway]:
    """A server that gives a token for the client and one for the session."""

    async def answer(request: Request, connection: Connection) -> None:
        token = {TOKEN_PATH: "token-of-client", SESSION_PATH: "token-of-session"}[request.target]
        await connection.send(response(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}))

    async with ScriptedGateway(answer) as running:
        yield running


def session_at(server: ScriptedGateway, key: str | None = None) -> BearerSession:
    """What gets access there."""
    client = OAuth2Credential("client", "key-1", key or text_of(signature_key()), "user", "203.0.113.7")
    http = HttpClient(URL(server.url), WORDING, 10.0, tls=False, abandoned_for_s=TRAITS.abandoned_for_s)
    return BearerSession(http, server.url, client, SystemClock())


async def test_a_client_gets_a_session_for_its_user(server: ScriptedGateway) -> None:
    """Two calls; the second one is authorised with the token of the first."""
    access = await with_timeout(session_at(server).make())

    first, second = server.requests
    form = parse_qs(first.body.decode())
    assert form["grant_type"] == ["client_credentials"]
    assert form["client_assertion"][0].count(".") == 2
    assert (second.header("Authorization"), second.header("Content-Type")) == (
        "Bearer token-of-client",
        "application/jwt",
    )
    assert second.body.count(b".") == 2
    assert access.prepare("GET", "https://api.ibkr.com/x")() == "Bearer token-of-session"
    assert (access.ends - access.made, access.secrets) == (timedelta(hours=1), ("token-of-session",))
    assert "token-of-session" not in repr(access)


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_client_that_is_refused_needs_a_person(server: ScriptedGateway, status: int) -> None:
    """A wrong key, a wrong scope, or a user that the client does not serve."""

    async def refuse(_: Request, connection: Connection) -> None:
        await connection.send(response(status, {"error": "The access token request is invalid"}))

    server.script = refuse

    with pytest.raises(AccessRefused) as found:
        await with_timeout(session_at(server).make())
    assert found.value.refusal is Refusal.INVALID_SIGNATURE


async def test_a_failing_server_is_tried_again(server: ScriptedGateway) -> None:
    """It says nothing of the client."""

    async def fail(_: Request, connection: Connection) -> None:
        await connection.send(response(503, b""))

    server.script = fail

    with pytest.raises(AccessRefused) as found:
        await with_timeout(session_at(server).make())
    assert found.value.refusal is Refusal.UNAVAILABLE


async def test_an_answer_without_a_token_is_a_protocol_error(server: ScriptedGateway) -> None:
    """A token with a line break would be one too."""

    async def answer(_: Request, connection: Connection) -> None:
        await connection.send(response(200, {"access_token": "a\r\nX: b"}))

    server.script = answer

    with pytest.raises(GatewayProtocolError):
        await with_timeout(session_at(server).make())


async def test_a_key_that_cannot_be_read_sends_nothing(server: ScriptedGateway) -> None:
    """The person is told which part is wrong."""
    with pytest.raises(AccessRefused, match="invalid_signature"):
        await with_timeout(session_at(server, "-----BEGIN X-----").make())
    assert server.requests == []
