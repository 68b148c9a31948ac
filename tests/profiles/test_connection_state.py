"""The state of a connection, put together; `tests/stories/test_connecting.py` has each step with its page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ibkr_bridge.config.settings import RoadKind
from ibkr_bridge.events import Bus
from ibkr_bridge.profiles.connection_state import ConnectionState, describe
from ibkr_bridge.profiles.connection_steps import Step
from ibkr_bridge.profiles.credentials import Stored
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.key_making import KeyJob
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.request_tokens import RequestToken
from ibkr_bridge.redaction import Redactor
from tests.clocks import NOON, ManualClock
from tests.harness import settings_for
from tests.oauth.credentials import credential

KEYS = {
    "signature_key": credential().signature_key,
    "encryption_key": credential().encryption_key,
    "dh_parameters": credential().dh_parameters,
}
HOST = "http://127.0.0.1:5100"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def profile(clock: ManualClock, tmp_path: Path) -> Profile:
    """A profile that has not signed in; nothing of it runs."""
    settings = settings_for("http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_ROAD="oauth", IBKR_BRIDGE_API_URL=HOST)
    return build_profile("ben", settings, clock, Bus(), Redactor(), ProfileOptions())


def state_of(
    profile: Profile, stored: Stored, job: KeyJob | None = None, token: RequestToken | None = None, now: float = 0.0
) -> ConnectionState:
    """The state with these parts."""
    return describe(profile, stored, None, ("oauth1a",), job, token, now=now)


async def test_a_user_with_keys_gets_the_files_and_the_page(profile: Profile) -> None:
    """The public halves alone."""
    state = state_of(profile, Stored("keys", KEYS))

    assert (state.step, state.kind, state.page) == (Step.UPLOAD, "oauth1a", f"{HOST}/self-service")
    assert list(state.files) == ["public_signature.pem", "public_encryption.pem", "dhparam.pem"]
    assert "PRIVATE" not in "".join(state.files.values())


@pytest.mark.parametrize(
    "stored",
    [
        Stored("oauth1a-third-party", KEYS),  # they are the company's
        Stored("keys", {**KEYS, "signature_key": "-----BEGIN PRIVATE KEY-----"}),
        Stored("oauth1a", {"signature_key": 1}),
        Stored(),
    ],
)
async def test_without_keys_of_his_own_a_user_has_no_files(profile: Profile, stored: Stored) -> None:
    """There is nothing to upload."""
    assert state_of(profile, stored).files == {}


async def test_a_step_knows_since_when(profile: Profile, clock: ManualClock) -> None:
    """The job, the request token, or else the session."""
    clock.advance(60.0)
    job = KeyJob(NOON + timedelta(seconds=5))
    token = RequestToken("25ebcc75204da80b73f4", clock.now() - 20.0)

    assert state_of(profile, Stored()).since == NOON
    assert state_of(profile, Stored(), job).since == NOON + timedelta(seconds=5)
    asked = state_of(profile, Stored(), None, token, clock.now())
    assert (asked.step, asked.since) == (Step.AUTHORIZE, NOON + timedelta(seconds=40))
    assert asked.page == f"{HOST}/authorize?oauth_token=25ebcc75204da80b73f4"


async def test_a_gateway_needs_no_credential(profile: Profile) -> None:
    """Its own page is where a person signs in."""
    behind = replace(profile, settings=replace(profile.settings, road=RoadKind.GATEWAY))

    assert state_of(behind, Stored()).kind == "gateway"
