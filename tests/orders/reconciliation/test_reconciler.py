"""The search for orders whose response was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from ibkr_bridge.errors import JournalUnavailable, OrderInProgress
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal import recent_orders
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.recent_orders import RecentOrders
from ibkr_bridge.orders.journal.settled_rows import Names, SettledRow
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState
from ibkr_bridge.orders.reconciliation.ibkr_rows import OrderListing
from ibkr_bridge.orders.reconciliation.reconciler import CHANGE_NOT_VISIBLE, NO_COID, NOT_FOUND, Reconciler
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.orders.request import UNKNOWN_OPEN
from tests.harness import with_timeout
from tests.orders.submitter_setup import SubmitterSetup

SCHEDULE = ReconcileSchedule()
MINE = {"orderId": 7, "order_ref": "mine", "status": "Submitted", "conid": 8, "side": "BUY"}
NOTHING = OrderListing(is_complete=True)


class ReconcilerSetup:
    """A reconciler, the lists that it fetches, and orders whose responses were lost."""

    def __init__(self, setup: SubmitterSetup) -> None:
        self.setup, self.clock = setup, setup.clock
        self.listing: OrderListing | None = NOTHING
        self.fetched_at: list[float] = []
        self.accounts: list[str | None] = []
        self.reconciler = Reconciler(setup.repository, setup.clock, SCHEDULE)
        self.reconciler.fetch_order_lists = self._fetch
        self.loop = asyncio.create_task(self.reconciler.run_loop())

    async def _fetch(self, account: str | None) -> OrderListing | None:
        self.fetched_at.append(self.clock.now() - 1000.0)
        self.accounts.append(account)
        return self.listing

    async def lose(self, name: str = "a", account: str = "DU1", **facts: object) -> OrderRecord:
        """Add an order whose response was lost."""
        record = OrderRecord(name, OrderOperation(facts.get("kind", "place")))
        entry_facts = {"kind": "place", "coids": ["mine"], "account": account, "own_name": True, **facts}
        self.setup.repository.index.add(record)
        await self.setup.repository.append(record, OrderEvent.SENT, entry_facts)
        self.setup.repository.append_eventually(
            record, OrderEvent.LOST, {"error": "silence", "restart": facts.get("restart")}
        )
        return record

    async def advance(self, seconds: float) -> None:
        """Move the clock by this many seconds, from one timer to the next."""
        end = self.clock.now() + seconds
        while True:
            for _ in range(5):
                await asyncio.sleep(0)
            await self.clock.wait_for_sleepers(1)
            remaining_s = end - self.clock.now()
            if remaining_s <= 1e-6:
                return
            self.clock.advance(min(self.clock.next_alarm, remaining_s))


async def run_ready_tasks() -> None:
    """Let every task that is ready run."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def reconciling(tmp_path: Path) -> AsyncIterator[ReconcilerSetup]:
    """A running reconciler without lost orders."""
    reconciling = ReconcilerSetup(SubmitterSetup(tmp_path / "main.orders.db"))
    yield reconciling
    await end(reconciling)


async def test_no_list_is_fetched_while_no_order_is_lost(reconciling: ReconcilerSetup) -> None:
    """IBKR's lists have a low rate limit."""
    await reconciling.advance(3000.0)

    assert (reconciling.fetched_at, reconciling.reconciler.has_unsettled) == ([], False)


async def test_an_order_in_a_list_is_settled_by_the_first_fetch(reconciling: ReconcilerSetup) -> None:
    """After that no list is fetched."""
    record = await reconciling.lose()
    reconciling.listing = OrderListing(orders=(MINE,))

    await reconciling.advance(100.0)

    assert (record.state, record.order_ids, reconciling.fetched_at) == (
        OrderState.PLACED,
        ("7",),
        [SCHEDULE.first_delay_s],
    )
    assert not reconciling.reconciler.has_unsettled


