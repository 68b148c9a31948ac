"""The book: memory and disk say the same, whatever happens while the disk is at work."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
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
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore, open_read_only, read_rows
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState, verify
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.response import interpret_placement
from tests.disk import Disk
from tests.harness import within
from tests.orders.journal.test_store import utc

PLACE = Call("POST", "/v1/api/iserver/account/DU1/orders", body=b"{}", is_change=True)
ASKED = RequestFacts(Effect.TRADE, OrderOperation.PLACE)
SENT = {"kind": "place", "fingerprint": "f", "coids": ["mine"]}
FULL = sqlite3.OperationalError("database or disk is full")


def opened(path: Path) -> OrderRepository:
    """A book on a file."""
    bus = Bus()
    return OrderRepository(JournalWriter(JournalStore(path, bus, utc), bus), bus, utc)


@pytest.fixture
async def repository(tmp_path: Path, disk: Disk) -> AsyncIterator[OrderRepository]:
    """A book on a file that nobody else has."""
    repository = opened(tmp_path / "main.orders.db")
    yield repository
    await repository.close()


def order(repository: OrderRepository, name: str = "a") -> OrderRecord:
    """A new order of which nothing is written yet."""
    record = OrderRecord(name, OrderOperation.PLACE, fingerprint="f", coids=("mine",), has_own_identity=True)
    repository.index.add(record)
    return record


async def story(repository: OrderRepository, name: str = "a") -> list[str]:
    """What the disk tells of an order; it is whole, and says in the end what the memory says."""
    rows = await repository.journal.read_all()
    mine = [entry for _, entry, _ in rows if entry.order_id == name]
    assert list(verify(rows)) == []
    record = repository.index.find(name)
    assert record is None or not mine or record.state is mine[-1].state
    return [entry.what.value for entry in mine]


async def test_memory_changes_when_the_disk_has_it(repository: OrderRepository, disk: Disk) -> None:
    """What has not stood yet is not told as if it did; other orders' facts are."""
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
    assert (await story(repository), await story(repository, "b")) == (["sent"], ["sent", "taken"])


async def test_what_happens_while_an_entry_is_written_follows_it(repository: OrderRepository, disk: Disk) -> None:
    """Its caller has the question, and a cancel ends it, in the moment in which a yes is written."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    disk.hold()
    writing = asyncio.create_task(repository.append(record, OrderEvent.CONFIRMED, {"reply": "r"}))
    await disk.wait_until_holding()
    for what in (
        OrderEvent.TOLD,
        OrderEvent.DROPPED,
        OrderEvent.DECLINED,
    ):  # the last of them cannot follow, and is dropped
        repository.append_eventually(record, what, {})

    disk.release()
    await writing

    assert await story(repository) == ["sent", "asked", "confirmed", "told", "dropped"]


async def test_a_disk_that_refuses_leaves_the_memory_as_it_was(repository: OrderRepository, disk: Disk) -> None:
    """What happened meanwhile is kept."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    disk.hold()
    disk.failure = FULL
    writing = asyncio.create_task(repository.append(record, OrderEvent.CONFIRMED, {"reply": "r"}))
    await disk.wait_until_holding()
    repository.append_eventually(record, OrderEvent.TOLD, {})
    disk.release()

    with pytest.raises(JournalUnavailable):
        await writing
    disk.failure = None

    assert (record.state, record.sent_replies) == (OrderState.QUESTION, {})
    await repository.journal.close()
    assert await story(repository) == ["sent", "asked", "told"]


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_cancelled_waits_for_the_disk(repository: OrderRepository, disk: Disk, fails: bool) -> None:
    """Only then is known what stands there."""
    record = order(repository)
    disk.hold()
    disk.failure = FULL if fails else None
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


async def test_a_kill_while_an_entry_is_written_leaves_its_order_unknown(
    repository: OrderRepository, disk: Disk, tmp_path: Path
) -> None:
    """It stands on disk, and nobody knows whether it left."""
    record = order(repository)
    await repository.append(record, OrderEvent.SENT, SENT)
    after = tmp_path / "after"
    after.mkdir()
    for file in tmp_path.glob("main.orders.db*"):
        shutil.copy(file, after / file.name)
    again = opened(after / "main.orders.db")

    await asyncio.gather(again.load(), again.load())  # two orders at once, after a start without a disk

    found = again.index.find("a")
    assert found is not None
    assert (found.state, found.interrupted_by_restart) == (OrderState.UNKNOWN, True)
    assert await story(again) == ["sent", "lost", "left"]
    await again.journal.close()


# -- an exchange, stopped wherever it waits


class Road:
    """The line, as a dealing sees it: stops where a test says so."""

    def __init__(self) -> None:
        self.before, self.behind, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.stops: BaseException | None = None
        self.sent = 0

    async def __call__(
        self,
        call: Call,
        facts: RequestFacts,
        before_first_byte: FirstByteHook,
        is_connected: Callable[[], bool],
        on_late_response: OnLateResponse,
    ) -> Response:
        await self.before.wait()
        await before_first_byte.write_entry()
        if self.stops is not None:
            raise self.stops
        before_first_byte.has_left = True
        self.sent += 1
        self.left.set()
        await self.behind.wait()
        return Response(200, {}, b'[{"order_id":"1"}]')


