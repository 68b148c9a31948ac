"""No order twice, none lost without a word: the short form of `make bench-orders`, with every sort of trouble in it.

The bridge is a real process, killed in the midst of its work and started again on the same journal; the simulated
Gateway in front of it stands here. What happens to whom differs from run to run, the promises do not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.orders_plan import KILL, Caller, Ticket, Yes, plans, troubles
from bench.orders_story import Ending, told
from bench.orders_town import RATE

ORDERS, KILLS, SEED = 150, 3, 7


@pytest.fixture
async def ending(tmp_path: Path) -> Ending:
    """The whole story, from its first order to the judgement."""
    return await told(ORDERS, SEED, tmp_path, workers=6, kills=KILLS)


@pytest.mark.slow
async def test_no_order_is_placed_twice_and_none_is_lost_without_a_word(ending: Ending) -> None:
    """Callers, IBKR's own book and the journal agree, whatever went wrong."""
    broken = {zero.promise: zero.broken for zero in ending.zeros if zero.broken}

    assert broken == {}
    assert ending.is_proved, ending.proof
    assert ending.surprises == ()
    assert (len(ending.stories), ending.kills) == (ORDERS, KILLS)
    assert ending.troubles[KILL] == KILLS
    assert len(ending.troubles) > len(troubles(RATE)) * 0.8, "trouble that meets nobody proves nothing"
    assert ending.booked > ORDERS / 2


def test_every_sort_of_caller_order_and_trouble_is_in_the_short_form() -> None:
    """Else it would prove less than it says."""
    deck = plans(ORDERS, SEED, RATE, KILLS)

    assert {plan.caller for plan in deck} == set(Caller)
    assert {plan.ticket for plan in deck} == set(Ticket)
    assert {plan.yes for plan in deck} == set(Yes)
    assert {plan.trouble.name for plan in deck if plan.trouble} == {trouble.name for trouble in troubles(RATE)}
    assert sum(plan.killed_after is not None for plan in deck) == KILLS
