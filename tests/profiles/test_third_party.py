"""The calls of a company for one profile; `tests/stories/test_connecting.py` has them with the simulated host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import GatewayUnreachable, UpstreamRefused
from ibkr_bridge.oauth.credential import Consumer, CredentialProblem
from ibkr_bridge.profiles.third_party import access_credential, check_keys, request_token
from ibkr_bridge.sim.api_host import ApiHost, usual_keys
from tests.harness import settings_for, with_timeout

KEYS = usual_keys()
CONSUMER = Consumer("SHOPSKEYX", KEYS.signature_key_pem, KEYS.encryption_key_pem, KEYS.dhparam_pem)
CLOCK = SystemClock()


def settings_of(host: ApiHost, tmp_path: Path) -> Settings:
    """The settings of a profile at this host."""
    return settings_for("http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_API_URL=host.url)


async def test_a_company_gets_a_request_token(tmp_path: Path) -> None:
    """Another one for each user."""
    async with ApiHost() as host:
        host.register_company(CONSUMER.consumer_key, "http://app.example/callback")
        tokens = [await with_timeout(request_token(settings_of(host, tmp_path), CONSUMER, CLOCK)) for _ in range(2)]

    assert len(set(tokens)) == 2


async def test_what_ibkr_refuses_is_named(tmp_path: Path) -> None:
    """An unknown company, a wrong key, and a verifier that fits nothing."""
    async with ApiHost() as host:
        settings = settings_of(host, tmp_path)
        with pytest.raises(UpstreamRefused, match="does not know the consumer key"):
            await with_timeout(request_token(settings, CONSUMER, CLOCK))
        host.register_company(CONSUMER.consumer_key, "http://app.example/callback")
        with pytest.raises(UpstreamRefused, match="no request token"):
            await with_timeout(request_token(settings, replace(CONSUMER, signature_key=CONSUMER.encryption_key), CLOCK))
        with pytest.raises(UpstreamRefused, match="no access token"):
            await with_timeout(access_credential(settings, CONSUMER, CLOCK, "0" * 20, "1" * 20))


async def test_a_host_that_is_away_is_an_error_of_its_own(tmp_path: Path) -> None:
    """Nobody refused anything."""
    settings = settings_for("http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_API_URL="http://127.0.0.1:9")

    with pytest.raises(GatewayUnreachable):
        await with_timeout(request_token(settings, CONSUMER, CLOCK))


@pytest.mark.parametrize("member", ["signature_key", "encryption_key", "dh_parameters"])
def test_keys_are_read_before_they_are_stored(member: str) -> None:
    """The words say which one is wrong, and show nothing of it."""
    check_keys(CONSUMER)
    with pytest.raises(CredentialProblem, match="of the company cannot be used") as caught:
        check_keys(replace(CONSUMER, **{member: "-----BEGIN CANARY-----"}))
    assert "CANARY" not in str(caught.value)
