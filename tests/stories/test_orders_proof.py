"""No order is placed twice and none is lost unreported: the short form of `make bench-orders`, with every trouble.

The bridge is a real process that is killed while it works and started again on the same journal; the simulated Gateway
runs in the process of the test. Two runs differ in which orders the faults hit; the promises hold in every run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.orders_plan import HANDED_OVER, KILL, Caller, Confirmation, Ticket, make_plans, make_troubles
from bench.orders_setup import CLOCK_RATE
from bench.orders_story import RunResult, run_orders

ORDERS, KILLS, SEED = 150, 3, 7


@pytest.fixture
async def result(tmp_path: Path) -> RunResult:
    """The result of one run, its promises checked."""
    return await run_orders(ORDERS, SEED, tmp_path, workers=6, kills=KILLS)


@pytest.mark.slow
async def test_no_order_is_placed_twice_and_none_is_lost_unreported(result: RunResult) -> None:
    """Callers, IBKR's own book and the journal agree, whatever went wrong."""
    broken = {promise.name: promise.violations for promise in result.promises if promise.violations}

    assert broken == {}
    assert result.is_verified, result.verify_output
    assert result.unexpected == ()
    assert (len(result.histories), result.kills) == (ORDERS, KILLS)
    assert result.troubles[KILL] == KILLS
    assert len(result.troubles) > len(make_troubles(CLOCK_RATE)) * 0.8, "a fault that hits no call proves nothing"
    assert result.book_orders > ORDERS / 2


def test_the_short_form_has_every_kind_of_caller_order_and_trouble() -> None:
    """Otherwise it would prove less than it claims."""
    plans = make_plans(ORDERS, SEED, CLOCK_RATE, KILLS)

    assert {plan.caller for plan in plans} == set(Caller)
    assert {plan.ticket for plan in plans} == set(Ticket)
    assert {plan.confirmation for plan in plans} == set(Confirmation)
    assert {plan.trouble.name for plan in plans if plan.trouble} == {
        trouble.name for trouble in make_troubles(CLOCK_RATE)
    }
    assert sum(plan.kill_delay_s is not None or bool(plan.kill_at_hand_over) for plan in plans) == KILLS
    assert {plan.kill_at_hand_over for plan in plans} == {"", *HANDED_OVER}
    assert {plan.asks_together for plan in plans} == {False, True}
