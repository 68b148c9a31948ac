"""The penalty box: one row first, then everything but cancels; over a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibkr_bridge.errors import Paced, PenaltyBox
from ibkr_bridge.events import BoxDeclared, Bus, Fact, RowClosed, StateTrouble
from ibkr_bridge.ibkr.catalogue import find
from ibkr_bridge.limits.penalty_box import BOX, LONGEST, Penalty
from tests.clocks import ManualClock

ORDERS = find("GET", ("iserver", "account", "orders"))
HISTORY = find("GET", ("iserver", "marketdata", "history"))
META = find("GET", ("portfolio", "DU1", "meta"))
PLACE = find("POST", ("iserver", "account", "DU1", "orders"))
CANCEL = find("DELETE", ("iserver", "account", "DU1", "order", "1"))
Box = Callable[[], Penalty]


@pytest.fixture
def clock() -> ManualClock:
    """The wall's time, moved by hand."""
    return ManualClock()


@pytest.fixture
def facts() -> list[Fact]:
    """What was announced."""
    return []


@pytest.fixture
def box(tmp_path: Path, clock: ManualClock, facts: list[Fact]) -> Box:
    """A box as a bridge that is started finds it."""

    def opened() -> Penalty:
        bus = Bus()
        bus.listen(facts.append)
        penalty = Penalty(tmp_path / "main.penalty.json", bus, clock.utc)
        penalty.load()
        return penalty

    return opened


def test_one_row_that_is_refused_waits_for_its_period(box: Box, clock: ManualClock, facts: list[Fact]) -> None:
    """The others go on."""
    penalty = box()
    error = penalty.refused(ORDERS, None)

    penalty.check(META)
    with pytest.raises(Paced) as caught:
        penalty.check(ORDERS)
    clock.advance(5.0)
    penalty.check(ORDERS)

    assert (type(error), error.retry_after, caught.value.retry_after) == (Paced, 5.0, 5.0)
    assert penalty.closed == {}
    assert facts == [RowClosed(ORDERS.path, 5.0)]


@pytest.mark.parametrize(("said", "seconds"), [(None, 15.0), (7.0, 7.0), (1e9, LONGEST)])
def test_how_long_is_what_ibkr_says_where_it_does(box: Box, said: float | None, seconds: float) -> None:
    """Within reason; a row without a pace is left alone for a while."""
    assert box().refused(HISTORY, said).retry_after == seconds


def test_a_second_row_is_the_box(box: Box, clock: ManualClock, facts: list[Fact]) -> None:
    """For a quarter of an hour: reads and new orders wait, cancels are tried."""
    penalty = box()
    penalty.refused(ORDERS, None)

    error = penalty.refused(META, None)

    assert isinstance(error, PenaltyBox)
    for row in (META, HISTORY, PLACE):
        with pytest.raises(PenaltyBox):
            penalty.check(row)
    penalty.check(CANCEL)
    assert penalty.box_left == pytest.approx(BOX)
    assert [fact for fact in facts if isinstance(fact, BoxDeclared)] == [BoxDeclared(900)]
    clock.advance(BOX)
    penalty.check(PLACE)


def test_the_same_row_again_is_not(box: Box) -> None:
    """A burst of one kind."""
    penalty = box()

    assert [type(penalty.refused(HISTORY, None)) for _ in range(3)] == [Paced] * 3
    assert penalty.box_left == 0


def test_it_outlives_a_restart(box: Box, clock: ManualClock) -> None:
    """And a restart does not shorten it, nor make it longer."""
    before = box()
    before.refused(ORDERS, None)
    before.declare()
    clock.advance(100.0)

    after = box()

    assert after.box_left == pytest.approx(BOX - 100.0)
    assert repr(after) == "<Penalty box 800 s, 1 rows>"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"box": "x"}', '{"box": 1}', '{"box": 1, "rows": 7}', '{"box": 1e99, "rows": {}}']
)
def test_a_file_that_makes_no_sense_closes_nothing_for_long(box: Box, tmp_path: Path, text: str) -> None:
    """IBKR will say it again."""
    (tmp_path / "main.penalty.json").write_text(text)

    assert box().box_left <= LONGEST


def test_a_disk_that_is_full_is_told(tmp_path: Path, clock: ManualClock, facts: list[Fact]) -> None:
    """The box holds all the same."""
    bus = Bus()
    bus.listen(facts.append)
    penalty = Penalty(tmp_path / "missing" / "x.json", bus, clock.utc)

    penalty.declare()

    assert penalty.box_left > 0
    assert [type(fact) for fact in facts] == [BoxDeclared, StateTrouble]
