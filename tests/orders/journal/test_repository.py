"""The order repository: memory and disk agree, whatever happens while the disk is written."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.calls.context import CallContext, CallerGone, FirstByteHook
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response
from ibkr_bridge.errors import JournalUnavailable, TradingPaused
from ibkr_bridge.events import Bus, Event, ListenerFailed
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.orders.exchange import ExchangeStep, OrderExchange
from ibkr_bridge.orders.journal import index as index_module
from ibkr_bridge.orders.journal import recent_orders
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.settled_rows import Names, SettledRow
from ibkr_bridge.orders.journal.store import JournalStore, open_read_only, read_rows
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState, verify
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.response import interpret_placement
from tests.disk import Disk
from tests.harness import with_timeout
from tests.orders.journal.test_store import utc

PLACE = Call("POST", "/v1/api/iserver/account/DU1/orders", body=b"{}", is_change=True)
FACTS = RequestFacts(Effect.TRADE, OrderOperation.PLACE)
SENT = {"kind": "place", "fingerprint": "f", "coids": ["mine"]}
DISK_FULL = sqlite3.OperationalError("database or disk is full")


def open_repository(path: Path) -> OrderRepository:
    """Open a repository on a file."""
    bus = Bus()
    return OrderRepository(JournalWriter(JournalStore(path, bus, utc), bus), bus, utc)


@pytest.fixture
async def repository(tmp_path: Path, disk: Disk) -> AsyncIterator[OrderRepository]:
    """A repository on a file of its own; it is closed at the end."""
    repository = open_repository(tmp_path / "main.orders.db")
    yield repository
    await repository.close()


def order(repository: OrderRepository, name: str = "a") -> OrderRecord:
    """Add a new order, which has no journal entry yet."""
    record = OrderRecord(name, OrderOperation.PLACE, fingerprint="f", coids=("mine",), has_own_identity=True)
    repository.index.add(record)
    return record


async def event_names(repository: OrderRepository, name: str = "a") -> list[str]:
    """The names of an order's events on disk. Checks the journal, and its last state against the memory."""
    rows = await repository.journal.read_all()
    entries = [entry for _, entry, _ in rows if entry.order_id == name]
    assert list(verify(rows)) == []
    record = repository.index.find(name)
    assert record is None or not entries or record.state is entries[-1].state
    return [entry.what.value for entry in entries]


async def test_memory_changes_only_after_the_disk(repository: OrderRepository, disk: Disk) -> None:
    """A state that is not on disk yet is not shown. Events of other orders are."""
    record, other = order(repository), order(repository, "b")
    await repository.append(other, OrderEvent.SENT, SENT)
    disk.hold()
    writing = asyncio.create_task(repository.append(record, OrderEvent.SENT, SENT))
    await disk.wait_until_holding()
    repository.append_eventually(other, OrderEvent.TAKEN, {})
    assert (record.state, other.state, repository.is_writing(record)) == (None, OrderState.PLACED, True)

    disk.release()
    await writing

    assert (record.state, repository.is_writing(record)) == (OrderState.SENDING, False)
    assert (await event_names(repository), await event_names(repository, "b")) == (["sent"], ["sent", "taken"])


async def test_events_during_a_write_follow_its_entry(repository: OrderRepository, disk: Disk) -> None:
    """The question is delivered, and a cancel ends it, while a confirmation is written."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    disk.hold()
    writing = asyncio.create_task(repository.append(record, OrderEvent.CONFIRMED, {"reply": "r"}))
    await disk.wait_until_holding()
    events = OrderEvent.TOLD, OrderEvent.DROPPED, OrderEvent.DECLINED  # the last cannot follow, and is dropped
    are_accepted = [repository.append_eventually(record, what, {}) for what in events]

    disk.release()
    await writing

    assert await event_names(repository) == ["sent", "asked", "confirmed", "told", "dropped"]
    assert are_accepted == [True, True, True]  # it was not known yet


async def test_an_event_that_cannot_follow_is_not_written(repository: OrderRepository) -> None:
    """The caller of `append_eventually` is told."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)

    could_follow = [repository.append_eventually(record, what, {}) for what in (OrderEvent.TAKEN, OrderEvent.ASKED)]

    assert could_follow == [True, False]
    assert await event_names(repository) == ["sent", "taken"]


