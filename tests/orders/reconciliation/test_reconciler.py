"""The search for orders whose answer was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from ibkr_bridge.errors import OrderInProgress
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.reconciliation.ibkr_rows import OrderListing
from ibkr_bridge.orders.reconciliation.reconciler import NO_COID, Reconciler
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.orders.request import UNKNOWN_OPEN
from tests.harness import within
from tests.orders.submitter_setup import SubmitterSetup

SCHEDULE = ReconcileSchedule()
MINE = {"orderId": 7, "order_ref": "mine", "status": "Submitted", "conid": 8, "side": "BUY"}
NOTHING = OrderListing(is_complete=True)


class World:
    """A reconciler, the lists it is shown, and lost orders."""

    def __init__(self, setup: SubmitterSetup) -> None:
        self.setup, self.clock = setup, setup.clock
        self.listing: OrderListing | None = NOTHING
        self.looked_at: list[float] = []
        self.accounts: list[str | None] = []
        self.reconciler = Reconciler(setup.repository, setup.clock, SCHEDULE)
        self.reconciler.fetch_order_lists = self._fetch
        self.loop = asyncio.create_task(self.reconciler.run_loop())

    async def _fetch(self, account: str | None) -> OrderListing | None:
        self.looked_at.append(self.clock.now() - 1000.0)
        self.accounts.append(account)
        return self.listing

    async def lose(self, name: str = "a", account: str = "DU1", **facts: object) -> OrderRecord:
        """An order whose answer is lost."""
        record = OrderRecord(name, OrderOperation.PLACE)
        told = {"kind": "place", "coids": ["mine"], "account": account, "own_name": True, **facts}
        self.setup.repository.index.add(record)
        await self.setup.repository.append(record, OrderEvent.SENT, told)
        self.setup.repository.append_eventually(
            record, OrderEvent.LOST, {"error": "silence", "restart": facts.get("restart")}
        )
        return record

    async def live(self, seconds: float) -> None:
        """Go on by so much time, look by look."""
        end = self.clock.now() + seconds
        while True:
            for _ in range(5):
                await asyncio.sleep(0)
            await self.clock.asleep(1)
            left = end - self.clock.now()
            if left <= 1e-6:
                return
            self.clock.advance(min(self.clock.next_alarm, left))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Nothing is lost yet."""
    made = World(SubmitterSetup(tmp_path / "main.orders.db"))
    yield made
    made.loop.cancel()
    with suppress(asyncio.CancelledError):
        await made.loop
    await made.setup.repository.close()


async def test_nothing_is_asked_while_nothing_is_lost(world: World) -> None:
    """IBKR's lists are scarce."""
    await world.live(3000.0)

    assert (world.looked_at, world.reconciler.has_unsettled) == ([], False)


async def test_an_order_that_stands_in_a_list_is_settled_at_the_first_look(world: World) -> None:
    """And not looked for any more."""
    record = await world.lose()
    world.listing = OrderListing(orders=(MINE,))

    await world.live(100.0)

    assert (record.state, record.order_ids, world.looked_at) == (OrderState.PLACED, ("7",), [SCHEDULE.first_delay_s])
    assert not world.reconciler.has_unsettled


async def test_an_order_is_believed_not_to_exist_only_after_a_while(world: World) -> None:
    """The Gateway may still have it in its queue; until then it is looked for again and again."""
    record = await world.lose()

    await world.live(SCHEDULE.give_up_after_s - 1.0)
    assert record.state is OrderState.UNKNOWN
    await world.live(SCHEDULE.interval_s + 1.0)

    assert (await world.setup.story(record))[-1] == "missed"
    assert all(b - a >= SCHEDULE.interval_s for a, b in zip(world.looked_at, world.looked_at[1:], strict=False))


@pytest.mark.parametrize("listing", [None, OrderListing(is_complete=False)])
async def test_a_look_that_shows_nothing_for_certain_is_no_verdict(world: World, listing: OrderListing | None) -> None:
    """The session was down, or IBKR did not say that the list is complete."""
    record = await world.lose()
    world.listing = listing

    await world.live(SCHEDULE.give_up_after_s * 3)

    assert record.state is OrderState.UNKNOWN


async def test_an_order_that_was_only_late_is_found_after_the_verdict(world: World) -> None:
    """It is looked for a few times more."""
    record = await world.lose()
    await world.live(SCHEDULE.give_up_after_s + SCHEDULE.interval_s)
    assert record.state is OrderState.NOT_PLACED
    looks = len(world.looked_at)

    world.listing = OrderListing(orders=(MINE,))
    await world.live(SCHEDULE.late_checks_s[0])

    assert (len(world.looked_at), (await world.setup.story(record))[-1]) == (looks + 1, "found")


async def test_an_order_without_a_name_is_not_settled_where_others_are_like_it(world: World) -> None:
    """A person has to look; it holds nobody up any more."""
    record = await world.lose(coids=[], wanted={"alike": [{"conid": "8", "side": "BUY"}]})
    world.listing = OrderListing(orders=(MINE,), is_complete=True)

    await world.live(SCHEDULE.give_up_after_s + SCHEDULE.interval_s)

    assert (record.state, record.error) == (OrderState.UNKNOWN, NO_COID)


async def test_each_account_is_looked_at_once_for_all_its_orders(world: World) -> None:
    """A look is two of IBKR's scarce calls."""
    await world.lose("a", "DU1", coids=["x"])
    await world.lose("b", "DU1", coids=["y"])
    await world.lose("c", "DU2", coids=["z"])

    await world.live(SCHEDULE.first_delay_s + 1.0)

    assert world.accounts == ["DU1", "DU2"]


async def test_a_list_that_somebody_else_asked_for_is_as_good_a_proof(world: World) -> None:
    """Nothing has to be asked then; that an order is not in it proves nothing."""
    record = await world.lose()
    world.reconciler.observe(OrderListing())
    assert record.state is OrderState.UNKNOWN

    world.reconciler.observe(OrderListing(orders=(MINE,)))

    assert ((await world.setup.story(record))[-1], world.looked_at) == ("found", [])


async def test_a_new_order_waits_for_those_of_the_run_before(world: World) -> None:
    """In its account; it goes on as soon as they are found."""
    record = await world.lose(restart=True)
    waiting = asyncio.create_task(world.reconciler.wait_for_unsettled(world.setup.request()))
    await asyncio.sleep(0)
    assert not waiting.done()

    world.setup.repository.append_eventually(record, OrderEvent.FOUND, {})

    await within(waiting)


async def test_an_order_of_another_account_does_not_wait(world: World) -> None:
    """Nor does one after a loss of this run: its own caller knows of that."""
    await world.lose("a", "DU2", restart=True)
    await world.lose("b", "DU1")

    await within(world.reconciler.wait_for_unsettled(world.setup.request()), 1.0)


async def test_a_caller_may_choose_to_go_on_a_minute_after_the_start(world: World) -> None:
    """Not before: most are found by then."""
    await world.lose(restart=True)
    world.listing = None
    chosen = world.setup.request(confirmations=frozenset({UNKNOWN_OPEN}))
    chosen.context.wait_s = 0.0
    with pytest.raises(OrderInProgress):
        await world.reconciler.wait_for_unsettled(chosen)

    await world.live(SCHEDULE.startup_block_s)

    await within(world.reconciler.wait_for_unsettled(chosen), 1.0)
    other = world.setup.request()
    other.context.wait_s = 0.0
    with pytest.raises(OrderInProgress):
        await world.reconciler.wait_for_unsettled(other)