def exchange(
    repository: OrderRepository, record: OrderRecord, road: Road, what: OrderEvent = OrderEvent.SENT
) -> asyncio.Task[Any]:
    """An exchange under way."""
    order_request = OrderRequest(
        CallContext(PLACE, endpoint_of(PLACE.method, PLACE.target), ASKED), OrderOperation.PLACE, send=road
    )
    facts = SENT if what is OrderEvent.SENT else {"reply": "r"}
    step = ExchangeStep(PLACE, ASKED, what, facts, interpret_placement)
    return asyncio.create_task(OrderExchange(repository, lambda _: None).run(record, order_request, step))


async def test_an_exchange_that_is_cancelled_before_its_entry_has_not_begun(repository: OrderRepository) -> None:
    """Nothing is written."""
    record, road = order(repository), Road()
    task = exchange(repository, record, road)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert (record.state, road.sent, await story(repository)) == (None, 0, [])


@pytest.mark.parametrize(("what", "ends"), [(OrderEvent.SENT, "refused"), (OrderEvent.CONFIRMED, "held_back")])
async def test_an_exchange_that_is_cancelled_while_its_entry_is_written(
    repository: OrderRepository, disk: Disk, what: OrderEvent, ends: str
) -> None:
    """The entry stands, and so does another one that says that nothing left."""
    record, road = order(repository), Road()
    if what is OrderEvent.CONFIRMED:
        await repository.append(record, OrderEvent.SENT, SENT)
        repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    road.before.set()
    disk.hold()
    task = exchange(repository, record, road, what)
    await disk.wait_until_holding()
    task.cancel()
    await asyncio.sleep(0)
    disk.release()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert road.sent == 0
    assert (await story(repository))[-2:] == [what.value, ends]
    assert record.sent_replies == {}


async def test_an_exchange_that_is_cancelled_when_it_has_left_is_unknown(repository: OrderRepository) -> None:
    """As ever."""
    record, road = order(repository), Road()
    road.before.set()
    task = exchange(repository, record, road)
    await within(road.left.wait())
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert await story(repository) == ["sent", "lost"]


async def test_the_end_waits_for_what_is_said_behind_an_entry(
    repository: OrderRepository, disk: Disk, tmp_path: Path
) -> None:
    """The call was ended while the disk was at work, and the bridge ends in the same moment."""
    record, road = order(repository), Road()
    road.before.set()
    disk.hold()
    task = exchange(repository, record, road)
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


async def test_closing_waits_for_entries_that_follow_one_being_written(
    repository: OrderRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry may be on disk before the event loop knows it; those that follow must still be in the file."""
    record, is_noticed, journal = order(repository), asyncio.Event(), repository.journal
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
    await within(asyncio.gather(writing, ending))

    assert was_writing == [False]
    with closing(open_read_only(tmp_path / "main.orders.db")) as file:
        assert [entry.what for _, entry, _ in read_rows(file)] == [OrderEvent.SENT, OrderEvent.TAKEN]


@pytest.mark.parametrize(
    ("stops", "code"),
    [(TradingPaused("it is paused"), "trading_paused"), (CallerGone(), "caller_gone"), (KeyError(), "caller_gone")],
)
async def test_an_order_that_is_stopped_behind_its_entry_frees_its_names(
    repository: OrderRepository, stops: Exception, code: str
) -> None:
    """It ends as refused, in words, and the same call is a new order."""
    record, road = order(repository), Road()
    road.before.set()
    road.stops = stops

    with pytest.raises(type(stops)):
        await exchange(repository, record, road)

    _, entry, _ = (await repository.journal.read_all())[-1]
    assert (road.sent, await story(repository), entry.facts["code"]) == (0, ["sent", "refused"], code)
    assert (
        repository.index.find_duplicate(
            OrderRecord("b", OrderOperation.PLACE, fingerprint="f", coids=("mine",)), unknown_open=False
        )
        is None
    )


async def test_a_question_that_ends_while_a_yes_is_written_stops_the_yes(
    repository: OrderRepository, disk: Disk
) -> None:
    """A cancel went out in between: IBKR has forgotten what it asked."""
    record, road = order(repository), Road()
    await repository.append(record, OrderEvent.SENT, SENT)
    repository.append_eventually(record, OrderEvent.ASKED, {"replies": ["r"]})
    road.before.set()
    disk.hold()
    task = exchange(repository, record, road, OrderEvent.CONFIRMED)
    await disk.wait_until_holding()
    repository.end_question(record, OrderEvent.DROPPED, {"error": "a cancel"})
    disk.release()

    with pytest.raises(Exception, match="is over"):
        await task

    assert (road.sent, await story(repository)) == (0, ["sent", "asked", "confirmed", "dropped"])


async def test_a_subscriber_that_raises_stops_neither_the_others_nor_the_order(
    tmp_path: Path, bus: Bus, events_seen: list[Event]
) -> None:
    """Else the caller of an order that IBKR has would get an error."""
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
