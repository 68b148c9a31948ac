"""The registry of profiles: found by name, by the key of a request, and described by the open routes."""

from __future__ import annotations

import pytest

from ibkr_bridge.profiles.registry import MAIN, ProfileRegistry
from tests.harness import House


def test_a_profile_is_found_by_its_name(house: House) -> None:
    """The name stands in a key, in events and in the names of its files."""
    registry = ProfileRegistry((house.bridge.profile,))

    assert registry.get(MAIN) is registry.main is house.bridge.profile
    assert list(registry) == [house.bridge.profile]


def test_a_name_without_a_profile_is_an_error(house: House) -> None:
    """No request may reach another profile than the one that its key names."""
    with pytest.raises(KeyError):
        ProfileRegistry((house.bridge.profile,)).get("paper")


async def test_every_event_of_a_profile_carries_its_name(house: House) -> None:
    """Operators filter the log by it."""
    house.bridge.profile.trading_pause.set("a test", house.bridge.clock.utc())
    house.bridge.profile.penalty_box.enter()

    published = {event.event: getattr(event, "profile", None) for event in house.events_seen}

    assert published["trading.paused"] == published["limits.penalty_box_entered"] == MAIN
    assert published["session.ready"] == published["session.prepared"] == MAIN
