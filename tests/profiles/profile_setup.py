"""A profile as the factory builds it, without a Gateway."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from ibkr_bridge.events import Bus, Event
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.redaction import Redactor
from tests.clocks import ManualClock
from tests.harness import settings_for


@dataclass
class Built:
    """A profile with its clock, its state directory and its events."""

    profile: Profile
    clock: ManualClock
    state: Path
    events: list[Event] = field(default_factory=list)


def build(
    tmp_path: Path,
    options: ProfileOptions | None = None,
    gateway: str = "http://127.0.0.1:9",
    *,
    has_state_dir: bool = True,
    **env: str,
) -> Built:
    """Build a profile with these settings."""
    state, bus, clock = tmp_path / "state", Bus(), ManualClock()
    state.mkdir(exist_ok=True)
    settings = settings_for(gateway, state, **env)
    if not has_state_dir:
        settings = replace(settings, state_dir=None)
    built = Built(build_profile("main", settings, clock, bus, Redactor(), options or ProfileOptions()), clock, state)
    bus.subscribe(built.events.append)
    return built
