"""The penalty box: first one endpoint is closed, then all calls but cancels, also after a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibkr_bridge.errors import InPenaltyBox, RateLimited
from ibkr_bridge.events import Bus, EndpointRateLimited, Event, PenaltyBoxEntered, StateUnavailable
from ibkr_bridge.ibkr.catalogue import match
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.clocks import ManualClock

ORDERS = match("GET", ("iserver", "account", "orders"))
HISTORY = match("GET", ("iserver", "marketdata", "history"))
META = match("GET", ("portfolio", "DU1", "meta"))
PLACE = match("POST", ("iserver", "account", "DU1", "orders"))
CANCEL = match("DELETE", ("iserver", "account", "DU1", "order", "1"))
LoadBox = Callable[[], PenaltyBox]


@pytest.fixture
def clock() -> ManualClock:
    """The wall clock, which the test moves."""
    return ManualClock()


@pytest.fixture
def load_box(tmp_path: Path, clock: ManualClock, events_seen: list[Event]) -> LoadBox:
    """A function that loads the penalty box from its file, as a bridge does when it starts."""

    def load() -> PenaltyBox:
        bus = Bus()
        bus.subscribe(events_seen.append)
        penalty_box = PenaltyBox(tmp_path / "main.penalty.json", bus, clock.utc, GATEWAY_TRAITS)
        penalty_box.load()
        return penalty_box

    return load


def test_a_429_closes_its_endpoint_for_one_period(
    load_box: LoadBox, clock: ManualClock, events_seen: list[Event]
) -> None:
    """Other endpoints stay open."""
    penalty_box = load_box()
    error = penalty_box.on_429(ORDERS, None)

    penalty_box.check(META)
    with pytest.raises(RateLimited) as caught:
        penalty_box.check(ORDERS)
    clock.advance(5.0)
    penalty_box.check(ORDERS)

    assert (type(error), error.retry_after, caught.value.retry_after) == (RateLimited, 5.0, 5.0)
    assert penalty_box.closed_endpoints == {}
    assert events_seen == [EndpointRateLimited(ORDERS.path, 5.0)]


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 15.0), (7.0, 7.0), (1e9, 3600.0)])
def test_the_retry_after_of_ibkr_counts_up_to_a_maximum(
    load_box: LoadBox, retry_after: float | None, seconds: float
) -> None:
    """Without it, an endpoint without a rate limit is closed for 15 s."""
    assert load_box().on_429(HISTORY, retry_after).retry_after == seconds


def test_a_429_on_a_second_endpoint_enters_the_penalty_box(
    load_box: LoadBox, clock: ManualClock, events_seen: list[Event]
) -> None:
    """For 15 minutes reads and new orders are refused; cancels are still sent."""
    penalty_box = load_box()
    penalty_box.on_429(ORDERS, None)

    error = penalty_box.on_429(META, None)

    assert isinstance(error, InPenaltyBox)
    for endpoint in (META, HISTORY, PLACE):
        with pytest.raises(InPenaltyBox) as caught:
            penalty_box.check(endpoint)
        assert caught.value.retry_after == pytest.approx(900.0)
    penalty_box.check(CANCEL)
    assert error.retry_after == pytest.approx(900.0)
    assert penalty_box.box_left_s == pytest.approx(GATEWAY_TRAITS.penalty_s)
    assert [event for event in events_seen if isinstance(event, PenaltyBoxEntered)] == [PenaltyBoxEntered(900)]
    clock.advance(GATEWAY_TRAITS.penalty_s)
    penalty_box.check(PLACE)


def test_the_penalty_box_lasts_as_long_as_ibkr_says(load_box: LoadBox, clock: ManualClock) -> None:
    """An endpoint that was closed for longer stays closed after it, also over a restart."""
    penalty_box = load_box()
    penalty_box.on_429(ORDERS, None)

    error = penalty_box.on_429(META, 2.0)
    clock.advance(2.0)

    assert isinstance(error, InPenaltyBox)
    assert error.retry_after == pytest.approx(2.0)
    for box in (penalty_box, load_box()):
        box.check(META)
        assert box.closed_endpoints == {ORDERS.path: pytest.approx(3.0)}


def test_a_further_refusal_only_makes_the_penalty_longer(
    load_box: LoadBox, clock: ManualClock, events_seen: list[Event]
) -> None:
    """It is reported once, and an hour is the most."""
    penalty_box = load_box()
    penalty_box.enter(1000.0)
    penalty_box.enter(10.0)
    left_s = [penalty_box.box_left_s]
    penalty_box.enter(1e9)
    left_s.append(penalty_box.box_left_s)

    assert left_s == pytest.approx([1000.0, 3600.0])
    assert events_seen == [PenaltyBoxEntered(1000)]


def test_a_closed_endpoint_stays_closed_over_a_restart(load_box: LoadBox) -> None:
    """It is saved at once: the bridge may be killed."""
    load_box().on_429(ORDERS, None)

    with pytest.raises(RateLimited):
        load_box().check(ORDERS)


def test_the_status_has_whole_seconds_rounded_up(load_box: LoadBox, clock: ManualClock) -> None:
    """A program that waits so long does not come too early."""
    penalty_box = load_box()
    penalty_box.on_429(ORDERS, None)
    penalty_box.enter()
    clock.advance(0.6)

    status = penalty_box.status()

    assert (status.box_s, dict(status.endpoints)) == (900, {ORDERS.path: 5})


def test_repeated_429s_of_one_endpoint_do_not_enter_the_penalty_box(load_box: LoadBox) -> None:
    """They come from a burst of one kind of call."""
    penalty_box = load_box()

    assert [type(penalty_box.on_429(HISTORY, None)) for _ in range(3)] == [RateLimited] * 3
    assert penalty_box.box_left_s == 0


def test_the_penalty_box_survives_a_restart(load_box: LoadBox, clock: ManualClock) -> None:
    """A restart makes it neither shorter nor longer."""
    before = load_box()
    before.on_429(ORDERS, None)
    before.enter()
    clock.advance(100.0)

    after = load_box()

    assert after.box_left_s == pytest.approx(GATEWAY_TRAITS.penalty_s - 100.0)
    assert repr(after) == "<PenaltyBox box 800 s, 1 rows>"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"box": "x"}', '{"box": 1}', '{"box": 1, "rows": 7}', '{"box": 1e99, "rows": {}}']
)
def test_an_invalid_file_closes_nothing_for_long(load_box: LoadBox, tmp_path: Path, text: str) -> None:
    """If the penalty still lasts, IBKR answers 429 again."""
    (tmp_path / "main.penalty.json").write_text(text)

    assert load_box().box_left_s <= 3600.0


def test_a_failed_write_is_reported(tmp_path: Path, clock: ManualClock, events_seen: list[Event]) -> None:
    """The penalty box works without its file."""
    bus = Bus()
    bus.subscribe(events_seen.append)
    penalty_box = PenaltyBox(tmp_path / "missing" / "x.json", bus, clock.utc, GATEWAY_TRAITS)

    penalty_box.enter()

    assert penalty_box.box_left_s > 0
    assert [type(event) for event in events_seen] == [PenaltyBoxEntered, StateUnavailable]


def test_a_simulated_penalty_can_be_left(load_box: LoadBox) -> None:
    """Also for the next run: a demo has no IBKR that would refuse calls until the time is over."""
    penalty_box = load_box()
    penalty_box.on_429(ORDERS, None)
    penalty_box.on_429(META, None)

    penalty_box.end_penalty()

    for box in (penalty_box, load_box()):
        assert (box.box_left_s, box.closed_endpoints) == (0.0, {})
        box.check(META)
