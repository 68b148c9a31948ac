"""A profile on the road to IBKR's Web API, in front of a far side that verifies every signature."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import NotSupported
from ibkr_bridge.events import Bus
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.state_machine import SessionState
from tests.calls.stage_setup import context_for
from tests.harness import settings_for, with_timeout
from tests.oauth.credentials import ACCESS_TOKEN, CONSUMER_KEY, load_credential
from tests.upstream.gateway.scripted_gateway import Connection, Request
from tests.upstream.oauth.scripted_api import ScriptedApi, response

ACCOUNTS = [{"id": "DU1234567", "accountId": "DU1234567"}]


async def answer(request: Request, connection: Connection) -> None:
    """The few calls of a session."""
    path = request.target.partition("?")[0].removeprefix("/v1/api")
    body: object = {
        "/iserver/auth/status": {"authenticated": True, "connected": True, "competing": False, "established": True},
        "/iserver/accounts": {"accounts": ["DU1234567"], "isPaper": True, "selectedAccount": "DU1234567"},
        "/portfolio/accounts": ACCOUNTS,
        "/tickle": {"session": "abcdef0123456789"},
    }.get(path, {})
    await connection.send(response(200, body))


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    """A far side with one account."""
    scripted = ScriptedApi(answer)
    async with scripted.server:
        yield scripted


@asynccontextmanager
async def open_profile(
    api: ScriptedApi, tmp_path: Path, redactor: Redactor | None = None, **env: str
) -> AsyncIterator[Profile]:
    """A profile whose keeper has made one round."""
    settings = settings_for(
        "http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_ROAD="oauth", IBKR_BRIDGE_API_URL=api.server.url, **env
    )
    options = ProfileOptions()
    parts = (SystemClock(), Bus(), redactor or Redactor(), options, load_credential)
    profile = build_profile("main", settings, *parts)
    await profile.load()
    await with_timeout(profile.keeper._round())
    try:
        yield profile
    finally:
        await profile.close()


def context_of(target: str, method: str = "GET") -> CallContext:
    """A caller's call."""
    context = context_for(method, target)
    return replace(context, call=replace(context.call, headers=request_headers(())))


async def test_a_profile_signs_in_and_reads_its_accounts(api: ScriptedApi, tmp_path: Path) -> None:
    """One handshake serves the session and the callers."""
    async with open_profile(api, tmp_path) as profile:
        response = await with_timeout(profile.execute(context_of("/portfolio/accounts")))

        assert profile.keeper.session.state is SessionState.READY
        assert json.loads(response.body) == ACCOUNTS
        assert (api.handshakes, api.refused, len(set(api.nonces))) == (1, 0, len(api.nonces))


async def test_a_portfolio_only_profile_never_opens_a_brokerage_session(api: ScriptedApi, tmp_path: Path) -> None:
    """So it disturbs no other program of this user; orders and quotes are refused with the reason."""
    async with open_profile(api, tmp_path, IBKR_BRIDGE_PORTFOLIO_ONLY="yes") as profile:
        with pytest.raises(NotSupported, match="IBKR_BRIDGE_PORTFOLIO_ONLY"):
            await with_timeout(profile.execute(context_of("/iserver/marketdata/snapshot?conids=8314&fields=31")))

        assert profile.keeper.session.state is SessionState.READY
        assert profile.keeper.accounts.numbers == {"DU1234567"}
        assert [each.target for each in api.calls if "/iserver/" in each.target] == []


async def test_secrets_are_redacted(api: ScriptedApi, tmp_path: Path) -> None:
    """Those of the credential, and the live session token, which exists in memory only."""
    redactor = Redactor()
    async with open_profile(api, tmp_path, redactor) as profile:
        text = f"{ACCESS_TOKEN} {CONSUMER_KEY} {api.tokens[0].hex()}"

        assert profile.keeper.session.has_login
        assert not any(secret in redactor.redact(text) for secret in text.split())
