"""How much of the trading hours a session was ready."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ibkr_bridge.history.availability import measure, percent
from ibkr_bridge.history.records import StateSpan

OPENING = datetime(2026, 6, 17, 13, 30, tzinfo=UTC)  # of a Wednesday
CLOSING = datetime(2026, 6, 17, 20, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def spans(*parts: tuple[str, int]) -> list[StateSpan]:
    """States one after the other from the opening on, each with its minutes; an empty name leaves a gap."""
    at, made = OPENING, []
    for state, minutes in parts:
        end = at + timedelta(minutes=minutes)
        if state:
            made.append(StateSpan("main", state, at, end))
        at = end
    return made


def test_a_session_that_was_always_ready() -> None:
    """The whole day of six and a half hours."""
    figures = measure(spans(("ready", 390)), OPENING, CLOSING)

    assert (figures.share, figures.losses, figures.mean_repair_s) == (1.0, 0, None)
    assert figures.text == "ready 100 % of trading hours, no loss"


def test_losses_and_their_repairs() -> None:
    """Two losses of one and three minutes; the states between them count as one loss."""
    figures = measure(
        spans(("ready", 100), ("silent", 1), ("ready", 100), ("silent", 1), ("opening", 2), ("ready", 186)),
        OPENING,
        CLOSING,
    )

    assert (figures.ready_s, figures.losses, figures.mean_repair_s) == (386 * 60, 2, 120.0)
    assert figures.text == "ready 98.9 % of trading hours, 2 losses, mean repair 120 s"


def test_a_bridge_that_did_not_run_was_not_ready_and_lost_nothing() -> None:
    """A restart is no loss of the session, and its time counts."""
    figures = measure(spans(("ready", 100), ("", 39), ("starting", 1), ("ready", 250)), OPENING, CLOSING)

    assert (figures.ready_s, figures.losses) == (350 * 60, 0)


def test_a_loss_that_lasts_has_no_repair() -> None:
    """It counts all the same."""
    figures = measure(spans(("ready", 380), ("signed_out", 10)), OPENING, CLOSING)

    assert (figures.losses, figures.mean_repair_s) == (1, None)
    assert figures.text == "ready 97.4 % of trading hours, 1 loss"


def test_hours_before_the_first_record_do_not_count() -> None:
    """Nothing is known of them."""
    figures = measure(spans(("ready", 390)), OPENING - 5 * DAY, CLOSING)

    assert figures.share == 1.0


def test_a_weekend_has_no_share() -> None:
    """Nor has a history that is empty."""
    saturday = datetime(2026, 6, 20, 12, 0, tzinfo=UTC)
    ready = [StateSpan("main", "ready", saturday, saturday + DAY)]

    assert measure(ready, saturday, saturday + DAY).share is None
    assert measure(ready, saturday, saturday + DAY).text == "no trading hours yet, no loss"
    assert measure([], saturday, saturday + DAY).share is None


@pytest.mark.parametrize(("share", "text"), [(1.0, "100 %"), (0.99999, "99.9 %"), (0.994, "99.4 %"), (0.0, "0.0 %")])
def test_only_a_whole_is_a_hundred_percent(share: float, text: str) -> None:
    """It is rounded down."""
    assert percent(share) == text


class CountedSpans(list[StateSpan]):
    """Counts the spans that are copied."""

    copied = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.copied += len(found) if isinstance(index, slice) else 0
        return found


def test_a_session_that_flaps_for_days_costs_one_look_at_each_state() -> None:
    """The event loop measures it, and orders wait behind it. Each loss made it look at all states that followed."""
    flaps = CountedSpans(spans(*(("ready", 1), ("opening", 1)) * 1000))

    figures = measure(flaps, OPENING, OPENING + 2 * DAY)

    assert (figures.losses, figures.mean_repair_s) == (1000, 60.0)
    assert flaps.copied <= len(flaps)


def test_one_day_of_many_is_measured_alone() -> None:
    """Each of ninety days is; a loss of the evening may be repaired on the next day."""
    flaps = CountedSpans(spans(*(("ready", 1), ("opening", 1)) * 1000, ("silent", 1000), ("ready", 1)))

    one_hour = measure(flaps, OPENING, OPENING + timedelta(hours=1))
    end_of_flaps = measure(flaps, OPENING + timedelta(minutes=1999), OPENING + timedelta(minutes=2000))

    assert (one_hour.losses, one_hour.ready_s) == (30, 1800)
    assert flaps.copied < 100
    assert (end_of_flaps.losses, end_of_flaps.mean_repair_s) == (1, 1001 * 60)


def test_states_that_overlap_make_no_more_than_a_whole() -> None:
    """A clock that was set back by an hour."""
    twice = [
        *spans(("ready", 300)),
        *(replace(each, began=OPENING + timedelta(hours=4)) for each in spans(("ready", 390))),
    ]

    assert measure(twice, OPENING, CLOSING).share == 1.0
