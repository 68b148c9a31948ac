"""The Gateway's few places: never too many inside, none lost, orders first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkr_bridge.errors import Busy
from ibkr_bridge.traffic.slots import FOR_ORDERS, LONGEST_QUEUE, PLACES, Slots

GiveBack = Callable[[], None]
LONG = 60.0  # seconds nobody waits unless something is broken


async def everybody_moves() -> None:
    """Let each task run until it can go no further."""
    for _ in range(10):
        await asyncio.sleep(0)


async def taken(slots: Slots, *, reads: int = 0, orders: int = 0) -> list[GiveBack]:
    """So many places, taken at once."""
    return [await slots.take(order=order, wait=0) for order in [*[False] * reads, *[True] * orders]]


async def waiting(slots: Slots, *, order: bool, wait: float = LONG) -> asyncio.Task[GiveBack]:
    """Somebody who has begun to wait."""
    task = asyncio.create_task(slots.take(order=order, wait=wait))
    await everybody_moves()
    return task


def test_the_gateways_five_slots_are_not_all_ours() -> None:
    """Four for callers, one of them for orders; the keeper and the Gateway itself need the fifth."""
    assert (PLACES, FOR_ORDERS) == (4, 1)


async def test_reads_leave_a_place_for_an_order() -> None:
    """However greedy the readers, an order goes out at once."""
    slots = Slots()
    await taken(slots, reads=3)

    with pytest.raises(Busy) as caught:
        await slots.take(order=False, wait=0)
    await taken(slots, orders=1)

    assert caught.value.retryable
    assert (slots.taken, repr(slots)) == (4, "<Slots 4/4 taken, 0 waiting>")


async def test_orders_may_have_all_four() -> None:
    """And a read then waits for more than one of them to leave."""
    slots = Slots()
    first, second, *_ = await taken(slots, orders=4)
    read = await waiting(slots, order=False)

    first()
    await everybody_moves()
    still_waiting = not read.done()
    second()
    await everybody_moves()

    assert still_waiting
    assert read.done()


async def test_a_place_goes_to_the_order_before_the_read_that_came_first() -> None:
    """Money before curiosity."""
    slots = Slots()
    first, *_ = await taken(slots, reads=3, orders=1)
    read, order = await waiting(slots, order=False), await waiting(slots, order=True)

    first()
    await everybody_moves()

    assert (read.done(), order.done()) == (False, True)
    read.cancel()


@pytest.mark.parametrize("order", [True, False])
async def test_equals_are_served_as_they_came(order: bool) -> None:
    """Nobody is overtaken by a newcomer."""
    slots = Slots()
    held = await taken(slots, reads=3, orders=1)
    queue = [await waiting(slots, order=order) for _ in range(3)]
    served = []

    for give_back in held[:3]:
        give_back()
        await everybody_moves()
        served.append([task.done() for task in queue])

    steps = {True: [1, 2, 3], False: [0, 1, 2]}[order]  # reads never get the fourth place
    assert served == [[at < step for at in range(3)] for step in steps]
    for task in queue:
        task.cancel()


async def test_giving_back_twice_frees_one_place() -> None:
    """A place that was freed twice would let a sixth call into the Gateway."""
    slots = Slots()
    first, *_ = await taken(slots, orders=4)

    first()
    first()

    assert slots.taken == 3


async def test_a_waiter_whose_time_is_up_takes_no_place_with_him() -> None:
    """It is told when to come again, and the place goes to the next."""
    slots = Slots()
    first, *_ = await taken(slots, orders=4)

    with pytest.raises(Busy):
        await slots.take(order=True, wait=0.001)
    first()

    assert (slots.taken, slots.waiting) == (3, 0)


@pytest.mark.parametrize("given_first", [True, False])
async def test_a_waiter_who_leaves_in_the_moment_of_his_turn_passes_it_on(given_first: bool) -> None:
    """A place handed to somebody who has just hung up must not be lost: four of those would stop the bridge."""
    slots = Slots()
    first, *_ = await taken(slots, orders=4)
    leaving, patient = await waiting(slots, order=True), await waiting(slots, order=True)

    if given_first:
        first()
    leaving.cancel()
    if not given_first:
        first()
    await everybody_moves()

    assert (leaving.cancelled(), patient.done()) == (True, True)
    assert (slots.taken, slots.waiting) == (4, 0)


async def test_a_queue_too_long_is_not_joined() -> None:
    """Behind so many nobody is served within a reasonable wait."""
    slots = Slots()
    await taken(slots, reads=3)
    queue = [asyncio.create_task(slots.take(order=False, wait=LONG)) for _ in range(LONGEST_QUEUE)]
    await everybody_moves()

    with pytest.raises(Busy):
        await slots.take(order=False, wait=LONG)

    assert slots.waiting == LONGEST_QUEUE
    for task in queue:
        task.cancel()


async def test_readers_in_the_queue_do_not_keep_an_order_out_of_it() -> None:
    """A cancel is an order too: getting out must not fail because somebody polls quotes."""
    slots = Slots()
    first, *_ = await taken(slots, reads=3, orders=1)
    queue = [asyncio.create_task(slots.take(order=False, wait=LONG)) for _ in range(LONGEST_QUEUE)]
    await everybody_moves()

    order = await waiting(slots, order=True)
    first()
    await everybody_moves()

    assert order.done()
    assert order.exception() is None
    for task in queue:
        task.cancel()


@dataclass
class Crowd:
    """Callers who come, wait, hang up and leave, in any order; and what is promised about them."""

    slots: Slots = field(default_factory=Slots)
    callers: list[tuple[bool, asyncio.Task[GiveBack]]] = field(default_factory=list)
    left: set[int] = field(default_factory=set)

    def inside(self, *, order: bool) -> list[int]:
        """Those who hold a place."""
        return [at for at, (kind, task) in enumerate(self.callers) if kind is order and self._holds(at, task)]

    def _holds(self, at: int, task: asyncio.Task[GiveBack]) -> bool:
        return at not in self.left and task.done() and not task.cancelled() and task.exception() is None

    def queueing(self, *, order: bool) -> list[int]:
        """Those who wait."""
        return [at for at, (kind, task) in enumerate(self.callers) if kind is order and not task.done()]

    def act(self, what: str, which: int) -> None:
        """One move of somebody."""
        inside = self.inside(order=True) + self.inside(order=False)
        queueing = self.queueing(order=True) + self.queueing(order=False)
        if what in ("order", "read", "hasty order", "hasty read"):
            wait = 0.0 if what.startswith("hasty") else LONG
            coming = self.slots.take(order=what.endswith("order"), wait=wait)
            self.callers.append((what.endswith("order"), asyncio.create_task(coming)))
        elif what == "leave" and inside:
            self._leave(inside[which % len(inside)])
        elif what == "hang up" and queueing:
            self.callers[queueing[which % len(queueing)]][1].cancel()

    def _leave(self, at: int) -> None:
        self.left.add(at)
        give_back = self.callers[at][1].result()
        give_back()
        give_back()

    def judge(self) -> None:
        """What holds whenever nobody is in the middle of a move."""
        orders, reads = len(self.inside(order=True)), len(self.inside(order=False))
        assert self.slots.taken == orders + reads <= PLACES
        assert reads <= PLACES - FOR_ORDERS
        assert self.slots.waiting == len(self.queueing(order=True)) + len(self.queueing(order=False))
        assert not self.queueing(order=True) or self.slots.taken == PLACES
        assert not self.queueing(order=False) or self.slots.taken >= PLACES - FOR_ORDERS
        for order in (True, False):
            assert max(self.inside(order=order), default=-1) < min(self.queueing(order=order), default=1000)

    async def go_home(self) -> None:
        """Everybody leaves; who waits gets his turn, and leaves as well."""
        while self.inside(order=True) or self.inside(order=False):
            for at in self.inside(order=True) + self.inside(order=False):
                self._leave(at)
            await everybody_moves()
        for _, task in self.callers:
            with suppress(Busy, asyncio.CancelledError):
                await task


MOVES = st.tuples(
    st.sampled_from(["order", "read", "read", "hasty order", "hasty read", "leave", "leave", "hang up"]),
    st.integers(0, 9),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(MOVES, max_size=60))
def test_no_crowd_gets_too_many_in_or_loses_a_place(moves: list[tuple[str, int, bool]]) -> None:
    """Four in all, three for reads, whoever comes, leaves or hangs up in the same moment; none is lost at the end."""

    async def story() -> None:
        crowd = Crowd()
        for what, which, pause in moves:
            crowd.act(what, which)
            assert crowd.slots.taken <= PLACES
            if pause:
                await everybody_moves()
                crowd.judge()
        await everybody_moves()
        crowd.judge()
        await crowd.go_home()
        assert (crowd.slots.taken, crowd.slots.waiting) == (0, 0)

    asyncio.run(story())
