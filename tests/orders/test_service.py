"""The order service of a profile: its order calls and the bridge's own calls pass all stages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import Busy, OrderInProgress, OrderUnknown, TradingPaused
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.reconciliation.ibkr_rows import OrderListing
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.rules.guard import OrderGuard
from ibkr_bridge.orders.rules.rules import RuleContext
from ibkr_bridge.orders.service import OrderDependencies, OrderService, row_of_record
from tests.body_stream import FakeBodyStream
from tests.calls.stage_setup import context_for
from tests.clocks import ManualClock
from tests.harness import with_timeout
from tests.orders.submitter_setup import ACCEPTED, ORDERS, QUESTION, TICKET_WITH_COID, ibkr_response

LISTS = (
    ibkr_response(b"{}"),
    ibkr_response(b'{"orders":[{"orderId":7}],"snapshot":true}'),
    ibkr_response(b'[{"orderId":8}]'),
)


class ServiceSetup:
    """A service on a journal of its own, and a pipeline that does what an upstream does."""

    def __init__(self, path: Path, schedule: ReconcileSchedule | None = None) -> None:
        self.clock, self.contexts, self.plan = ManualClock(), list[CallContext](), [ibkr_response(ACCEPTED)]
        self.prepared: list[tuple[CallContext, bool]] = []
        """The prepared calls, and whether the order lock was free then."""
        self.is_up, self.is_paused, self.errors = True, False, list[Exception]()
        bus = Bus()
        repository = OrderRepository(JournalWriter(JournalStore(path, bus, self.clock.utc), bus), bus, self.clock.utc)
        self.service = OrderService(
            repository, self.clock, schedule or ReconcileSchedule(refresh_delay_s=0.0), add_coids=True
        )
        guard = OrderGuard(lambda: RuleContext(paper_mode=False, paused=self.is_paused), None)
        dependencies = OrderDependencies(self.pipeline, self.pipeline, self.prepare, guard, lambda _: self.is_up)
        self.service.connect(dependencies)

    async def prepare(self, context: CallContext) -> None:
        """See `OrderDependencies`."""
        self.prepared.append((context, self.service.submitter.lock.try_acquire(self)))
        self.service.submitter.lock.release(self)

    async def pipeline(self, context: CallContext) -> Response:
        """See `OrderDependencies`."""
        self.contexts.append(context)
        if self.errors:
            raise self.errors[0]
        if context.before_first_byte is not None:
            await context.before_first_byte.write_entry()
            context.before_first_byte.has_left = context.is_sent = True
        return self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]

    async def fetch(self, account: str | None) -> OrderListing | None:
        """Fetch the lists of orders and trades, and let the delay pass that IBKR needs for a new list."""
        task = asyncio.create_task(self.service.fetch_order_lists(account))
        for _ in range(20):
            await asyncio.sleep(0)
            self.clock.advance(0.0)
        return await with_timeout(task)

    def request(self, body: bytes = TICKET_WITH_COID) -> OrderRequest:
        """A caller's order."""
        return OrderRequest(context_for("POST", ORDERS, body, key_label="one"), OrderOperation.PLACE, "one", "req")


