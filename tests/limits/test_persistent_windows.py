"""Rate limits with a long period, which survive a restart."""

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

LONG_LIMIT, SHORT_LIMIT = endpoint_of("POST", "/pa/performance"), endpoint_of("GET", "/portfolio/accounts")
PERIOD_S = LONG_LIMIT.rate_limit.period_s if LONG_LIMIT.rate_limit else 0.0


class RestartedLimits:
    """The windows of one run of the bridge, and the admission controller that they fill."""

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
        """True if the window of the long limit has room."""
        return self.admission.admit_out_of_band(LONG_LIMIT) is not None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the windows."""
    return tmp_path / "main.paces.json"


def test_a_used_up_long_limit_stays_used_up_after_a_restart(path: Path) -> None:
    """It lasts for the rest of its period, since IBKR still counts the call."""
    before = RestartedLimits(path)
    before.windows.record(LONG_LIMIT)
    before.clock.advance(PERIOD_S - 10.0)

    after = RestartedLimits(path, before.clock)
    after.windows.load(after.admission)
    assert not after.is_open
    after.clock.advance(10.1)

    assert after.is_open


def test_a_short_limit_is_not_saved(path: Path) -> None:
    """It is over before the session is open again, and each read would write a file."""
    RestartedLimits(path).windows.record(SHORT_LIMIT)

    limit = GATEWAY_TRAITS.limit(SHORT_LIMIT)
    assert limit is not None
    assert limit.period_s < MIN_PERIOD_S
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "7", '{"/pa/performance":"soon"}', "[" * 100_000, "\udcff"])
def test_an_unreadable_file_is_ignored(path: Path, text: str) -> None:
    """The bridge starts all the same. If the limit is used up, IBKR answers 429."""
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    limits = RestartedLimits(path)

    limits.windows.load(limits.admission)

    assert limits.is_open


def test_a_time_in_the_future_closes_an_endpoint_for_one_period_at_most(path: Path) -> None:
    """A file from the year 2100 would otherwise close the endpoint without end."""
    path.write_text(json.dumps({LONG_LIMIT.path: 4e9}))
    limits = RestartedLimits(path)

    limits.windows.load(limits.admission)
    assert not limits.is_open
    limits.clock.advance(PERIOD_S + 0.1)

    assert limits.is_open


def test_without_a_state_directory_nothing_is_saved() -> None:
    """No event reports it."""
    limits = RestartedLimits(None)

    limits.windows.record(LONG_LIMIT)
    limits.windows.load(limits.admission)

    assert (limits.is_open, limits.events) == (True, [])


def test_a_failed_write_is_reported(tmp_path: Path) -> None:
    """The call goes on."""
    limits = RestartedLimits(tmp_path / "missing" / "main.paces.json")

    limits.windows.record(LONG_LIMIT)

    assert [type(event) for event in limits.events] == [StateUnavailable]