async def test_an_order_counts_as_not_placed_only_after_some_time(reconciling: ReconcilerSetup) -> None:
    """The Gateway may still have it in its queue, so the search goes on until then."""
    record = await reconciling.lose()

    await reconciling.advance(SCHEDULE.give_up_after_s - 1.0)
    assert record.state is OrderState.UNKNOWN
    await reconciling.advance(SCHEDULE.interval_s + 1.0)

    assert (await reconciling.setup.event_names(record))[-1] == "missed"
    assert all(
        b - a >= SCHEDULE.interval_s for a, b in zip(reconciling.fetched_at, reconciling.fetched_at[1:], strict=False)
    )


@pytest.mark.parametrize("listing", [None, OrderListing(is_complete=False)])
async def test_an_uncertain_list_settles_no_order(reconciling: ReconcilerSetup, listing: OrderListing | None) -> None:
    """The session was down, or IBKR did not say that the list is complete."""
    record = await reconciling.lose()
    reconciling.listing = listing

    await reconciling.advance(SCHEDULE.give_up_after_s * 3)

    assert record.state is OrderState.UNKNOWN


async def test_a_late_order_is_found_after_it_counted_as_not_placed(reconciling: ReconcilerSetup) -> None:
    """The search has a few late checks."""
    record = await reconciling.lose()
    await reconciling.advance(SCHEDULE.give_up_after_s + SCHEDULE.interval_s)
    assert record.state is OrderState.NOT_PLACED
    fetch_count = len(reconciling.fetched_at)

    reconciling.listing = OrderListing(orders=(MINE,))
    await reconciling.advance(SCHEDULE.late_checks_s[0])

    assert (len(reconciling.fetched_at), (await reconciling.setup.event_names(record))[-1]) == (
        fetch_count + 1,
        "found",
    )


async def test_an_order_without_a_coid_stays_unknown_if_similar_orders_exist(reconciling: ReconcilerSetup) -> None:
    """A person must check it. It no longer blocks other orders."""
    record = await reconciling.lose(coids=[], wanted={"alike": [{"conid": "8", "side": "BUY"}]})
    reconciling.listing = OrderListing(orders=(MINE,), is_complete=True)

    await reconciling.advance(SCHEDULE.give_up_after_s + SCHEDULE.interval_s)

    assert (record.state, record.error) == (OrderState.UNKNOWN, NO_COID)


async def test_the_lists_of_an_account_are_fetched_once_for_all_its_orders(reconciling: ReconcilerSetup) -> None:
    """Each fetch costs two calls with a low rate limit."""
    await reconciling.lose("a", "DU1", coids=["x"])
    await reconciling.lose("b", "DU1", coids=["y"])
    await reconciling.lose("c", "DU2", coids=["z"])

    await reconciling.advance(SCHEDULE.first_delay_s + 1.0)

    assert reconciling.accounts == ["DU1", "DU2"]


async def test_a_list_fetched_by_a_caller_settles_an_order(reconciling: ReconcilerSetup) -> None:
    """The bridge then fetches none. An order that is missing in it stays unknown."""
    record = await reconciling.lose()
    reconciling.reconciler.observe(OrderListing())
    assert record.state is OrderState.UNKNOWN

    reconciling.reconciler.observe(OrderListing(orders=(MINE,)))

    assert ((await reconciling.setup.event_names(record))[-1], reconciling.fetched_at) == ("found", [])


async def test_a_new_order_waits_for_unsettled_orders_of_the_last_run(reconciling: ReconcilerSetup) -> None:
    """Only for those of its account, and until they are settled."""
    record = await reconciling.lose(restart=True)
    waiting = asyncio.create_task(reconciling.reconciler.wait_for_unsettled(reconciling.setup.request()))
    await asyncio.sleep(0)
    assert not waiting.done()

    reconciling.setup.repository.append_eventually(record, OrderEvent.FOUND, {})

    await with_timeout(waiting)


async def test_an_order_of_another_account_does_not_wait(reconciling: ReconcilerSetup) -> None:
    """An order after a loss in this run does not wait either, since its caller knows of the loss."""
    await reconciling.lose("a", "DU2", restart=True)
    await reconciling.lose("b", "DU1")

    await with_timeout(reconciling.reconciler.wait_for_unsettled(reconciling.setup.request()), 1.0)


