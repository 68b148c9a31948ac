"""What a profile needs of a road."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.events import Bus
from ibkr_bridge.oauth.handshake_ration import HandshakeRation
from ibkr_bridge.profiles.road import Road
from ibkr_bridge.profiles.roads import road_of
from ibkr_bridge.redaction import Redactor
from tests.harness import settings_for
from tests.oauth.credentials import load_credential


async def open_road(kind: str, tmp_path: Path, **env: str) -> Road:
    """The road of this kind."""
    settings = settings_for("http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_ROAD=kind, **env)
    files = {"cookies": tmp_path / "cookies.json"}
    road = road_of(settings, load_credential, SystemClock(), Bus(), Redactor(), files.get, str, HandshakeRation())
    await road.upstream.close()
    return road


@pytest.mark.parametrize("kind", ["gateway", "oauth"])
async def test_the_settings_choose_the_road(kind: str, tmp_path: Path) -> None:
    """Its traits have its name."""
    assert (await open_road(kind, tmp_path)).upstream.traits.name == kind


async def test_fifty_profiles_at_rest_send_five_calls_a_second_at_most(tmp_path: Path) -> None:
    """They share one address, and IBKR's penalty is by address."""
    road = await open_road("oauth", tmp_path)

    assert 50 * (1 / road.check_interval_s + 1 / 60) <= 5
    assert road.max_age_s > road.check_interval_s


async def test_a_portfolio_only_road_offers_no_brokerage(tmp_path: Path) -> None:
    """Neither a selected account nor suppressed questions are sent on it."""
    assert not (await open_road("oauth", tmp_path, IBKR_BRIDGE_PORTFOLIO_ONLY="yes")).offers_brokerage
    assert (await open_road("oauth", tmp_path)).offers_brokerage
