"""Long limits that outlive a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.limits.persistent_windows import MIN_PERIOD_S, PersistentWindows
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.clocks import ManualClock

LONG, SHORT = endpoint_of("POST", "/pa/performance"), endpoint_of("GET", "/portfolio/accounts")
PERIOD = LONG.rate_limit.period_s if LONG.rate_limit else 0.0


class World:
    """Windows on a file, and the limits that they fill."""

    def __init__(self, path: Path | None, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.events: list[Event] = []
        bus = Bus()
        bus.subscribe(self.events.append)
        self.windows = PersistentWindows(path, bus, self.clock.utc, GATEWAY_TRAITS)
        limits = Limits(4, 1, None, {}, lambda endpoint: endpoint.rate_limit)
        self.admission = AdmissionController(limits, self.clock)

    @property
    def is_open(self) -> bool:
        """Whether the long limit has room."""
        return self.admission.admit_out_of_band(LONG) is not None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where they are kept."""
    return tmp_path / "main.paces.json"


def test_a_long_limit_is_still_spent_after_a_restart(path: Path) -> None:
    """For what is left of it: IBKR does not forget with us that it was asked."""
    before = World(path)
    before.windows.record(LONG)
    before.clock.advance(PERIOD - 10.0)

    after = World(path, before.clock)
    after.windows.load(after.admission)
    assert not after.is_open
    after.clock.advance(10.1)

    assert after.is_open


def test_a_short_limit_is_not_kept(path: Path) -> None:
    """It is over by the time that the session is open again; and every read would write a file."""
    World(path).windows.record(SHORT)

    limit = GATEWAY_TRAITS.limit(SHORT)
    assert limit is not None
    assert limit.period_s < MIN_PERIOD_S
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "7", '{"/pa/performance":"soon"}', "[" * 100_000, "\udcff"])
def test_a_file_that_cannot_be_read_counts_as_nothing(path: Path, text: str) -> None:
    """IBKR says it again; the bridge starts all the same."""
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    world = World(path)

    world.windows.load(world.admission)

    assert world.is_open


def test_a_wall_clock_that_was_wrong_closes_nothing_for_longer_than_the_limit(path: Path) -> None:
    """A file from the year 2100 would close the endpoint for ever."""
    path.write_text(json.dumps({LONG.path: 4e9}))
    world = World(path)

    world.windows.load(world.admission)
    assert not world.is_open
    world.clock.advance(PERIOD + 0.1)

    assert world.is_open


def test_nothing_is_kept_without_a_state_directory() -> None:
    """And nothing is complained about."""
    world = World(None)

    world.windows.record(LONG)
    world.windows.load(world.admission)

    assert (world.is_open, world.events) == (True, [])


def test_a_file_that_cannot_be_written_is_announced(tmp_path: Path) -> None:
    """The call goes on."""
    world = World(tmp_path / "missing" / "main.paces.json")

    world.windows.record(LONG)

    assert [type(event) for event in world.events] == [StateUnavailable]