async def run_ready_tasks() -> None:
    """Let every task that is ready run."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[ServiceSetup]:
    """A service with an open session and no pause."""
    setup = ServiceSetup(tmp_path / "main.orders.db")
    yield setup
    await setup.service.repository.close()


async def test_an_order_passes_the_stages_with_its_entry_and_deadline(setup: ServiceSetup) -> None:
    """The context of the request shows that it was sent."""
    request = setup.request()

    response = await setup.service.submit(request)

    (part,) = setup.contexts
    assert (response.body, part.endpoint.operation, part.key_label) == (ACCEPTED, OrderOperation.PLACE, "one")
    assert (part.deadline is not None, part.before_first_byte is not None) == (True, True)
    assert (request.context.is_sent, request.record is not None) == (True, True)
    assert request.context.execute == setup.pipeline  # what IBKR wants first is sent through the same stages


async def test_a_rule_refuses_before_a_stage_is_entered(setup: ServiceSetup) -> None:
    """A refusal does not wait."""
    setup.is_paused = True

    with pytest.raises(TradingPaused):
        await setup.service.submit(setup.request())

    assert setup.contexts == []


async def test_a_replayed_order_has_the_source_of_its_response(setup: ServiceSetup) -> None:
    """The response does not come from IBKR this time."""
    await setup.service.submit(setup.request())
    repeat = setup.request()

    await setup.service.submit(repeat)

    assert (repeat.context.source, len(setup.contexts)) == ("cache", 1)


async def test_a_service_without_a_profile_cannot_send(tmp_path: Path) -> None:
    """The error shows the mistake at once."""
    clock, bus = ManualClock(), Bus()
    repository = OrderRepository(JournalWriter(JournalStore(None, bus, clock.utc), bus), bus, clock.utc)

    with pytest.raises(RuntimeError, match="has not been built"):
        _ = OrderService(repository, clock, ReconcileSchedule(), add_coids=True).dependencies


async def test_a_preview_holds_the_order_lock_and_releases_it(setup: ServiceSetup) -> None:
    """IBKR drops an open question when a preview comes. An error releases the lock as well."""
    lock = setup.service.submitter.lock
    preview = context_for("POST", f"{ORDERS}/whatif", b"{}")
    setup.errors = [Busy("full")]
    with pytest.raises(Busy):
        await setup.service.preview(preview)

    lock.try_acquire("somebody")
    waiting = asyncio.create_task(setup.service.preview(preview))
    await setup.clock.wait_for_sleepers(1)
    setup.clock.advance(0.0)
    with pytest.raises(OrderInProgress):
        await with_timeout(waiting)
    lock.release("somebody")
    setup.errors = []

    assert (await setup.service.preview(preview)).body == ACCEPTED
    assert lock.try_acquire("another")


async def test_a_preview_is_prepared_before_it_takes_the_lock(setup: ServiceSetup) -> None:
    """What IBKR wants first may take a second, in which no order should wait."""
    preview = context_for("POST", f"{ORDERS}/whatif", b"{}")

    await setup.service.preview(preview)

    assert setup.prepared == [(preview, True)]
    assert preview.execute == setup.pipeline  # what IBKR wants first is sent through the same stages


async def test_the_search_stands_with_the_orders(setup: ServiceSetup) -> None:
    """However many reads wait: an order whose outcome is unknown is looked for."""
    setup.plan = list(LISTS)

    await setup.fetch("DU1")

    assert [context.serves_order for context in setup.contexts] == [True] * 3


async def test_the_search_fetches_new_lists_without_the_cache(setup: ServiceSetup) -> None:
    """The first call makes IBKR build a new list, which the next one reads."""
    setup.plan = list(LISTS)

    listing = await setup.fetch("DU1")

    assert listing is not None
    assert (listing.orders, listing.trades, listing.is_complete, listing.account) == (
        ({"orderId": 7},),
        ({"orderId": 8},),
        True,
        "DU1",
    )
    assert [context.call.target for context in setup.contexts] == [
        "/v1/api/iserver/account/orders?force=true&accountId=DU1",
        "/v1/api/iserver/account/orders?accountId=DU1",
        "/v1/api/iserver/account/trades?days=2",
    ]
    seen = {(context.max_age_s, context.key_label, context.wait_s) for context in setup.contexts}
    assert seen == {(0.0, "bridge", 12.0)}  # IBKR allows the list once in 5 s, and callers request it too


@pytest.mark.parametrize("failure", ["down", "error", "orders", "trades"])
@pytest.mark.parametrize("status", [503, 100])
async def test_lists_that_cannot_be_fetched_are_none(setup: ServiceSetup, failure: str, status: int) -> None:
    """An empty list would mean that no order exists: trades answered with 503 are not "no trades"."""
    refused = ibkr_response(b"[]", status)
    setup.plan = {
        "orders": [LISTS[0], refused, LISTS[2]],
        "trades": [LISTS[0], LISTS[1], refused],
    }.get(failure, list(LISTS))
    setup.is_up = failure != "down"
    setup.errors = [Busy("full")] if failure == "error" else []

    assert await setup.fetch(None) is None
    assert bool(setup.contexts) is (failure != "down")


async def test_a_list_fetched_by_a_caller_settles_the_orders_in_it(setup: ServiceSetup) -> None:
    """Lists of orders and of trades count; other responses are ignored."""
    await setup.service.submit(setup.request())
    record = next(setup.service.repository.index.newest_first())
    lost = setup.request(TICKET_WITH_COID.replace(b"mine", b"lost"))
    setup.plan = [ibkr_response(b"<html>")]
    with pytest.raises(OrderUnknown):
        await setup.service.submit(lost)
    assert lost.record is not None
    assert lost.record.state is OrderState.UNKNOWN
    body = ibkr_response(b'{"orders":[{"orderId":9,"order_ref":"lost"}]}')

    for other in ("/iserver/accounts", "/fyi/settings", "/iserver/account/pnl/partitioned", "/trsrv/stocks"):
        setup.service.observe_list(context_for("GET", other), body)
    setup.service.observe_list(context_for("GET", "/iserver/account/orders"), ibkr_response(body.body, 500))
    state_by_other_responses = lost.record.state
    setup.service.observe_list(context_for("GET", "/iserver/account/orders"), body)

    assert state_by_other_responses is OrderState.UNKNOWN
    rows = await setup.service.repository.journal.read_all()
    assert [entry.what for _, entry, _ in rows if entry.order_id == lost.record.id][-1] is OrderEvent.FOUND
    assert record.order_ids == ("77",)


async def test_a_list_that_is_too_long_to_be_read_whole_is_none(setup: ServiceSetup) -> None:
    """The order may stand in the part that was not read. The rest is given up, so that its slot is free."""
    for position in (1, 2):
        body_stream = FakeBodyStream()
        setup.plan = list(LISTS)
        setup.plan[position] = replace(LISTS[position], body=b" " * (64 * 1024 * 1024 + 1), body_stream=body_stream)

        assert await setup.fetch("DU1") is None
        assert body_stream.close_count == 1


async def test_ibkr_gets_a_second_to_build_the_list(tmp_path: Path) -> None:
    """Read at once, it would be the old one, in which a new order is missing."""
    setup = ServiceSetup(tmp_path / "main.orders.db", ReconcileSchedule())
    setup.plan = list(LISTS)
    task = asyncio.create_task(setup.service.fetch_order_lists("DU1"))
    await with_timeout(setup.clock.wait_for_sleepers(1))
    targets_before, delay_s = len(setup.contexts), setup.clock.next_alarm

    setup.clock.advance(delay_s)

    assert await with_timeout(task) is not None
    assert (targets_before, delay_s) == (1, 1.0)
    await setup.service.repository.close()


async def test_a_new_order_waits_for_one_of_the_last_run(setup: ServiceSetup) -> None:
    """The service hands the reconciler's wait to the submitter."""
    record = OrderRecord("a", OrderOperation.PLACE)
    setup.service.repository.index.add(record)
    await setup.service.repository.append(record, OrderEvent.SENT, {"kind": "place", "account": None, "coids": ["x"]})
    setup.service.repository.append_eventually(record, OrderEvent.LOST, {"error": "killed", "restart": True})
    request = setup.request()
    request.context.wait_s = 5.0
    waiting = asyncio.create_task(setup.service.submit(request))
    await with_timeout(setup.clock.wait_for_sleepers(1))
    contexts_before = list(setup.contexts)

    setup.service.repository.append_eventually(record, OrderEvent.FOUND, {})
    await with_timeout(waiting)

    assert (contexts_before, len(setup.contexts)) == ([], 1)