async def test_subscribers_learn_of_the_orders_of_earlier_runs(tmp_path: Path) -> None:
    """The reconciler searches for those that are unknown."""
    first = open_repository(tmp_path / "main.orders.db")
    record = order(first)
    await first.append(record, OrderEvent.SENT, SENT)
    await first.append(record, OrderEvent.LOST, {"error": "silence"})
    await first.close()
    second, seen = open_repository(tmp_path / "main.orders.db"), list[tuple[str, OrderState | None]]()
    second.subscribe(lambda record: seen.append((record.id, record.state)))

    await second.load()
    await second.close()

    assert seen == [("a", OrderState.UNKNOWN)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((OrderEvent.SENT, OrderEvent.TAKEN), ["left"]),
        ((OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.TOLD), []),
        ((OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.LEFT), []),
        ((OrderEvent.REFUSED,), []),
        ((OrderEvent.SENT,), ["lost", "left"]),
        ((OrderEvent.SENT, OrderEvent.LOST, OrderEvent.TOLD), []),
        ((OrderEvent.SENT, OrderEvent.ASKED, OrderEvent.TOLD), ["declined"]),
    ],
)
async def test_a_restart_ends_what_was_running_and_nothing_else(
    tmp_path: Path, before: tuple[OrderEvent, ...], after: list[str]
) -> None:
    """A caller that did not get its response has left; one that got it would otherwise order the same again in vain."""
    first = open_repository(tmp_path / "main.orders.db")
    record = order(first)
    for what in before:
        await first.append(record, what, SENT if what in (OrderEvent.SENT, OrderEvent.REFUSED) else {})
    await first.close()
    second = open_repository(tmp_path / "main.orders.db")

    await second.load()

    assert (await event_names(second))[len(before) :] == after
    restored = second.index.find("a")
    assert restored is not None
    assert restored.is_delivered is (before[-1] is OrderEvent.TOLD)
    assert restored.interrupted_by_restart is (restored.state is OrderState.UNKNOWN)
    await second.close()


async def test_the_open_questions_of_the_run_before_are_named_once(tmp_path: Path) -> None:
    """They are declined: nobody can reply to them any more."""
    first = open_repository(tmp_path / "main.orders.db")
    record = order(first)
    await first.append(record, OrderEvent.SENT, SENT)
    first.append_eventually(record, OrderEvent.ASKED, {"replies": ["r1", "r2"]})
    await first.close()
    second = open_repository(tmp_path / "main.orders.db")

    replies = [await second.load(), await second.load()]
    await second.close()

    assert replies == [["r1", "r2"], []]


async def test_new_orders_come_after_those_of_earlier_runs(tmp_path: Path) -> None:
    """Lists show the latest first, and the latest order with a name is the one that is meant."""
    first = open_repository(tmp_path / "main.orders.db")
    for name in ("a", "b"):
        record = order(first, name)
        await first.append(record, OrderEvent.SENT, SENT)
        await first.append(record, OrderEvent.TURNED_DOWN, {})
    await first.close()
    second = open_repository(tmp_path / "main.orders.db")
    await second.load()

    await second.append(order(second, "c"), OrderEvent.SENT, SENT)

    assert [record.id for record in await second.newest(None, 3)] == ["c", "b", "a"]
    await second.close()


async def test_the_rows_of_earlier_runs_are_read_without_being_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the first order of the run does not have to wait for them."""
    monkeypatch.setattr(recent_orders, "MAX_COMPLETE", 0)
    first = open_repository(tmp_path / "main.orders.db")
    record = order(first)
    for what in (OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.TOLD):
        await first.append(record, what, SENT if what is OrderEvent.SENT else {})
    await first.close()
    second = open_repository(tmp_path / "main.orders.db")

    await second.load()
    async with asyncio.timeout(5.0):
        while not second.index.rows.counts.total():
            await asyncio.sleep(0)

    assert second.index.find("a") is None
    await second.close()


async def test_close_does_not_wait_for_the_rows(repository: OrderRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs them any more, and a journal that is closed is not read."""
    monkeypatch.setattr(repository.journal, "read_settled", lambda _: asyncio.get_running_loop().create_future())
    await repository.load()
    await asyncio.sleep(0)
    reading = repository._reading_rows
    assert reading is not None
    assert not reading.done()

    await with_timeout(repository.close(), 1.0)

    assert reading.cancelled()