@pytest.mark.parametrize(
    ("path", "body", "waits"),
    [
        ("/iserver/account/DU2/orders", b'{"orders":[{"acctId":"DU1","conid":8,"side":"BUY"}]}', True),
        ("/iserver/account/All/orders", b'{"orders":[{"conid":8,"side":"BUY"}]}', True),
        ("/iserver/account/DU2/orders", b'{"orders":[{"acctId":"DU2","conid":8,"side":"BUY"}]}', False),
    ],
)
async def test_an_order_waits_for_every_account_that_it_names(
    reconciling: ReconcilerSetup, path: str, body: bytes, waits: bool
) -> None:
    """A ticket may name another account than the path, and a group stands for all."""
    await reconciling.lose("a", "DU1", restart=True)
    request = reconciling.setup.request(body, path=path, account=path.split("/")[3])

    waiting = asyncio.create_task(reconciling.reconciler.wait_for_unsettled(request))
    await run_ready_tasks()

    assert waiting.done() is not waits
    waiting.cancel()


SAME_ORDER = {"alike": [{"conid": "8", "side": "BUY"}]}  # as `SubmitterSetup.request` places it
OTHER_SIDE = {"alike": [{"conid": "8", "side": "SELL"}]}


@pytest.mark.parametrize(
    ("facts", "waits"),
    [
        ({"wanted": SAME_ORDER}, True),
        ({"wanted": OTHER_SIDE}, False),
        ({"wanted": {}}, True),  # nothing is known of it
        ({"kind": "cancel", "wanted": {"order": "7"}}, False),
        ({"kind": "modify", "wanted": {"order": "7", "figures": {}}}, False),
    ],
)
async def test_after_the_first_complete_lists_only_possible_duplicates_wait(
    reconciling: ReconcilerSetup, facts: dict[str, object], waits: bool
) -> None:
    """Trading goes on seconds after a start; two minutes earlier every order of the account would wait."""
    await reconciling.lose("a", "DU1", restart=True, **facts)
    request = reconciling.setup.request()
    waiting = asyncio.create_task(reconciling.reconciler.wait_for_unsettled(request))
    await run_ready_tasks()
    waits_before = not waiting.done()

    await reconciling.advance(SCHEDULE.first_delay_s + 0.1)
    await run_ready_tasks()

    assert (waits_before, not waiting.done()) == (True, waits)
    waiting.cancel()


@pytest.mark.parametrize("listing", [None, OrderListing(is_complete=False), OrderListing(orders=(MINE,))])
async def test_incomplete_lists_let_no_order_pass(reconciling: ReconcilerSetup, listing: OrderListing | None) -> None:
    """An order that is not in them may exist."""
    await reconciling.lose(restart=True, wanted=OTHER_SIDE, coids=["other"])
    reconciling.listing = listing
    request = reconciling.setup.request()
    request.context.wait_s = 0.0

    await reconciling.advance(SCHEDULE.interval_s)

    with pytest.raises(OrderInProgress, match="last run"):
        await reconciling.reconciler.wait_for_unsettled(request)


async def test_lists_that_could_not_be_fetched_are_no_look(reconciling: ReconcilerSetup) -> None:
    """They are tried again five seconds later, and twenty seconds after that at the earliest."""
    await reconciling.lose(coids=["another"])
    reconciling.listing = None
    await reconciling.advance(13.0)
    reconciling.listing = NOTHING
    await reconciling.advance(30.0)

    assert reconciling.fetched_at == [2.0, 7.0, 12.0, 17.0, 37.0]


async def test_a_session_that_becomes_ready_starts_the_first_look_at_once(reconciling: ReconcilerSetup) -> None:
    """After a crash new orders wait for that look."""
    lost = await reconciling.lose(restart=True)
    reconciling.listing = None
    await reconciling.advance(3.0)
    reconciling.listing = OrderListing(orders=(MINE,))

    reconciling.reconciler.on_session_ready()
    await run_ready_tasks()

    assert (lost.state, reconciling.fetched_at) == (OrderState.PLACED, [2.0, 3.0])


