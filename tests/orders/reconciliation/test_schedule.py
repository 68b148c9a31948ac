"""How patiently a lost order is looked for."""

from __future__ import annotations

from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS


def test_an_order_is_given_up_only_when_no_ghost_can_be_at_work_on_it() -> None:
    """A call that waits in the Gateway's queue can still go out."""
    assert ReconcileSchedule().give_up_after_s >= 2 * GATEWAY_TRAITS.abandoned_for_s


def test_several_looks_come_before_the_verdict_and_all_late_ones_after_it() -> None:
    """In order."""
    schedule = ReconcileSchedule()

    assert schedule.first_delay_s < schedule.interval_s < schedule.give_up_after_s / 5
    assert list(schedule.late_checks_s) == sorted(schedule.late_checks_s)
    assert schedule.late_checks_s[0] > schedule.give_up_after_s


def test_two_lists_are_not_asked_for_more_often_than_ibkr_takes_them() -> None:
    """Each look is two calls that are taken once in five seconds."""
    assert ReconcileSchedule().interval_s >= 10.0