async def test_while_rows_cannot_be_read_only_what_needs_no_comparison_goes_on(
    repository: OrderRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new order might repeat an earlier one, and so might any call with an Idempotency-Key."""

    async def fail(_: object) -> object:
        raise JournalUnavailable("the disk is gone")

    monkeypatch.setattr(repository.journal, "read_settled", fail)
    await repository.load()
    await repository.append(order(repository), OrderEvent.SENT, SENT)
    for operation, key in ((OrderOperation.PLACE, None), (OrderOperation.CANCEL, "k")):
        call = OrderRecord("new", operation, idempotency_digest=key)
        with pytest.raises(JournalUnavailable):
            await repository.find_duplicate(call, unknown_open=False)
    with pytest.raises(JournalUnavailable):
        await repository.newest(None, 2)

    assert await repository.find_duplicate(OrderRecord("new", OrderOperation.CANCEL), unknown_open=False) is None
    assert [record.id for record in await repository.newest(None, 1)] == ["a"]


async def test_a_question_that_ends_after_a_part_was_placed_leaves_the_order_unknown(
    repository: OrderRepository,
) -> None:
    """The reconciler searches for that part. Without one, nothing is placed."""
    whole, part = order(repository), order(repository, "b")
    for record in (whole, part):
        await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(whole, OrderEvent.ASKED, {"replies": ["r"]})
    repository.append_eventually(part, OrderEvent.ASKED, {"replies": ["r"], "order_ids": ["7"]})

    for record in (whole, part):
        assert repository.end_question(record, OrderEvent.DECLINED, {"error": "nobody replied"})

    assert (whole.state, part.state) == (OrderState.NOT_PLACED, OrderState.UNKNOWN)


async def test_an_order_is_found_by_a_reply_as_soon_as_it_is_sent(repository: OrderRepository) -> None:
    """The names of an order change with its entries."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    before = repository.index.find_by_reply("r")

    await repository.append(record, OrderEvent.CONFIRMED, {"reply": "r"})

    assert (before, repository.index.find_by_reply("r")) == (None, record)


async def test_entries_of_this_run_have_monotonic_marks(tmp_path: Path, bus: Bus) -> None:
    """A jump of the wall clock must not change the age of an order."""
    writer = JournalWriter(JournalStore(tmp_path / "x.db", bus, utc), bus)
    seconds = [100.0]
    repository = OrderRepository(writer, bus, utc, lambda: seconds[0])
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    marks = [record.created_mark, record.updated_mark]
    seconds[0] = 105.0
    repository.append_eventually(record, OrderEvent.LOST, {})

    assert [*marks, record.created_mark, record.updated_mark] == [100.0, 100.0, 100.0, 105.0]
    await repository.close()


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ((OrderEvent.TAKEN,), ["order.sent", "order.placed"]),
        ((OrderEvent.LOST, OrderEvent.FOUND), ["order.sent", "order.unknown", "order.placed"]),
        (
            (OrderEvent.LOST, OrderEvent.MISSED, OrderEvent.FOUND),
            ["order.sent", "order.unknown", "order.not_placed", "order.placed_late"],
        ),
        ((OrderEvent.TAKEN, OrderEvent.LEFT), ["order.sent", "order.placed", "order.response_undelivered"]),
        ((OrderEvent.TAKEN, OrderEvent.TOLD), ["order.sent", "order.placed"]),
    ],
)
async def test_each_change_is_published_once(
    tmp_path: Path, bus: Bus, events_seen: list[Event], what: tuple[OrderEvent, ...], names: list[str]
) -> None:
    """An order that is found after it counted as not placed is a warning of its own. A delivery is no change."""
    repository = OrderRepository(JournalWriter(JournalStore(tmp_path / "x.db", bus, utc), bus), bus, utc)
    changed: list[OrderState | None] = []
    repository.subscribe(lambda record: changed.append(record.state))
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    for each in what:
        repository.append_eventually(record, each, {})
    await repository.close()

    assert [event.event for event in events_seen] == names
    assert len(changed) == 1 + sum(each not in (OrderEvent.TOLD, OrderEvent.LEFT) for each in what)