async def test_the_lists_of_one_account_say_nothing_of_another(reconciling: ReconcilerSetup) -> None:
    """Each account is searched by itself."""
    await reconciling.lose("a", "DU2", restart=True, wanted=OTHER_SIDE)
    await reconciling.advance(SCHEDULE.first_delay_s)
    await reconciling.lose("b", "DU1", restart=True, wanted=OTHER_SIDE, coids=["other"])
    request = reconciling.setup.request()
    request.context.wait_s = 0.0

    with pytest.raises(OrderInProgress):
        await reconciling.reconciler.wait_for_unsettled(request)


async def test_a_possible_duplicate_passes_if_its_caller_confirms_it(reconciling: ReconcilerSetup) -> None:
    """The hint names the header; a minute need not have passed once the lists have been seen."""
    await reconciling.lose(restart=True, wanted=SAME_ORDER)
    await reconciling.advance(SCHEDULE.first_delay_s)
    plain, confirmed = reconciling.setup.request(), reconciling.setup.request(confirmations=frozenset({UNKNOWN_OPEN}))
    plain.context.wait_s = confirmed.context.wait_s = 0.0

    with pytest.raises(OrderInProgress) as refusal:
        await reconciling.reconciler.wait_for_unsettled(plain)
    await reconciling.reconciler.wait_for_unsettled(confirmed)

    assert "X-Bridge-Confirm: unknown-open" in refusal.value.hint
    assert "a minute after" not in refusal.value.hint


async def test_the_five_minutes_count_from_the_sending_over_restarts(reconciling: ReconcilerSetup) -> None:
    """An order of four minutes ago that is found nowhere is settled one minute after the restart, not five."""
    sent_at = (reconciling.clock.utc() - timedelta(seconds=240.0)).isoformat()
    lost_at = reconciling.clock.utc().isoformat()
    record = OrderRecord("a", OrderOperation.PLACE)
    facts = {"kind": "place", "coids": ["mine"], "account": "DU1", "own_name": True}
    record.apply(JournalEntry("a", sent_at, OrderEvent.SENT, OrderState.SENDING, facts))
    record.apply(JournalEntry("a", lost_at, OrderEvent.LOST, OrderState.UNKNOWN, {"error": "e", "restart": True}))
    reconciling.setup.repository.index.add(record)
    reconciling.reconciler._on_order_change(record)

    await reconciling.advance(59.0)
    state_before = record.state
    await reconciling.advance(SCHEDULE.interval_s)

    assert (state_before, record.state) == (OrderState.UNKNOWN, OrderState.NOT_PLACED)


async def test_the_confirmation_of_a_question_counts_as_its_sending(reconciling: ReconcilerSetup) -> None:
    """It is the call that places the order; the question may be a minute old by then."""
    record = OrderRecord("a", OrderOperation.PLACE)
    now = reconciling.clock.utc()
    for seconds_ago, what, state in (
        (280.0, OrderEvent.SENT, OrderState.SENDING),
        (270.0, OrderEvent.ASKED, OrderState.QUESTION),
        (220.0, OrderEvent.CONFIRMED, OrderState.SENDING),
        (0.0, OrderEvent.LOST, OrderState.UNKNOWN),
    ):
        at = (now - timedelta(seconds=seconds_ago)).isoformat()
        record.apply(JournalEntry("a", at, what, state, {"kind": "place", "coids": ["mine"], "account": "DU1"}))
    reconciling.setup.repository.index.add(record)
    reconciling.reconciler._on_order_change(record)

    await reconciling.advance(79.0)
    state_before = record.state
    await reconciling.advance(SCHEDULE.interval_s)

    assert (state_before, record.state) == (OrderState.UNKNOWN, OrderState.NOT_PLACED)


