"""The roads to IBKR: what each gives a profile."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.events import Bus
from ibkr_bridge.profiles.roads import gateway_road
from ibkr_bridge.redaction import Redactor
from tests.harness import KEY


async def test_the_road_through_the_gateway_keeps_cookies(tmp_path: Path) -> None:
    """Its state file has the name that the profile gives it."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": KEY})
    road = gateway_road(settings, SystemClock(), Bus(), Redactor(), lambda kind: tmp_path / f"main.{kind}.json", str)

    road.state.load()

    assert road.upstream.traits.name == "gateway"
    await road.upstream.close()
