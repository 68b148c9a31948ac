"""The handshake: one call on a connection of its own, and what each answer means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.oauth.signing_keys import OAuth1Keys
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.handshake import Handshake
from ibkr_bridge.upstream.oauth.posts import new_nonce
from tests.harness import with_timeout
from tests.oauth.credentials import ACCESS_TOKEN, credential
from tests.upstream.gateway.scripted_gateway import respond_ok
from tests.upstream.oauth.scripted_api import ScriptedApi, new_http, response


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    """A far side."""
    scripted = ScriptedApi(respond_ok)
    async with scripted.server:
        yield scripted


def handshake_with(api: ScriptedApi, **changes: str) -> Handshake:
    """A handshake with the credential for tests, or one that differs."""
    changed = replace(credential(), **changes)  # type: ignore[arg-type]  # each is a text
    return Handshake(new_http(api), api.server.url, lambda: OAuth1Keys.of(changed), SystemClock())


async def test_both_sides_derive_one_token(api: ScriptedApi) -> None:
    """A new one with each handshake."""
    handshake = handshake_with(api)

    first, second = await with_timeout(handshake.make()), await with_timeout(handshake.make())

    assert first.session.token != second.session.token == api.tokens[0]
    assert second.websocket_query() == {"oauth_token": ACCESS_TOKEN}
    assert second.session.token.hex() in second.secrets
    assert second.ends > second.made


async def test_a_signature_has_the_nonce_of_its_moment(api: ScriptedApi) -> None:
    """Two calls that were prepared together do not have one."""
    access = await with_timeout(handshake_with(api).make())
    prepared = access.prepare("GET", f"{api.server.url}/v1/api/tickle")

    assert prepared() != prepared()
    assert new_nonce().isalnum()


@pytest.mark.parametrize(
    ("status", "text", "refusal"),
    [
        (401, "invalid consumer", Refusal.INACTIVE),
        (401, "LST failed, Invalid signature", Refusal.INVALID_SIGNATURE),
        (401, "LST failed, error: ", Refusal.SECRET_LOST),
        (401, "other", Refusal.UNAUTHORIZED),
        (429, "", Refusal.RATE_LIMITED),
        (503, "", Refusal.UNAVAILABLE),
        (302, "", Refusal.UNREADABLE),
    ],
)
async def test_a_refusal_has_its_meaning_and_ibkrs_words(
    api: ScriptedApi, status: int, text: str, refusal: Refusal
) -> None:
    """The state of the session follows from it."""
    api.rules.handshake_refusals = [response(status, {"error": f"id: 9, error: {text}"})]

    with pytest.raises(AccessRefused) as found:
        await with_timeout(handshake_with(api).make())

    assert (found.value.refusal, found.value.words) == (refusal, text.strip())


async def test_an_answer_that_cannot_be_read_is_no_refusal(api: ScriptedApi) -> None:
    """A proxy may have answered."""
    api.rules.handshake_refusals = [response(200, b"<html>")]

    with pytest.raises(GatewayProtocolError, match="no live session token"):
        await with_timeout(handshake_with(api).make())


async def test_a_key_that_cannot_be_read_sends_nothing(api: ScriptedApi) -> None:
    """The credential is refused here, with the name of the part."""
    with pytest.raises(AccessRefused) as found:
        await with_timeout(handshake_with(api, signature_key="-----BEGIN X-----").make())

    assert found.value.refusal is Refusal.INVALID_SIGNATURE
    assert "signature key" in found.value.words
    assert api.handshakes == 0