async def test_a_wall_clock_that_was_set_back_makes_no_order_younger_than_it_is(
    reconciling: ReconcilerSetup,
) -> None:
    """Its sending then lies in the future: the five minutes begin at the start."""
    record = OrderRecord("a", OrderOperation.PLACE)
    at = (reconciling.clock.utc() + timedelta(hours=3)).isoformat()
    for what, state in ((OrderEvent.SENT, OrderState.SENDING), (OrderEvent.LOST, OrderState.UNKNOWN)):
        record.apply(JournalEntry("a", at, what, state, {"kind": "place", "coids": ["mine"], "account": "DU1"}))
    reconciling.setup.repository.index.add(record)
    reconciling.reconciler._on_order_change(record)

    await reconciling.advance(SCHEDULE.give_up_after_s + SCHEDULE.interval_s)

    assert record.state is OrderState.NOT_PLACED


async def test_a_caller_may_skip_the_wait_a_minute_after_the_start(reconciling: ReconcilerSetup) -> None:
    """Not earlier, since most orders are found by then."""
    await reconciling.lose(restart=True)
    reconciling.listing = None
    confirmed_request = reconciling.setup.request(confirmations=frozenset({UNKNOWN_OPEN}))
    confirmed_request.context.wait_s = 0.0
    with pytest.raises(OrderInProgress):
        await reconciling.reconciler.wait_for_unsettled(confirmed_request)

    await reconciling.advance(SCHEDULE.startup_block_s)

    await with_timeout(reconciling.reconciler.wait_for_unsettled(confirmed_request), 1.0)
    other_request = reconciling.setup.request()
    other_request.context.wait_s = 0.0
    with pytest.raises(OrderInProgress):
        await reconciling.reconciler.wait_for_unsettled(other_request)


async def test_a_lost_order_is_searched_for_at_the_documented_times(reconciling: ReconcilerSetup) -> None:
    """Two seconds after its loss, then every twenty until five minutes, then after ten, thirty and sixty minutes."""
    record = await reconciling.lose()

    await reconciling.advance(299.9)
    state_before = record.state
    await reconciling.advance(2.2)
    state_after = record.state
    await reconciling.advance(2 * 3600.0)

    assert (state_before, state_after) == (OrderState.UNKNOWN, OrderState.NOT_PLACED)
    expected = [*(2.0 + 20.0 * number for number in range(16)), 600.0, 1800.0, 3600.0]
    assert reconciling.fetched_at == pytest.approx(expected, abs=0.2)
    rows = await reconciling.setup.repository.journal.read_all()
    assert rows[-1][1].facts == {"error": NOT_FOUND, "orders": 0, "trades": 0, "looks": 16}


async def test_an_order_is_forgotten_a_day_after_it_was_settled(reconciling: ReconcilerSetup) -> None:
    """IBKR lists the orders of the day only; an unknown one is never forgotten."""
    settled, unknown = await reconciling.lose("a", coids=["x"]), await reconciling.lose("b", coids=["y"], account="DU2")
    reconciling.setup.repository.append_eventually(settled, OrderEvent.MISSED, {"error": "gone"})
    reconciling.listing = None

    reconciling.clock.advance(24 * 3600.0 - 120.0)
    await reconciling.advance(60.0)
    is_known_before = settled.id in reconciling.reconciler._unsettled
    await reconciling.advance(120.0)

    assert (is_known_before, list(reconciling.reconciler._unsettled)) == (True, [unknown.id])


async def test_a_coid_that_ibkr_has_already_wakes_the_search_for_the_earlier_order(
    reconciling: ReconcilerSetup,
) -> None:
    """It counted as not placed and exists after all: its caller must learn that at once, not in half an hour."""
    earlier = await reconciling.lose()
    await reconciling.advance(1000.0)
    assert earlier.state is OrderState.NOT_PLACED
    fetch_count = len(reconciling.fetched_at)
    reconciling.listing = OrderListing(orders=(MINE,), is_complete=True)
    again = OrderRecord("b", OrderOperation.PLACE)
    reconciling.setup.repository.index.add(again)
    facts = {"kind": "place", "coids": ["mine"], "account": "DU1", "own_name": True}
    await reconciling.setup.repository.append(again, OrderEvent.SENT, facts)

    reconciling.setup.repository.append_eventually(
        again, OrderEvent.TURNED_DOWN, {"error": "Local order ID=mine is already registered."}
    )
    await reconciling.advance(1.0)

    assert (len(reconciling.fetched_at), earlier.state) == (fetch_count + 1, OrderState.PLACED)


