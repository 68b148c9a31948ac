"""The registry of profiles: found by name, by the key of a request, and described by the open routes."""

from __future__ import annotations

import pytest

from ibkr_bridge.profiles.registry import MAIN, ProfileRegistry
from tests.harness import Harness


def test_a_profile_is_found_by_its_name(harness: Harness) -> None:
    """The name stands in a key, in events and in the names of its files."""
    registry = ProfileRegistry((harness.bridge.profile,))

    assert registry.get(MAIN) is registry.main is harness.bridge.profile
    assert list(registry) == [harness.bridge.profile]


def test_a_name_without_a_profile_is_an_error(harness: Harness) -> None:
    """No request may reach another profile than the one that its key names."""
    with pytest.raises(KeyError):
        ProfileRegistry((harness.bridge.profile,)).get("paper")


async def test_every_event_of_a_profile_carries_its_name(harness: Harness) -> None:
    """Operators filter the log by it."""
    harness.bridge.profile.trading_pause.set("a test", harness.bridge.clock.utc())
    harness.bridge.profile.penalty_box.enter()

    published = {event.event: getattr(event, "profile", None) for event in harness.events_seen}

    assert published["trading.paused"] == published["limits.penalty_box_entered"] == MAIN
    assert published["session.ready"] == published["session.prepared"] == MAIN
