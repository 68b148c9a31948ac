"""The state of the alerts, as far as the stories do not show it."""

from __future__ import annotations

from datetime import timedelta

from ibkr_bridge.alerts.alert_state import MAX_OUTBOX, AlertState
from tests.alerts.alert_setup import HOST, TELL_ALL, news
from tests.clocks import NOON

MINUTE = timedelta(minutes=1)


def test_it_is_the_same_after_it_was_saved() -> None:
    """With what lasts, what was told and what is to be sent."""
    state = AlertState(7)
    state.record_change(news(), None, NOON, TELL_ALL, HOST)
    state.record_change(news("disk_low"), NOON + MINUTE, NOON + MINUTE, TELL_ALL, HOST)
    state.tell_due(NOON + MINUTE, TELL_ALL, HOST)

    again = AlertState.from_json(state.as_json())

    assert again == state
    assert len(again.outbox) == 2


def test_a_service_that_is_down_for_long_costs_bounded_memory() -> None:
    """The earliest messages are given up."""
    state = AlertState()
    for number in range(MAX_OUTBOX + 5):
        began = NOON + number * MINUTE
        state.record_change(news(began=began), began + MINUTE, began + MINUTE, TELL_ALL, HOST)

    assert len(state.outbox) == MAX_OUTBOX


def test_an_address_gets_its_messages_in_their_order() -> None:
    """A later one waits while an earlier one is tried again."""
    state = AlertState()
    for minute in range(2):
        began = NOON + minute * MINUTE
        state.record_change(news(began=began), began + MINUTE, began + MINUTE, TELL_ALL, HOST)
    first, _ = state.outbox
    first.not_before, first.attempts = NOON + 10 * MINUTE, 1

    assert state.due(NOON + 5 * MINUTE) == []
    assert state.due(NOON + 10 * MINUTE) == state.outbox


def test_a_message_that_waits_for_the_quiet_hours_holds_up_no_critical_one() -> None:
    """A warning that ended at night would otherwise keep a lost login until the morning."""
    state = AlertState()
    for minute in range(2):
        began = NOON + minute * MINUTE
        state.record_change(news(began=began), began + MINUTE, began + MINUTE, TELL_ALL, HOST)
    quiet, critical = state.outbox
    quiet.not_before = NOON + 600 * MINUTE

    assert state.due(NOON + 5 * MINUTE) == [critical]