@pytest.mark.parametrize(
    ("price", "state", "error"), [("5", OrderState.UNKNOWN, CHANGE_NOT_VISIBLE), ("6", OrderState.NOT_PLACED, None)]
)
async def test_a_change_of_an_order_of_unknown_figures_ends_with_the_last_look(
    reconciling: ReconcilerSetup, price: str, state: OrderState, error: str | None
) -> None:
    """Other figures show that it was not made. The same figures may have stood there before it."""
    record = await reconciling.lose(kind="modify", coids=[], wanted={"order": "7", "figures": {"price": "5"}})
    reconciling.listing = OrderListing(orders=({**MINE, "price": price},), is_complete=True)

    await reconciling.advance(SCHEDULE.give_up_after_s + SCHEDULE.interval_s)

    assert record.state is state
    assert error is None or record.error == error


async def test_lists_are_fetched_later_if_the_journal_cannot_be_read(
    reconciling: ReconcilerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the earlier orders no row of a list can be judged."""

    async def fail() -> None:
        raise JournalUnavailable("no")

    record = await reconciling.lose()
    reconciling.listing = OrderListing(orders=(MINE,), is_complete=True)
    with monkeypatch.context() as patch:
        patch.setattr(reconciling.setup.repository, "wait_for_rows", fail)
        await reconciling.advance(SCHEDULE.first_delay_s + 1.0)
        fetched_before = list(reconciling.fetched_at)
    await reconciling.advance(5.0)

    assert (fetched_before, record.state) == ([], OrderState.PLACED)


async def test_another_rejection_wakes_no_search(reconciling: ReconcilerSetup) -> None:
    """Each look costs calls that IBKR allows rarely."""
    await reconciling.lose()
    await reconciling.advance(1000.0)
    fetch_count = len(reconciling.fetched_at)
    again = OrderRecord("b", OrderOperation.PLACE)
    reconciling.setup.repository.index.add(again)
    await reconciling.setup.repository.append(again, OrderEvent.SENT, {"kind": "place", "coids": ["mine"]})

    reconciling.setup.repository.append_eventually(again, OrderEvent.TURNED_DOWN, {"error": "no margin"})
    await reconciling.advance(1.0)

    assert len(reconciling.fetched_at) == fetch_count


async def test_a_new_order_waits_as_long_as_its_caller_says_and_not_longer(reconciling: ReconcilerSetup) -> None:
    """However often other orders change meanwhile: each change makes it look again, none begins its time anew."""
    await reconciling.lose(restart=True)
    reconciling.listing = None
    request = reconciling.setup.request()
    waiting = asyncio.create_task(reconciling.reconciler.wait_for_unsettled(request))
    for number in range(5):
        await run_ready_tasks()
        assert not waiting.done()
        reconciling.clock.advance(0.9)
        await reconciling.lose(f"other {number}", "DU2")
    reconciling.clock.advance(0.5)

    with pytest.raises(OrderInProgress, match="order a of the bridge's last run") as refusal:
        await with_timeout(waiting)
    assert refusal.value.retry_after == 5.0
    assert "a minute after the bridge's start" in refusal.value.hint


async def test_an_order_that_a_person_must_check_blocks_no_other(reconciling: ReconcilerSetup) -> None:
    """Nothing more can be learnt, so waiting would help nobody. It is looked for at the late times only."""
    record = await reconciling.lose(coids=[], restart=True, wanted={"alike": [{"conid": "8", "side": "BUY"}]})
    reconciling.listing = OrderListing(orders=(MINE,), is_complete=True)

    await reconciling.advance(302.5)
    request = reconciling.setup.request()
    request.context.wait_s = 0.0
    await with_timeout(reconciling.reconciler.wait_for_unsettled(request))
    fetch_count = len(reconciling.fetched_at)
    await reconciling.advance(290.0)

    assert (record.state, record.interrupted_by_restart, record.error) == (OrderState.UNKNOWN, False, NO_COID)
    assert len(reconciling.fetched_at) == fetch_count


async def test_an_order_that_is_found_is_not_searched_for_again(reconciling: ReconcilerSetup) -> None:
    """The loop then sleeps until something changes."""
    await reconciling.lose()
    reconciling.listing = OrderListing(orders=(MINE,))
    await reconciling.advance(2.5)
    is_idle = not reconciling.reconciler.has_unsettled

    await reconciling.advance(2 * 3600.0)

    assert (is_idle, len(reconciling.fetched_at)) == (True, 1)
    assert reconciling.clock.next_alarm <= 3600.0


Restarted = tuple[ReconcilerSetup, asyncio.Event]


@pytest.fixture
async def restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Restarted]:
    """The run after one in which an order counted as not placed and its cOID was used once more; the event lets the
    rows of settled orders be read.
    """
    before = ReconcilerSetup(SubmitterSetup(tmp_path / "main.orders.db"))
    repository = before.setup.repository
    first, second = await before.lose("a"), OrderRecord("b", OrderOperation.PLACE)
    repository.append_eventually(first, OrderEvent.MISSED, {"error": NOT_FOUND})
    repository.index.add(second)
    await repository.append(second, OrderEvent.SENT, {"kind": "place", "coids": ["mine"], "account": "DU1"})
    repository.append_eventually(second, OrderEvent.TAKEN, {"order_ids": ["7"]})
    await end(before)

    monkeypatch.setattr(recent_orders, "MAX_COMPLETE", 0)  # the second order is one of many and becomes a row
    after, may_read = ReconcilerSetup(SubmitterSetup(tmp_path / "main.orders.db")), asyncio.Event()
    read_settled = after.setup.repository.journal.read_settled

    async def read_when_allowed(recent: RecentOrders) -> list[tuple[SettledRow, Names]]:
        await may_read.wait()
        return await read_settled(recent)

    monkeypatch.setattr(after.setup.repository.journal, "read_settled", read_when_allowed)
    await after.setup.repository.load()
    yield after, may_read
    await end(after)


async def end(reconciling: ReconcilerSetup) -> None:
    """End the loop, and close the journal."""
    reconciling.loop.cancel()
    with suppress(asyncio.CancelledError):
        await reconciling.loop
    await reconciling.setup.repository.close()


async def test_a_list_proves_nothing_before_all_orders_are_known(
    restarted: Restarted,
) -> None:
    """The number in it belongs to the later order with the same cOID; that one is read a moment after the start."""
    reconciling, may_read = restarted
    record = reconciling.setup.repository.index.find("a")
    assert record is not None

    reconciling.reconciler.observe(OrderListing(orders=(MINE,)))
    state_by_callers_list = record.state
    may_read.set()
    await reconciling.setup.repository.wait_for_rows()
    reconciling.reconciler.observe(OrderListing(orders=(MINE,)))

    assert (state_by_callers_list, record.state) == (OrderState.NOT_PLACED, OrderState.NOT_PLACED)


async def test_no_list_is_fetched_before_all_orders_are_known(
    restarted: Restarted,
) -> None:
    """A late check that is due waits for them."""
    reconciling, may_read = restarted
    reconciling.listing = OrderListing(orders=(MINE,), is_complete=True)
    record = reconciling.setup.repository.index.find("a")
    assert record is not None

    reconciling.clock.advance(SCHEDULE.late_checks_s[0] + 1.0)
    await run_ready_tasks()
    fetched_before = list(reconciling.fetched_at)
    may_read.set()
    await reconciling.setup.repository.wait_for_rows()
    await reconciling.advance(1.0)

    assert (fetched_before, len(reconciling.fetched_at)) == ([], 1)
    assert (record.state, record.order_ids) == (OrderState.NOT_PLACED, ())
