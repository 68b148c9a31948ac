"""Access through a company: the two calls over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.oauth.credential import Consumer
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.connect import Connect
from tests.harness import with_timeout
from tests.oauth.credentials import credential
from tests.upstream.gateway.scripted_gateway import Connection, Request, ScriptedGateway
from tests.upstream.oauth.scripted_api import TRAITS, WORDING, response

TOKEN, VERIFIER = "25ebcc75204da80b73f4", "61c107d4cf34ac6d9f2b"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedGateway]:
    """A server that gives a request token and an access token."""

    async def answer(request: Request, connection: Connection) -> None:
        body = {"oauth_token": TOKEN, "oauth_token_secret": credential().access_token_secret, "is_paper": True}
        assert request.target.startswith("/v1/api/oauth/")
        await connection.send(response(200, body))

    async with ScriptedGateway(answer) as running:
        yield running


@pytest.fixture
def connect(server: ScriptedGateway) -> Connect:
    """The calls of a company to it."""
    own = credential()
    consumer = Consumer("0123456789abcdef012345678", own.signature_key, own.encryption_key, own.dh_parameters)
    http = HttpClient(URL(server.url), WORDING, 10.0, tls=False, abandoned_for_s=TRAITS.abandoned_for_s)
    return Connect(http, server.url, consumer, SystemClock())


async def test_a_verifier_becomes_a_credential(server: ScriptedGateway, connect: Connect) -> None:
    """Two calls, each signed with the key of the company."""
    token = await with_timeout(connect.request_token())
    made = await with_timeout(connect.access_token(token, VERIFIER))

    assert (token, made.access_token, made.is_paper) == (TOKEN, TOKEN, True)
    assert [each.target for each in server.requests] == ["/v1/api/oauth/request_token", "/v1/api/oauth/access_token"]
    assert VERIFIER in (server.requests[1].header("Authorization") or "")


async def test_a_refusal_has_ibkrs_words(server: ScriptedGateway, connect: Connect) -> None:
    """A consumer of the self-service gets one."""

    async def refuse(_: Request, connection: Connection) -> None:
        await connection.send(response(401, json.loads('{"error":"id: 3, error: invalid consumer"}')))

    server.script = refuse

    with pytest.raises(AccessRefused) as found:
        await with_timeout(connect.request_token())
    assert (found.value.refusal, found.value.words) == (Refusal.INACTIVE, "invalid consumer")


async def test_a_text_of_a_browser_that_is_no_verifier_sends_nothing(server: ScriptedGateway, connect: Connect) -> None:
    """It would stand in a header."""
    with pytest.raises(AccessRefused):
        await with_timeout(connect.access_token(TOKEN, 'a"b'))
    assert server.requests == []


async def test_an_answer_without_a_token_is_a_protocol_error(server: ScriptedGateway, connect: Connect) -> None:
    """Nothing can be made of it."""

    async def empty(_: Request, connection: Connection) -> None:
        await connection.send(response(200, {}))

    server.script = empty

    with pytest.raises(GatewayProtocolError):
        await with_timeout(connect.request_token())