async def test_the_loop_declines_a_question_after_sixty_seconds(setup: ServiceSetup) -> None:
    """It sleeps until then, is woken by a new question, and sends the no through all stages under its own name."""
    loop = asyncio.create_task(setup.service.run_loop())
    await with_timeout(setup.clock.wait_for_sleepers(1))
    setup.plan = [ibkr_response(QUESTION), ibkr_response(b"{}")]
    await setup.service.submit(setup.request())
    await run_ready_tasks()
    alarm_s = setup.clock.next_alarm

    setup.clock.advance(59.9)
    await run_ready_tasks()
    calls_before = len(setup.contexts)
    setup.clock.advance(0.1)
    await run_ready_tasks()
    loop.cancel()

    assert (alarm_s, calls_before) == (60.0, 1)
    decline = setup.contexts[1]
    assert (decline.call.target, decline.call.body) == ("/v1/api/iserver/reply/r1", b'{"confirmed":false}')
    assert (decline.key_label, decline.wait_s, decline.facts.operation) == ("bridge", 1.0, None)
    assert setup.service.status().question is None


async def test_a_decline_that_fails_does_not_end_the_loop(setup: ServiceSetup) -> None:
    """IBKR drops its question by itself."""
    setup.plan = [ibkr_response(QUESTION)]
    await setup.service.submit(setup.request())
    assert setup.service.status().question is not None
    loop = asyncio.create_task(setup.service.run_loop())
    await with_timeout(setup.clock.wait_for_sleepers(1))
    setup.errors = [Busy("full")]

    setup.clock.advance(60.0)
    await run_ready_tasks()

    assert not loop.done()
    assert setup.service.status().question is None
    loop.cancel()


