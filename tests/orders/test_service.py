"""The orders of a profile: what the setup sends takes all stages, and the bridge's own calls do too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import Busy, OrderInProgress, TradingPaused
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.reconciliation.ibkr_rows import OrderListing
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.rules.guard import OrderGuard
from ibkr_bridge.orders.rules.rules import RuleContext
from ibkr_bridge.orders.service import BRIDGE_KEY_LABEL, OrderRoads, OrderService
from tests.calls.road import context_for
from tests.clocks import ManualClock
from tests.harness import within
from tests.orders.submitter_setup import NAMED, ORDERS, TAKEN, answer

LISTS = (answer(b"{}"), answer(b'{"orders":[{"orderId":7}],"snapshot":true}'), answer(b'[{"orderId":8}]'))


class World:
    """A service on a journal of its own, and a pipeline that does what an upstream does."""

    def __init__(self, path: Path) -> None:
        self.clock, self.came, self.plan = ManualClock(), list[CallContext](), [answer(TAKEN)]
        self.is_up, self.paused, self.stops = True, False, list[Exception]()
        bus = Bus()
        repository = OrderRepository(JournalWriter(JournalStore(path, bus, self.clock.utc), bus), bus, self.clock.utc)
        self.service = OrderService(repository, self.clock, ReconcileSchedule(refresh_delay_s=0.0), add_coids=True)
        guard = OrderGuard(lambda: RuleContext(paper_mode=False, paused=self.paused), None)
        self.service.connect(OrderRoads(self.pipeline, self.pipeline, guard, lambda _: self.is_up))

    async def pipeline(self, context: CallContext) -> Response:
        """See `OrderRoads`."""
        self.came.append(context)
        if self.stops:
            raise self.stops[0]
        if context.before_first_byte is not None:
            await context.before_first_byte.write_entry()
            context.before_first_byte.has_left = context.is_sent = True
        return self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]

    async def fetch(self, account: str | None) -> OrderListing | None:
        """Fetch the lists; the moment that IBKR takes for a fresh one passes."""
        task = asyncio.create_task(self.service.fetch_order_lists(account))
        for _ in range(20):
            await asyncio.sleep(0)
            self.clock.advance(0.0)
        return await within(task)

    def request(self, body: bytes = NAMED) -> OrderRequest:
        """A caller's order."""
        return OrderRequest(context_for("POST", ORDERS, body, key_label="one"), OrderOperation.PLACE, "one", "req")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Nothing is wrong."""
    made = World(tmp_path / "main.orders.db")
    yield made
    await made.service.repository.close()


async def test_an_order_takes_the_stages_with_its_entry_and_deadline(world: World) -> None:
    """The context of the request learns that it was sent."""
    request = world.request()

    response = await world.service.submit(request)

    (part,) = world.came
    assert (response.body, part.endpoint.operation, part.key_label) == (TAKEN, OrderOperation.PLACE, "one")
    assert (part.deadline is not None, part.before_first_byte is not None) == (True, True)
    assert (request.context.is_sent, request.record is not None) == (True, True)


async def test_a_rule_refuses_before_a_stage_is_entered(world: World) -> None:
    """A refusal waits for nothing."""
    world.paused = True

    with pytest.raises(TradingPaused):
        await world.service.submit(world.request())

    assert world.came == []


async def test_an_order_that_is_told_again_says_where_its_answer_is_from(world: World) -> None:
    """It did not come from IBKR this time."""
    await world.service.submit(world.request())
    again = world.request()

    await world.service.submit(again)

    assert (again.context.source, len(world.came)) == ("cache", 1)


async def test_a_service_without_a_profile_cannot_send(tmp_path: Path) -> None:
    """A mistake of the program shows itself at once."""
    clock, bus = ManualClock(), Bus()
    repository = OrderRepository(JournalWriter(JournalStore(None, bus, clock.utc), bus), bus, clock.utc)

    with pytest.raises(RuntimeError, match="has not been built"):
        _ = OrderService(repository, clock, ReconcileSchedule(), add_coids=True).roads


async def test_a_preview_has_the_desk_to_itself_and_gives_it_back(world: World) -> None:
    """IBKR drops an open question because of it; an error gives the setup back, too."""
    lock = world.service.submitter.lock
    preview = context_for("POST", f"{ORDERS}/whatif", b"{}")
    world.stops = [Busy("full")]
    with pytest.raises(Busy):
        await world.service.preview(preview)

    lock.try_acquire("somebody")
    waiting = asyncio.create_task(world.service.preview(preview))
    await world.clock.asleep(1)
    world.clock.advance(0.0)
    with pytest.raises(OrderInProgress):
        await within(waiting)
    lock.release("somebody")
    world.stops = []

    assert (await world.service.preview(preview)).body == TAKEN
    assert lock.try_acquire("another")


async def test_fresh_lists_are_fetched_for_the_search_never_from_the_cache(world: World) -> None:
    """IBKR is told to make a new list, which is then read."""
    world.plan = list(LISTS)

    listing = await world.fetch("DU1")

    assert listing is not None
    assert (listing.orders, listing.trades, listing.is_complete, listing.account) == (
        ({"orderId": 7},),
        ({"orderId": 8},),
        True,
        "DU1",
    )
    assert [context.call.target for context in world.came] == [
        "/v1/api/iserver/account/orders?force=true&accountId=DU1",
        "/v1/api/iserver/account/orders?accountId=DU1",
        "/v1/api/iserver/account/trades?days=2",
    ]
    assert {(context.max_age_s, context.key_label) for context in world.came} == {(0.0, BRIDGE_KEY_LABEL)}


@pytest.mark.parametrize("fails", ["down", "error", "status"])
async def test_lists_that_cannot_be_had_are_none(world: World, fails: str) -> None:
    """An empty list would say that no order exists."""
    world.plan = [LISTS[0], LISTS[1], answer(b"[]", 500)] if fails == "status" else list(LISTS)
    world.is_up = fails != "down"
    world.stops = [Busy("full")] if fails == "error" else []

    assert await world.fetch(None) is None
    assert bool(world.came) is (fails != "down")


async def test_a_list_that_a_caller_asked_for_settles_what_stands_in_it(world: World) -> None:
    """Of orders or of trades; other responses are not read."""
    await world.service.submit(world.request())
    record = next(world.service.repository.index.newest_first())
    lost = world.request(NAMED.replace(b"mine", b"lost"))
    world.plan = [answer(b"<html>")]
    await world.service.submit(lost)
    assert lost.record is not None
    assert lost.record.state is OrderState.UNKNOWN
    body = answer(b'{"orders":[{"orderId":9,"order_ref":"lost"}]}')

    world.service.observe_list(context_for("GET", "/iserver/accounts"), body)
    world.service.observe_list(context_for("GET", "/iserver/account/orders"), answer(b"{}", 500))
    world.service.observe_list(context_for("GET", "/iserver/account/orders"), body)

    rows = await world.service.repository.journal.read_all()
    assert [entry.what for _, entry, _ in rows if entry.order_id == lost.record.id][-1] is OrderEvent.FOUND
    assert record.order_ids == ("77",)
