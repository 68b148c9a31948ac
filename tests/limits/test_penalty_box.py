"""The penalty box: one row first, then everything but cancels; over a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibkr_bridge.errors import InPenaltyBox, RateLimited
from ibkr_bridge.events import Bus, EndpointRateLimited, Event, PenaltyBoxEntered, StateUnavailable
from ibkr_bridge.ibkr.catalogue import match
from ibkr_bridge.limits.penalty_box import MAX_RETRY_AFTER_S, PenaltyBox
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.clocks import ManualClock

ORDERS = match("GET", ("iserver", "account", "orders"))
HISTORY = match("GET", ("iserver", "marketdata", "history"))
META = match("GET", ("portfolio", "DU1", "meta"))
PLACE = match("POST", ("iserver", "account", "DU1", "orders"))
CANCEL = match("DELETE", ("iserver", "account", "DU1", "order", "1"))
Box = Callable[[], PenaltyBox]


@pytest.fixture
def clock() -> ManualClock:
    """The wall's time, moved by hand."""
    return ManualClock()


@pytest.fixture
def box(tmp_path: Path, clock: ManualClock, events_seen: list[Event]) -> Box:
    """A box as a bridge that is started finds it."""

    def opened() -> PenaltyBox:
        bus = Bus()
        bus.subscribe(events_seen.append)
        penalty_box = PenaltyBox(tmp_path / "main.penalty.json", bus, clock.utc, GATEWAY_TRAITS)
        penalty_box.load()
        return penalty_box

    return opened


def test_one_row_that_is_refused_waits_for_its_period(box: Box, clock: ManualClock, events_seen: list[Event]) -> None:
    """The others go on."""
    penalty_box = box()
    error = penalty_box.on_429(ORDERS, None)

    penalty_box.check(META)
    with pytest.raises(RateLimited) as caught:
        penalty_box.check(ORDERS)
    clock.advance(5.0)
    penalty_box.check(ORDERS)

    assert (type(error), error.retry_after, caught.value.retry_after) == (RateLimited, 5.0, 5.0)
    assert penalty_box.closed_endpoints == {}
    assert events_seen == [EndpointRateLimited(ORDERS.path, 5.0)]


@pytest.mark.parametrize(("said", "seconds"), [(None, 15.0), (7.0, 7.0), (1e9, MAX_RETRY_AFTER_S)])
def test_how_long_is_what_ibkr_says_where_it_does(box: Box, said: float | None, seconds: float) -> None:
    """Within reason; a row without a pace is left alone for a while."""
    assert box().on_429(HISTORY, said).retry_after == seconds


def test_a_second_row_is_the_box(box: Box, clock: ManualClock, events_seen: list[Event]) -> None:
    """For a quarter of an hour: reads and new orders wait, cancels are tried."""
    penalty_box = box()
    penalty_box.on_429(ORDERS, None)

    error = penalty_box.on_429(META, None)

    assert isinstance(error, InPenaltyBox)
    for endpoint in (META, HISTORY, PLACE):
        with pytest.raises(InPenaltyBox):
            penalty_box.check(endpoint)
    penalty_box.check(CANCEL)
    assert penalty_box.box_left_s == pytest.approx(GATEWAY_TRAITS.penalty_s)
    assert [event for event in events_seen if isinstance(event, PenaltyBoxEntered)] == [PenaltyBoxEntered(900)]
    clock.advance(GATEWAY_TRAITS.penalty_s)
    penalty_box.check(PLACE)


def test_the_same_row_again_is_not(box: Box) -> None:
    """A burst of one kind."""
    penalty_box = box()

    assert [type(penalty_box.on_429(HISTORY, None)) for _ in range(3)] == [RateLimited] * 3
    assert penalty_box.box_left_s == 0


def test_it_outlives_a_restart(box: Box, clock: ManualClock) -> None:
    """And a restart does not shorten it, nor make it longer."""
    before = box()
    before.on_429(ORDERS, None)
    before.enter()
    clock.advance(100.0)

    after = box()

    assert after.box_left_s == pytest.approx(GATEWAY_TRAITS.penalty_s - 100.0)
    assert repr(after) == "<PenaltyBox box 800 s, 1 rows>"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"box": "x"}', '{"box": 1}', '{"box": 1, "rows": 7}', '{"box": 1e99, "rows": {}}']
)
def test_a_file_that_makes_no_sense_closes_nothing_for_long(box: Box, tmp_path: Path, text: str) -> None:
    """IBKR will say it again."""
    (tmp_path / "main.penalty.json").write_text(text)

    assert box().box_left_s <= MAX_RETRY_AFTER_S


def test_a_disk_that_is_full_is_told(tmp_path: Path, clock: ManualClock, events_seen: list[Event]) -> None:
    """The box holds all the same."""
    bus = Bus()
    bus.subscribe(events_seen.append)
    penalty_box = PenaltyBox(tmp_path / "missing" / "x.json", bus, clock.utc, GATEWAY_TRAITS)

    penalty_box.enter()

    assert penalty_box.box_left_s > 0
    assert [type(event) for event in events_seen] == [PenaltyBoxEntered, StateUnavailable]