async def test_the_questions_of_the_last_run_are_declined(tmp_path: Path) -> None:
    """Nobody can reply to them any more."""
    before = ServiceSetup(tmp_path / "main.orders.db")
    before.plan = [ibkr_response(QUESTION)]
    await before.service.submit(before.request())
    await before.service.repository.close()
    after = ServiceSetup(tmp_path / "main.orders.db")

    await after.service.load()
    loop = asyncio.create_task(after.service.run_loop())
    await run_ready_tasks()
    loop.cancel()

    assert [context.call.body for context in after.contexts] == [b'{"confirmed":false}']
    await after.service.repository.close()


async def test_an_order_has_its_callers_time_and_two_seconds(setup: ServiceSetup) -> None:
    """A connection takes time to open; after that the order's price is old."""
    request = setup.request()
    request.context.wait_s = 5.0
    began = time.monotonic()

    await setup.service.submit(request)

    deadline = setup.contexts[0].deadline
    assert deadline is not None
    assert began + 7.0 <= deadline <= time.monotonic() + 7.0


async def test_the_time_before_the_first_call_counts_as_waiting(setup: ServiceSetup) -> None:
    """The order waited for the lock and for the journal; the log line of the request shows it."""
    request = setup.request()
    request.started_at -= 5.0

    await setup.service.submit(request)

    assert 5.0 <= request.context.timing.waited_s < 60.0


async def test_a_part_that_was_not_sent_does_not_count_as_sent(setup: ServiceSetup) -> None:
    """The caller is told that nothing was sent, and it must be true."""
    request = setup.request()
    setup.errors = [Busy("full")]

    with pytest.raises(Busy):
        await setup.service.submit(request)

    assert (setup.contexts[0].is_sent, request.context.is_sent) == (False, False)


@pytest.mark.parametrize(
    ("path", "response", "state"),
    [
        ("/iserver/account/orders", ibkr_response(b'{"orders":[{"orderId":9,"order_ref":"mine"}]}'), OrderState.PLACED),
        ("/iserver/account/trades", ibkr_response(b'[{"order_id":9,"order_ref":"mine"}]'), OrderState.PLACED),
        ("/iserver/accounts", ibkr_response(b'{"orders":[{"orderId":9,"order_ref":"mine"}]}'), OrderState.UNKNOWN),
        ("/iserver/account/trades", ibkr_response(b'[{"order_id":9,"order_ref":"mine"}]', 500), OrderState.UNKNOWN),
        ("/iserver/account/trades", ibkr_response(b'[{"order_id":9,"order_ref":"mine"}]', 100), OrderState.UNKNOWN),
        (
            "/iserver/account/trades",
            replace(ibkr_response(b'[{"order_id":9,"order_ref":"mine"}]'), body_stream=FakeBodyStream()),
            OrderState.UNKNOWN,
        ),
    ],
    ids=["orders", "trades", "another call", "another status", "a lower status", "a part of a list"],
)
async def test_a_callers_list_counts_if_it_is_one(
    setup: ServiceSetup, path: str, response: Response, state: OrderState
) -> None:
    """Whole, answered with 200, and a list of orders or trades."""
    setup.plan = [ibkr_response(b"<html>")]
    lost = setup.request()
    with pytest.raises(OrderUnknown):
        await setup.service.submit(lost)

    setup.service.observe_list(context_for("GET", path), response)

    assert lost.record is not None
    assert lost.record.state is state


async def test_the_journal_is_read_before_the_first_order(tmp_path: Path) -> None:
    """It may not have been readable at the start. An order of the last run would be sent a second time."""
    before = ServiceSetup(tmp_path / "main.orders.db")
    await before.service.submit(before.request())
    await before.service.repository.close()
    after = ServiceSetup(tmp_path / "main.orders.db")

    response = await after.service.submit(after.request())

    assert (response.body, after.contexts) == (ACCEPTED, [])
    await after.service.repository.close()


async def test_the_search_uses_the_lists_of_the_service(setup: ServiceSetup) -> None:
    """Without them it would fetch nothing, and every lost order would stay unknown."""
    assert setup.service.reconciler.fetch_order_lists == setup.service.fetch_order_lists


