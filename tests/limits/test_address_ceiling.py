"""What the profiles behind one address do to each other: one ceiling, and IBKR's penalty box for all."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.catalogue import match
from ibkr_bridge.ibkr.endpoint import Priority
from ibkr_bridge.limits.address_ceiling import CEILING, SLOW_CEILING, SLOW_S, AddressCeiling, AddressCeilings
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.clocks import ManualClock

ORDERS = match("GET", ("iserver", "account", "orders"))
HISTORY = match("GET", ("iserver", "marketdata", "history"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def ceiling(clock: ManualClock) -> AddressCeiling:
    return AddressCeiling(clock)


@pytest.fixture
def boxes(ceiling: AddressCeiling, clock: ManualClock) -> dict[str, PenaltyBox]:
    """The penalty boxes of three profiles behind this address."""
    made = {name: PenaltyBox(None, Bus(), clock.utc, GATEWAY_TRAITS) for name in ("main", "anna", "ben")}
    for name, box in made.items():
        ceiling.join(name, box)
    return made


def closed(boxes: dict[str, PenaltyBox]) -> list[int]:
    """How long each box is closed, in whole seconds."""
    return [round(box.box_left_s) for box in boxes.values()]


def test_a_profile_alone_is_held_by_its_own_limits(ceiling: AddressCeiling, clock: ManualClock) -> None:
    """Its calls need not be counted twice."""
    ceiling.join("main", PenaltyBox(None, Bus(), clock.utc, GATEWAY_TRAITS))
    assert not ceiling.is_shared

    ceiling.join("anna", PenaltyBox(None, Bus(), clock.utc, GATEWAY_TRAITS))
    assert ceiling.is_shared
    ceiling.leave("anna")
    assert not ceiling.is_shared


def test_a_429_slows_all_for_a_minute(
    ceiling: AddressCeiling, boxes: dict[str, PenaltyBox], clock: ManualClock
) -> None:
    """And closes no box: one 429 may mean one endpoint."""
    boxes["anna"].on_429(ORDERS, None)

    assert (ceiling.is_slow, ceiling.admission.limits.total) == (True, SLOW_CEILING)
    assert closed(boxes) == [0, 0, 0]
    clock.advance(SLOW_S)
    assert (ceiling.is_slow, ceiling.admission.limits.total) == (False, CEILING)


def test_a_second_429_to_another_profile_closes_the_box_of_each(
    ceiling: AddressCeiling, boxes: dict[str, PenaltyBox], clock: ManualClock
) -> None:
    """IBKR counts the address."""
    boxes["anna"].on_429(ORDERS, None)
    clock.advance(SLOW_S - 1)
    boxes["ben"].on_429(ORDERS, None)

    assert closed(boxes) == [900, 900, 900]


def test_a_second_429_a_minute_later_is_a_first_one(boxes: dict[str, PenaltyBox], clock: ManualClock) -> None:
    """Two users who are refused once a day are in no box."""
    boxes["anna"].on_429(ORDERS, None)
    clock.advance(SLOW_S)
    boxes["ben"].on_429(ORDERS, None)

    assert closed(boxes) == [0, 0, 0]


def test_the_box_of_one_is_the_box_of_all(boxes: dict[str, PenaltyBox], clock: ManualClock) -> None:
    """Its length is that of the one that IBKR refused, also if it grows."""
    boxes["anna"].on_429(ORDERS, None)
    boxes["anna"].on_429(HISTORY, 120.0)
    assert closed(boxes) == [120, 120, 120]

    clock.advance(60)
    boxes["ben"].enter()
    assert closed(boxes) == [900, 900, 900]


def test_a_profile_that_comes_later_is_in_the_box_too(
    ceiling: AddressCeiling, boxes: dict[str, PenaltyBox], clock: ManualClock
) -> None:
    """Its first call would make the penalty longer for all."""
    boxes["anna"].enter()
    clock.advance(100)
    late = PenaltyBox(None, Bus(), clock.utc, GATEWAY_TRAITS)
    ceiling.join("carl", late)

    assert round(late.box_left_s) == 800


async def test_profiles_alternate_and_orders_come_first(
    ceiling: AddressCeiling, boxes: dict[str, PenaltyBox], clock: ManualClock
) -> None:
    """A greedy user waits behind the first call of another one."""
    boxes["main"].on_429(ORDERS, None)  # the slow ceiling, so that a few calls fill it
    running = asyncio.create_task(ceiling.run_loop())
    admitted: list[str] = []

    async def call(name: str, priority: Priority = Priority.READS) -> None:
        permit = await ceiling.admission.acquire(HISTORY, priority, name, 30.0)
        permit.mark_sent()
        permit.on_answered()
        permit.release()
        admitted.append(f"{name} order" if priority is Priority.ORDERS else name)

    tasks = [asyncio.create_task(call("anna")) for _ in range(8)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(call("ben")), asyncio.create_task(call("main", Priority.ORDERS))]
    for _ in range(40):
        await asyncio.sleep(0)
        clock.advance(0.25)

    await asyncio.gather(*tasks)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert admitted[:4] == ["anna"] * 4  # as many reads as the slow ceiling lets through at once
    assert admitted[4] == "main order"
    assert "ben" in admitted[5:7]


async def test_each_address_has_its_own_ceiling(clock: ManualClock) -> None:
    """A profile may leave from another address of this machine."""
    ceilings = AddressCeilings(clock)
    running = asyncio.create_task(ceilings.run_loop())
    await asyncio.sleep(0)

    assert ceilings.of("a") is ceilings.of("a")
    assert ceilings.of("a") is not ceilings.of("b")
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
