"""The registry of profiles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.errors import ProfileNotFound
from ibkr_bridge.profiles.registry import ProfileRegistry
from tests.harness import Harness


def test_a_profile_is_found_by_its_name(harness: Harness) -> None:
    """Keys, events and file names have this name."""
    registry = ProfileRegistry((harness.bridge.profile,))

    assert registry.get("main") is registry.default is harness.bridge.profile
    assert list(registry) == [harness.bridge.profile]


def test_a_name_without_a_profile_is_an_error(harness: Harness) -> None:
    """A request must never reach another profile than that of its key."""
    with pytest.raises(ProfileNotFound):
        ProfileRegistry((harness.bridge.profile,)).get("paper")


def test_profiles_come_and_go(harness: Harness) -> None:
    """The one of the environment stays, as the open routes describe it."""
    main = harness.bridge.profile
    registry = ProfileRegistry((main,))

    registry.add(replace(main, name="paper"))
    assert ("paper" in registry, len(registry), registry.get("paper").name) == (True, 2, "paper")
    with pytest.raises(ValueError, match="in use"):
        registry.add(replace(main, name="paper"))

    assert registry.remove("paper").name == "paper"
    assert "paper" not in registry
    with pytest.raises(ProfileNotFound):
        registry.remove("main")


async def test_every_event_of_a_profile_has_its_name(harness: Harness) -> None:
    """Operators filter the log by the name of the profile."""
    harness.bridge.profile.trading_pause.set("a test", harness.bridge.clock.utc())
    harness.bridge.profile.penalty_box.enter()

    published = {event.event: getattr(event, "profile", None) for event in harness.events_seen}

    assert published["trading.paused"] == published["limits.penalty_box_entered"] == "main"
    assert published["session.ready"] == published["session.prepared"] == "main"
