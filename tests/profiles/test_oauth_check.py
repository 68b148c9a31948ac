"""The check of a profile's credential; `tests/upstream/oauth/test_check.py` has the sabotaged set-ups."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.oauth.diagnosis import Artefact
from ibkr_bridge.profiles.oauth_check import check_credential
from tests.harness import settings_for, with_timeout
from tests.oauth.credentials import credential


async def test_it_calls_the_address_of_the_profile(tmp_path: Path) -> None:
    """Nothing listens at this one."""
    settings = settings_for("http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_API_URL="http://127.0.0.1:9")

    verdict = await with_timeout(check_credential(settings, credential(), SystemClock()))

    assert verdict.artefact is Artefact.URL