@pytest.mark.parametrize("was_killed_again", [False, True])
async def test_the_end_of_the_bridge_is_reported_once_for_an_order(
    tmp_path: Path, bus: Bus, events_seen: list[Event], was_killed_again: bool
) -> None:
    """That its caller got no response follows from it. The run after the end may be killed between the two entries."""
    first = open_repository(tmp_path / "x.db")
    record = order(first)
    await first.append(record, OrderEvent.SENT, SENT)
    if was_killed_again:
        await first.append(record, OrderEvent.LOST, {"error": "the bridge ended before the response came"})
    await first.close()
    second = OrderRepository(JournalWriter(JournalStore(tmp_path / "x.db", bus, utc), bus), bus, utc)

    await second.load()
    await second.close()

    assert [event.event for event in events_seen] == ([] if was_killed_again else ["order.unknown"])


async def test_finished_orders_leave_the_memory_unless_the_disk_fails(
    repository: OrderRepository, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then their entries may be in memory only."""
    monkeypatch.setattr(index_module, "MAX_FULL_RECORDS", 0)
    monkeypatch.setattr(index_module, "SLACK", 1)
    records = [order(repository, name) for name in ("a", "b")]
    for record in records:
        await repository.append(record, OrderEvent.SENT, SENT)
        repository.append_eventually(record, OrderEvent.TAKEN, {})
    await repository.journal.read_all()
    disk.failure = DISK_FULL
    repository.append_eventually(records[0], OrderEvent.LEFT, {})
    with suppress(JournalUnavailable):
        await repository.journal.append(sent_again(repository))
    repository.append_eventually(records[0], OrderEvent.TOLD, {})
    before = repository.index.find("a")
    disk.failure = None
    await repository.append(order(repository, "c"), OrderEvent.SENT, SENT)

    repository.append_eventually(records[1], OrderEvent.TOLD, {})

    assert (before, repository.index.find("a"), repository.index.find("b")) == (records[0], None, None)


def sent_again(repository: OrderRepository) -> JournalEntry:
    """An entry of an order that is never written."""
    return repository.journal.new_entry("never", OrderEvent.SENT, OrderState.SENDING, SENT)


async def test_an_order_that_the_journal_has_otherwise_stops_the_search(repository: OrderRepository) -> None:
    """It is not known what the earlier order was, so no order may be sent that might repeat it."""
    await repository.load()
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.index.remove(record)
    row = SettledRow(record.place, record.id, OrderState.PLACED, 0.0)
    repository.index.rows.add([(row, Names(coids=("mine",)))])

    with pytest.raises(JournalUnavailable, match="does not have an earlier order as it was written"):
        await with_timeout(repository.find_duplicate(order(repository, "b"), unknown_open=False))


async def test_a_failed_write_leaves_the_memory_unchanged(repository: OrderRepository, disk: Disk) -> None:
    """Events that happened meanwhile are kept."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    disk.hold()
    disk.failure = DISK_FULL
    writing = asyncio.create_task(repository.append(record, OrderEvent.CONFIRMED, {"reply": "r"}))
    await disk.wait_until_holding()
    repository.append_eventually(record, OrderEvent.TOLD, {})
    disk.release()

    with pytest.raises(JournalUnavailable):
        await writing
    disk.failure = None

    assert (record.state, record.sent_replies) == (OrderState.QUESTION, {})
    await repository.journal.close()
    assert await event_names(repository) == ["sent", "asked", "told"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_append_waits_for_the_disk(repository: OrderRepository, disk: Disk, fails: bool) -> None:
    """Only then is it known whether the entry is on disk."""
    record = order(repository)
    disk.hold()
    disk.failure = DISK_FULL if fails else None
    writing = asyncio.create_task(repository.append(record, OrderEvent.SENT, SENT))
    await disk.wait_until_holding()
    writing.cancel()
    await asyncio.sleep(0)
    assert not writing.done()
    disk.release()

    with pytest.raises(asyncio.CancelledError):
        await writing
    disk.failure = None

    assert record.state is (None if fails else OrderState.SENDING)


async def test_a_kill_during_a_write_leaves_the_order_unknown(
    repository: OrderRepository, disk: Disk, tmp_path: Path
) -> None:
    """The entry is on disk, and it is unknown whether the call was sent."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    after = tmp_path / "after"
    after.mkdir()
    for file in tmp_path.glob("main.orders.db*"):
        shutil.copy(file, after / file.name)
    restarted = open_repository(after / "main.orders.db")

    # two orders come at the same time, after a start without a disk
    await asyncio.gather(restarted.load(), restarted.load())

    record_after = restarted.index.find("a")
    assert record_after is not None
    assert (record_after.state, record_after.interrupted_by_restart) == (OrderState.UNKNOWN, True)
    assert await event_names(restarted) == ["sent", "lost", "left"]
    await restarted.journal.close()


# -- an exchange that is stopped at each place where it waits


class SteppedIbkr:
    """Takes calls in place of IBKR, and waits before and after the first byte until the test continues."""

    def __init__(self) -> None:
        self.may_write, self.may_respond, self.is_sent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.error_after_entry: BaseException | None = None
        self.sent_count = 0

    async def __call__(
        self,
        call: Call,
        facts: RequestFacts,
        before_first_byte: FirstByteHook,
        is_connected: Callable[[], bool],
        on_late_response: OnLateResponse,
    ) -> Response:
        await self.may_write.wait()
        await before_first_byte.write_entry()
        if self.error_after_entry is not None:
            raise self.error_after_entry
        before_first_byte.has_left = True
        self.sent_count += 1
        self.is_sent.set()
        await self.may_respond.wait()
        return Response(200, {}, b'[{"order_id":"1"}]')


def exchange(
    repository: OrderRepository, record: OrderRecord, ibkr: SteppedIbkr, what: OrderEvent = OrderEvent.SENT
) -> asyncio.Task[Any]:
    """Start an exchange."""
    order_request = OrderRequest(
        CallContext(PLACE, endpoint_of(PLACE.method, PLACE.target), FACTS), OrderOperation.PLACE, send=ibkr
    )
    facts = SENT if what is OrderEvent.SENT else {"reply": "r"}
    step = ExchangeStep(PLACE, FACTS, what, facts, interpret_placement)
    return asyncio.create_task(OrderExchange(repository, lambda _: None).run(record, order_request, step))


async def test_an_exchange_cancelled_before_its_entry_writes_nothing(repository: OrderRepository) -> None:
    """The order has no state."""
    record, ibkr = order(repository), SteppedIbkr()
    task = exchange(repository, record, ibkr)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert (record.state, ibkr.sent_count, await event_names(repository)) == (None, 0, [])


@pytest.mark.parametrize(("what", "last_event"), [(OrderEvent.SENT, "refused"), (OrderEvent.CONFIRMED, "held_back")])
async def test_an_exchange_cancelled_while_its_entry_is_written_is_not_sent(
    repository: OrderRepository, disk: Disk, what: OrderEvent, last_event: str
) -> None:
    """The entry is on disk, followed by one that says that nothing was sent."""
    record, ibkr = order(repository), SteppedIbkr()
    if what is OrderEvent.CONFIRMED:
        await repository.append(record, OrderEvent.SENT, SENT)
        repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    ibkr.may_write.set()
    disk.hold()
    task = exchange(repository, record, ibkr, what)
    await disk.wait_until_holding()
    task.cancel()
    await asyncio.sleep(0)
    disk.release()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert ibkr.sent_count == 0
    assert (await event_names(repository))[-2:] == [what.value, last_event]
    assert record.sent_replies == {}


async def test_an_exchange_cancelled_after_the_first_byte_is_unknown(repository: OrderRepository) -> None:
    """IBKR may have the order."""
    record, ibkr = order(repository), SteppedIbkr()
    ibkr.may_write.set()
    task = exchange(repository, record, ibkr)
    await with_timeout(ibkr.is_sent.wait())
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert await event_names(repository) == ["sent", "lost"]


async def test_close_waits_for_the_event_after_an_entry(
    repository: OrderRepository, disk: Disk, tmp_path: Path
) -> None:
    """The call was cancelled while the disk was written, and the bridge stops at the same time."""
    record, ibkr = order(repository), SteppedIbkr()
    ibkr.may_write.set()
    disk.hold()
    task = exchange(repository, record, ibkr)
    await disk.wait_until_holding()
    task.cancel()
    ending = asyncio.create_task(repository.close())
    await asyncio.sleep(0)
    assert not ending.done()
    disk.release()
    await ending

    with closing(open_read_only(tmp_path / "main.orders.db")) as file:
        assert [entry.what for _, entry, _ in read_rows(file)] == [OrderEvent.SENT, OrderEvent.REFUSED]
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_close_waits_for_entries_that_follow_one_being_written(
    repository: OrderRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry may be on disk before the event loop knows it; those that follow must still be in the file."""
    record, is_noticed, journal = order(repository), asyncio.Event(), repository.journal
    await repository.append(order(repository, "b"), OrderEvent.SENT, SENT)  # an earlier entry is no end of this one
    write, close = journal.append, journal.close
    was_writing: list[bool] = []

    async def write_and_wait(entry: JournalEntry) -> None:
        await write(entry)
        await is_noticed.wait()

    async def observed_close() -> None:
        was_writing.append(repository.is_writing(record))
        await close()

    monkeypatch.setattr(journal, "append", lambda entry: asyncio.ensure_future(write_and_wait(entry)))
    monkeypatch.setattr(journal, "close", observed_close)
    writing = asyncio.create_task(repository.append(record, OrderEvent.SENT, SENT))
    await asyncio.sleep(0)
    repository.append_eventually(record, OrderEvent.TAKEN, {})

    ending = asyncio.create_task(repository.close())
    await asyncio.sleep(0)
    is_noticed.set()
    await with_timeout(asyncio.gather(writing, ending))

    assert was_writing == [False]
    with closing(open_read_only(tmp_path / "main.orders.db")) as file:
        entries = [entry.what for _, entry, _ in read_rows(file) if entry.order_id == "a"]
    assert entries == [OrderEvent.SENT, OrderEvent.TAKEN]


@pytest.mark.parametrize(
    ("error", "code"),
    [(TradingPaused("it is paused"), "trading_paused"), (CallerGone(), "caller_gone"), (KeyError(), "caller_gone")],
)
async def test_an_order_stopped_after_its_entry_frees_its_coids(
    repository: OrderRepository, error: Exception, code: str
) -> None:
    """It is refused with a reason, and the same call is a new order."""
    record, ibkr = order(repository), SteppedIbkr()
    ibkr.may_write.set()
    ibkr.error_after_entry = error

    with pytest.raises(type(error)):
        await exchange(repository, record, ibkr)

    _, entry, _ = (await repository.journal.read_all())[-1]
    assert (ibkr.sent_count, await event_names(repository), entry.facts["code"]) == (0, ["sent", "refused"], code)
    assert (
        repository.index.find_duplicate(
            OrderRecord("b", OrderOperation.PLACE, fingerprint="f", coids=("mine",)), unknown_open=False
        )
        is None
    )


async def test_a_question_that_ends_during_a_confirmation_stops_it(repository: OrderRepository, disk: Disk) -> None:
    """A cancel was sent in between, so IBKR has dropped its question."""
    record, ibkr = order(repository), SteppedIbkr()
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    ibkr.may_write.set()
    disk.hold()
    task = exchange(repository, record, ibkr, OrderEvent.CONFIRMED)
    await disk.wait_until_holding()
    repository.end_question(record, OrderEvent.DROPPED, {"error": "a cancel"})
    disk.release()

    with pytest.raises(Exception, match="is over"):
        await task

    assert (ibkr.sent_count, await event_names(repository)) == (0, ["sent", "asked", "confirmed", "dropped"])


async def test_a_subscriber_that_raises_stops_neither_the_others_nor_the_order(
    tmp_path: Path, bus: Bus, events_seen: list[Event]
) -> None:
    """Otherwise the caller of an order that IBKR has would get an error."""
    repository = OrderRepository(JournalWriter(JournalStore(tmp_path / "x.db", bus, utc), bus), bus, utc)
    changed: list[str] = []
    repository.subscribe(_raise)
    repository.subscribe(lambda record: changed.append(record.id))

    await repository.append(order(repository), OrderEvent.SENT, SENT)
    await repository.close()

    assert changed == ["a"]
    assert [event.event for event in events_seen if isinstance(event, ListenerFailed)] == ["bridge.listener_failed"]


def _raise(_: object) -> None:
    raise RuntimeError