async def test_the_loop_sleeps_an_hour_and_wakes_for_a_change(setup: ServiceSetup) -> None:
    """A reply that turned out unsent leaves a question whose time may be over already: it looks twice a second."""
    loop = asyncio.create_task(setup.service.run_loop())
    await with_timeout(setup.clock.wait_for_sleepers(1))
    alarms = [setup.clock.next_alarm]
    setup.plan = [ibkr_response(QUESTION)]
    await setup.service.submit(setup.request())
    await run_ready_tasks()
    pending = setup.service.submitter.lock.pending
    assert pending is not None
    pending.expires_at = setup.clock.now() - 1.0
    pending.record.state = OrderState.SENDING  # a yes is being sent
    setup.service._wake.set()
    await run_ready_tasks()
    alarms.append(setup.clock.next_alarm)
    loop.cancel()

    assert alarms == [3600.0, 0.5]


async def test_the_rules_are_asked_whether_anybody_still_waits(setup: ServiceSetup) -> None:
    """A caller that repeats its order waits as well, so the first may leave."""
    contexts, are_wanted, has_left = list[CallContext](), list[bool](), [False]

    async def with_order_value(context: CallContext, _: str | None) -> object:
        contexts.append(context)
        in_flight = request.record.in_flight if request.record is not None else None
        assert in_flight is not None
        has_left[0] = True
        are_wanted.append(context.is_connected())
        in_flight.waiters.append(lambda: True)  # another caller repeats the order
        are_wanted.append(context.is_connected())
        return context.facts

    setup.service.dependencies.guard.with_order_value = with_order_value  # type: ignore[method-assign,assignment]
    request = setup.request()
    request.context.is_connected = lambda: not has_left[0]

    await setup.service.submit(request)

    assert (len(contexts), are_wanted) == (1, [False, True])
    assert contexts[0].facts is request.facts


async def test_a_rule_is_applied_to_an_order_that_cannot_be_read(setup: ServiceSetup) -> None:
    """There is no record of it yet, and a pause is the better answer."""
    setup.is_paused = True

    with pytest.raises(TradingPaused):
        await setup.service.submit(setup.request(b"[]"))


async def test_the_orders_that_were_just_placed_are_shown_before_ibkr_lists_them(setup: ServiceSetup) -> None:
    """Neither questions nor rejected orders, and none that is older than a few seconds."""
    await setup.service.submit(replace(setup.request(), account="DU1"))
    setup.plan = [ibkr_response(b'{"error":"no"}')]
    await setup.service.submit(setup.request(TICKET_WITH_COID.replace(b"mine", b"other")))

    setup.clock.advance(59.9)
    rows = setup.service.recent_rows()
    setup.clock.advance(0.2)

    placed = {"orderId": 77, "acct": "DU1", "account": "DU1", "order_ref": "mine", "status": "Submitted"}
    assert rows == [{**placed, "conid": 8, "side": "BUY"}]
    assert setup.service.recent_rows() == []


async def test_an_order_that_waits_to_be_sent_is_no_row(setup: ServiceSetup) -> None:
    """The journal has no entry of it yet, so it has no time."""
    setup.service.repository.index.add(OrderRecord("waits", OrderOperation.PLACE))
    await setup.service.submit(replace(setup.request(), account="DU1"))
    setup.service.repository.index.add(OrderRecord("waits too", OrderOperation.PLACE))

    assert [row["orderId"] for row in setup.service.recent_rows()] == [77]


async def test_of_several_orders_of_one_placement_it_is_not_known_which_ticket_is_which(setup: ServiceSetup) -> None:
    """So their rows have no figures of a ticket."""
    setup.plan = [ibkr_response(b'[{"order_id":"77"},{"order_id":"x8"}]')]
    await setup.service.submit(replace(setup.request(), account="DU1"))

    rows = setup.service.recent_rows()

    assert [(row["orderId"], row["account"]) for row in rows] == [(77, "DU1"), ("x8", "DU1")]
    assert not any({"conid", "side"} & row.keys() for row in rows)


@pytest.mark.parametrize(("coids", "order_ref"), [((), None), (("a",), "a"), (("a", "b"), None)])
def test_a_row_has_the_coid_of_its_order_if_there_is_one(coids: tuple[str, ...], order_ref: str | None) -> None:
    """Of several it is not known which one is the order's."""
    record = OrderRecord("o", OrderOperation.PLACE, "DU1", coids=coids, order_ids=("77",))

    assert row_of_record(record, "77").get("order_ref") == order_ref
