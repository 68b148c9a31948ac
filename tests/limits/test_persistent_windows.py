"""Rate limits with a long period, which survive a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.limits.persistent_windows import PersistentWindows
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.clocks import ManualClock

LONG_LIMIT, SHORT_LIMIT = endpoint_of("POST", "/pa/performance"), endpoint_of("GET", "/portfolio/accounts")
OTHER_LONG_LIMIT, MINUTE_LIMIT = endpoint_of("POST", "/pa/summary"), endpoint_of("GET", "/sso/validate")
PERIOD_S = 900.0  # IBKR allows both calls once in a quarter of an hour


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
    seen = [after.is_open]
    after.clock.advance(9.9)
    seen.append(after.is_open)
    after.clock.advance(0.2)

    assert (seen, after.is_open) == ([False, False], True)


def test_a_long_limit_that_ended_before_the_restart_is_open(path: Path) -> None:
    """IBKR does not count the call any more."""
    before = RestartedLimits(path)
    before.windows.record(LONG_LIMIT)
    before.clock.advance(PERIOD_S)

    after = RestartedLimits(path, before.clock)
    after.windows.load(after.admission)

    assert (after.is_open, repr(after.windows)) == (True, "<PersistentWindows 0 rows>")


def test_a_short_limit_in_the_file_is_ignored(path: Path) -> None:
    """Its period may have been longer in an earlier version."""
    limits = RestartedLimits(path)
    path.write_text(json.dumps({SHORT_LIMIT.path: limits.clock.utc().timestamp() + 100.0}))

    limits.windows.load(limits.admission)

    assert limits.admission.admit_out_of_band(SHORT_LIMIT) is not None
    assert repr(limits.windows) == "<PersistentWindows 0 rows>"


def test_a_used_up_long_limit_survives_two_restarts(path: Path) -> None:
    """The second run sends a call with another limit, and writes the file anew."""
    first = RestartedLimits(path)
    first.windows.record(LONG_LIMIT)
    second = RestartedLimits(path, first.clock)
    second.windows.load(second.admission)
    second.clock.advance(PERIOD_S - 10.0)
    second.windows.record(OTHER_LONG_LIMIT)

    third = RestartedLimits(path, first.clock)
    third.windows.load(third.admission)
    is_open_at_once = third.is_open
    third.clock.advance(10.1)

    assert (is_open_at_once, third.is_open) == (False, True)


def test_a_limit_of_a_minute_is_saved(path: Path) -> None:
    """A restart takes less time."""
    before = RestartedLimits(path)
    before.windows.record(MINUTE_LIMIT)

    after = RestartedLimits(path, before.clock)
    after.windows.load(after.admission)

    assert after.admission.admit_out_of_band(MINUTE_LIMIT) is None


def test_a_call_of_this_run_counts_more_than_the_file(path: Path) -> None:
    """The file is read once the upstream is known, and a call may have been sent by then."""
    limits = RestartedLimits(path)
    limits.windows.record(LONG_LIMIT)

    limits.windows.load(limits.admission)

    assert limits.is_open  # the call itself is counted in the window when it is admitted


def test_a_short_limit_is_not_saved(path: Path) -> None:
    """It is over before the session is open again, and each read would write a file."""
    RestartedLimits(path).windows.record(SHORT_LIMIT)

    limit = GATEWAY_TRAITS.limit(SHORT_LIMIT)
    assert limit is not None
    assert limit.period_s < 60.0
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
