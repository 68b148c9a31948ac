"""The schedule of the search for a lost order."""

from __future__ import annotations

from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS


def test_an_order_is_given_up_only_after_every_ghost_call_has_ended() -> None:
    """A call in the Gateway's queue can still be sent."""
    assert ReconcileSchedule().give_up_after_s >= 2 * GATEWAY_TRAITS.abandoned_for_s


def test_several_checks_come_before_the_verdict_and_the_late_ones_after_it() -> None:
    """They are in ascending order."""
    schedule = ReconcileSchedule()

    assert schedule.first_delay_s < schedule.interval_s < schedule.give_up_after_s / 5
    assert list(schedule.late_checks_s) == sorted(schedule.late_checks_s)
    assert schedule.late_checks_s[0] > schedule.give_up_after_s


def test_the_interval_respects_the_rate_limit_of_the_lists() -> None:
    """Each check makes two calls that IBKR accepts once in 5 s."""
    assert ReconcileSchedule().interval_s >= 10.0


def test_the_schedule_is_the_documented_one() -> None:
    """Five minutes until `not_placed`, then looks after ten, thirty and sixty; a minute at most after a start."""
    schedule = ReconcileSchedule()

    assert (schedule.give_up_after_s, schedule.late_checks_s) == (300.0, (600.0, 1800.0, 3600.0))
    assert (schedule.startup_block_s, schedule.first_delay_s, schedule.interval_s) == (60.0, 2.0, 20.0)
    assert schedule.refresh_delay_s == 1.0
