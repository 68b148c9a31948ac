"""The check of a credential: set-ups that are sabotaged, each named rightly, against a host that checks everything."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.oauth.credential import OAuth1Credential
from ibkr_bridge.oauth.diagnosis import Diagnosis
from ibkr_bridge.oauth.signing import KeyProblem, decrypt_secret, load_rsa_key
from ibkr_bridge.profiles.oauth_check import check_credential
from ibkr_bridge.sim.api_host import ApiHost, Registration
from tests.harness import settings_for, with_timeout
from tests.oauth.credentials import signature_key, text_of
from tests.oauth.test_dh_parameters import der, integer, pem
from tests.oauth.vectors import GROUP_14
from tests.stories.test_without_gateway import credential_of

INIT = "/iserver/auth/ssodh/init"
NEW_KEY = text_of(signature_key())
OTHER_PARAMETERS = pem(der(0x30, integer(GROUP_14.p) + integer(GROUP_14.g + 1)))


@pytest.fixture
async def host() -> AsyncIterator[ApiHost]:
    """A simulated api.ibkr.com."""
    async with ApiHost() as running:
        yield running


@pytest.fixture
def anna(host: ApiHost) -> Registration:
    """A user of it."""
    return host.register("anna")


async def check(host: ApiHost, credential: OAuth1Credential, tmp_path: Path, url: str = "") -> Diagnosis:
    """The verdict on a credential."""
    settings: Settings = settings_for("http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_API_URL=url or host.url)
    return await with_timeout(check_credential(settings, credential, SystemClock()))


def artefact_of(verdict: Diagnosis) -> str | None:
    """The name of the part that is wrong."""
    return verdict.artefact.value if verdict.artefact is not None else None


def with_telling_secret(user: Registration) -> Registration:
    """The user with a secret that no wrong key decrypts to 32 bytes by chance, as one in two hundred does."""
    while 32 in (length_with(key, user.access_token_secret) for key in (NEW_KEY, user.signature_key_pem)):
        user = user.regenerate()
    return user


def length_with(key: str, secret: str) -> int:
    """The length of the secret as this key decrypts it; 0 if it cannot."""
    try:
        return len(decrypt_secret(load_rsa_key(key.encode()), secret))
    except KeyProblem:
        return 0


async def test_a_good_credential_is_good(host: ApiHost, anna: Registration, tmp_path: Path) -> None:
    """No brokerage session is opened for it."""
    verdict = await check(host, credential_of(anna), tmp_path)

    assert (artefact_of(verdict), verdict.do) == (None, "nothing to do")
    assert host.calls(INIT) == []


@pytest.mark.parametrize(
    "part",
    [
        "consumer_key",
        "signature_key",
        "encryption_key",
        "access_token",
        "access_token_secret",
        "dh_parameters",
        "swapped_keys",
        "clock",
        "url",
    ],
)
async def test_each_sabotaged_part_is_named(host: ApiHost, anna: Registration, tmp_path: Path, part: str) -> None:
    """By elimination: IBKR itself says "invalid signature" to four of them."""
    good, other, url = credential_of(with_telling_secret(anna)), credential_of(host.register("ben", "OTHERCONS")), ""
    sabotaged = {
        "consumer_key": dataclasses.replace(good, consumer_key="NEVERSEEN"),
        "signature_key": dataclasses.replace(good, signature_key=NEW_KEY),
        "encryption_key": dataclasses.replace(good, encryption_key=NEW_KEY),
        "access_token": dataclasses.replace(good, access_token=other.access_token[::-1]),
        "dh_parameters": dataclasses.replace(good, dh_parameters=OTHER_PARAMETERS),
        "swapped_keys": dataclasses.replace(good, signature_key=good.encryption_key, encryption_key=good.signature_key),
    }.get(part, good)
    if part == "access_token_secret":
        anna.regenerate()  # the user holds the former secret
    elif part == "clock":
        host.rules.clock_skew_s = 3600.0
    elif part == "url":
        url = "http://127.0.0.1:9"

    verdict = await check(host, sabotaged, tmp_path, url)

    assert artefact_of(verdict) == part, verdict
    assert host.calls(INIT) == []


async def test_a_secret_above_the_modulus_needs_no_handshake(host: ApiHost, anna: Registration, tmp_path: Path) -> None:
    """A wrong encryption key is named from the numbers alone."""
    secret = base64.b64encode(b"\xff" * 256).decode()

    verdict = await check(host, dataclasses.replace(credential_of(anna), access_token_secret=secret), tmp_path)

    assert artefact_of(verdict) == "encryption_key"
    assert host.calls() == []


async def test_a_program_that_is_not_ibkr_is_a_wrong_address(anna: Registration, tmp_path: Path, host: ApiHost) -> None:
    """Such as another server on the port of a simulator."""
    async with TestServer(web.Application()) as server:
        verdict = await check(host, credential_of(anna), tmp_path, str(server.make_url("")).rstrip("/"))

    assert artefact_of(verdict) == "url"
