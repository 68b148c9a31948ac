"""The profiles of one bridge: each is built, run and closed on its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.errors import ProfileNotFound
from ibkr_bridge.events import Bus, Event, ProfileAdded, ProfileRemoved
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.manager import ProfileManager
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.redaction import Redactor
from tests.clocks import ManualClock
from tests.harness import settings_for


@pytest.fixture
def main(tmp_path: Path) -> Settings:
    """The settings of the profile `main`; nothing listens at its Gateway."""
    state = tmp_path / "state"
    state.mkdir()
    return settings_for("http://127.0.0.1:9", state)


@pytest.fixture
def published() -> list[Event]:
    return []


@pytest.fixture
async def manager(main: Settings, published: list[Event]) -> AsyncIterator[ProfileManager]:
    """A manager with the profile `main` alone."""
    clock, bus, redactor = ManualClock(), Bus(), Redactor()
    bus.subscribe(published.append)

    def build(settings: Settings) -> Profile:
        return build_profile(settings.profile, settings, clock, bus, redactor, ProfileOptions())

    made = ProfileManager(main, build, clock, bus)
    await made.start(())
    yield made
    await made.close()


def other(main: Settings, name: str = "anna") -> Settings:
    """The settings of a further profile."""
    return replace(main.with_gateway("http://127.0.0.1:10"), profile=name)


async def test_a_profile_is_added_and_removed(manager: ProfileManager, main: Settings, published: list[Event]) -> None:
    """Whoever follows the profiles learns of both."""
    seen: list[str] = []
    manager.on_added.subscribe(lambda profile: seen.append(f"+{profile.name}"))
    manager.on_removed.subscribe(lambda profile: seen.append(f"-{profile.name}"))

    profile = await manager.add(other(main))
    assert [each.name for each in manager.registry] == ["main", "anna"]
    assert manager.registry.get("anna") is profile

    await manager.remove("anna")
    assert [each.name for each in manager.registry] == ["main"]
    assert seen == ["+anna", "-anna"]
    kinds = [type(each) for each in published if isinstance(each, ProfileAdded | ProfileRemoved)]
    assert kinds == [ProfileAdded, ProfileRemoved]


async def test_its_files_have_its_name(manager: ProfileManager, main: Settings) -> None:
    """Two profiles never write into one file."""
    await manager.add(other(main))
    assert main.state_dir is not None

    assert {path.name for path in main.state_dir.glob("*.orders.db")} >= {"main.orders.db", "anna.orders.db"}


async def test_a_name_is_used_once(manager: ProfileManager, main: Settings) -> None:
    """And so is a Gateway."""
    await manager.add(other(main))

    with pytest.raises(ValueError, match="in use"):
        await manager.add(other(main))
    with pytest.raises(SettingsError, match="twice"):
        manager.check_unique(other(main))
    with pytest.raises(SettingsError, match="the Gateway of the profile anna"):
        manager.check_unique(other(main, "ben"))


async def test_the_profile_of_the_environment_stays(manager: ProfileManager) -> None:
    """The open routes describe it."""
    with pytest.raises(ProfileNotFound):
        await manager.remove("main")
    with pytest.raises(ProfileNotFound):
        await manager.remove("nobody")


async def test_a_profile_is_built_anew(manager: ProfileManager, main: Settings) -> None:
    """Its journal is opened again by the new one."""
    before = await manager.add(other(main))
    after = await manager.replace(replace(other(main), read_only=True))

    assert manager.registry.get("anna") is after is not before
    assert after.settings.read_only
    assert after.orders.status().problem is None
