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

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.calls.messages import Answer, Call, Late
from ibkr_bridge.errors import JournalDown, Paused
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import Effect, Order
from ibkr_bridge.orders.exchange import Dealing, Step
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.journal.repository import Book
from ibkr_bridge.orders.journal.store import Journal, opened_to_read, read_rows
from ibkr_bridge.orders.journal.transitions import State, What, prove
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.request import Departure, Wish
from ibkr_bridge.orders.response import read_answer
from tests.disk import Disk
from tests.harness import within
from tests.orders.journal.test_store import utc

PLACE = Call("POST", "/v1/api/iserver/account/DU1/orders", body=b"{}", changes=True)
ASKED = Asked(Effect.TRADE, Order.PLACE)
SENT = {"kind": "place", "fingerprint": "f", "coids": ["mine"]}
FULL = sqlite3.OperationalError("database or disk is full")


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    """The disk, in the test's hand."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        yield disk
        disk.release()


def opened(path: Path) -> Book:
    """A book on a file."""
    bus = Bus()
    return Book(JournalWriter(Journal(path, bus, utc), bus), bus, utc)


@pytest.fixture
async def book(tmp_path: Path, disk: Disk) -> AsyncIterator[Book]:
    """A book on a file that nobody else has."""
    book = opened(tmp_path / "main.orders.db")
    yield book
    await book.close()


def order(book: Book, name: str = "a") -> Record:
    """A new order of which nothing is written yet."""
    record = Record(name, Order.PLACE, fingerprint="f", names=("mine",), own_name=True)
    book.register.add(record)
    return record


async def story(book: Book, name: str = "a") -> list[str]:
    """What the disk tells of an order; it is whole, and says in the end what the memory says."""
    rows = await book.journal.rows()
    mine = [entry for _, entry, _ in rows if entry.order == name]
    assert list(prove(rows)) == []
    record = book.register.find(name)
    assert record is None or not mine or record.state is mine[-1].state
    return [entry.what.value for entry in mine]


async def test_memory_changes_when_the_disk_has_it(book: Book, disk: Disk) -> None:
    """What has not stood yet is not told as if it did; other orders' facts are."""
    record, other = order(book), order(book, "b")
    await book.write(other, What.SENT, SENT)
    disk.hold()
    writing = asyncio.create_task(book.write(record, What.SENT, SENT))
    await disk.until_at_work()
    book.note(other, What.TAKEN, {})
    assert (record.state, other.state, book.is_writing(record)) == (None, State.PLACED, True)

    disk.release()
    await writing

    assert (record.state, book.is_writing(record)) == (State.SENDING, False)
    assert (await story(book), await story(book, "b")) == (["sent"], ["sent", "taken"])


async def test_what_happens_while_an_entry_is_written_follows_it(book: Book, disk: Disk) -> None:
    """Its caller has the question, and a cancel ends it, in the moment in which a yes is written."""
    record = order(book)
    await book.write(record, What.SENT, SENT)
    book.note(record, What.ASKED, {"replies": ["r"]})
    disk.hold()
    writing = asyncio.create_task(book.write(record, What.CONFIRMED, {"reply": "r"}))
    await disk.until_at_work()
    for what in (What.TOLD, What.DROPPED, What.DECLINED):  # the last of them cannot follow, and is dropped
        book.note(record, what, {})

    disk.release()
    await writing

    assert await story(book) == ["sent", "asked", "confirmed", "told", "dropped"]


async def test_a_disk_that_refuses_leaves_the_memory_as_it_was(book: Book, disk: Disk) -> None:
    """What happened meanwhile is kept."""
    record = order(book)
    await book.write(record, What.SENT, SENT)
    book.note(record, What.ASKED, {"replies": ["r"]})
    disk.hold()
    disk.failure = FULL
    writing = asyncio.create_task(book.write(record, What.CONFIRMED, {"reply": "r"}))
    await disk.until_at_work()
    book.note(record, What.TOLD, {})
    disk.release()

    with pytest.raises(JournalDown):
        await writing
    disk.failure = None

    assert (record.state, record.replied) == (State.QUESTION, {})
    await book.journal.close()
    assert await story(book) == ["sent", "asked", "told"]


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_cancelled_waits_for_the_disk(book: Book, disk: Disk, fails: bool) -> None:
    """Only then is known what stands there."""
    record = order(book)
    disk.hold()
    disk.failure = FULL if fails else None
    writing = asyncio.create_task(book.write(record, What.SENT, SENT))
    await disk.until_at_work()
    writing.cancel()
    await asyncio.sleep(0)
    assert not writing.done()
    disk.release()

    with pytest.raises(asyncio.CancelledError):
        await writing
    disk.failure = None

    assert record.state is (None if fails else State.SENDING)


async def test_a_kill_while_an_entry_is_written_leaves_its_order_unknown(
    book: Book, disk: Disk, tmp_path: Path
) -> None:
    """It stands on disk, and nobody knows whether it left."""
    record = order(book)
    await book.write(record, What.SENT, SENT)
    after = tmp_path / "after"
    after.mkdir()
    for file in tmp_path.glob("main.orders.db*"):
        shutil.copy(file, after / file.name)
    again = opened(after / "main.orders.db")

    await asyncio.gather(again.load(), again.load())  # two orders at once, after a start without a disk

    found = again.register.find("a")
    assert found is not None
    assert (found.state, found.over_restart) == (State.UNKNOWN, True)
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
        self, call: Call, asked: Asked, leaving: Departure, is_there: Callable[[], bool], late: Late
    ) -> Answer:
        await self.before.wait()
        await leaving.write_entry()
        if self.stops is not None:
            raise self.stops
        leaving.has_left = True
        self.sent += 1
        self.left.set()
        await self.behind.wait()
        return Answer(200, {}, b'[{"order_id":"1"}]')


async def nothing() -> None:
    """No rule."""


def exchange(book: Book, record: Record, road: Road, what: What = What.SENT) -> asyncio.Task[Any]:
    """An exchange under way."""
    wish = Wish(Order.PLACE, PLACE, ASKED, road, nothing, lambda: 1.0)
    facts = SENT if what is What.SENT else {"reply": "r"}
    step = Step(PLACE, ASKED, what, facts, read_answer)
    return asyncio.create_task(Dealing(book, lambda _: None).exchange(record, wish, step))


async def test_an_exchange_that_is_cancelled_before_its_entry_has_not_begun(book: Book) -> None:
    """Nothing is written."""
    record, road = order(book), Road()
    task = exchange(book, record, road)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert (record.state, road.sent, await story(book)) == (None, 0, [])


@pytest.mark.parametrize(("what", "ends"), [(What.SENT, "refused"), (What.CONFIRMED, "held_back")])
async def test_an_exchange_that_is_cancelled_while_its_entry_is_written(
    book: Book, disk: Disk, what: What, ends: str
) -> None:
    """The entry stands, and so does another one that says that nothing left."""
    record, road = order(book), Road()
    if what is What.CONFIRMED:
        await book.write(record, What.SENT, SENT)
        book.note(record, What.ASKED, {"replies": ["r"]})
    road.before.set()
    disk.hold()
    task = exchange(book, record, road, what)
    await disk.until_at_work()
    task.cancel()
    await asyncio.sleep(0)
    disk.release()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert road.sent == 0
    assert (await story(book))[-2:] == [what.value, ends]
    assert record.replied == {}


async def test_an_exchange_that_is_cancelled_when_it_has_left_is_unknown(book: Book) -> None:
    """As ever."""
    record, road = order(book), Road()
    road.before.set()
    task = exchange(book, record, road)
    await within(road.left.wait())
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert await story(book) == ["sent", "lost"]


async def test_the_end_waits_for_what_is_said_behind_an_entry(book: Book, disk: Disk, tmp_path: Path) -> None:
    """The call was ended while the disk was at work, and the bridge ends in the same moment."""
    record, road = order(book), Road()
    road.before.set()
    disk.hold()
    task = exchange(book, record, road)
    await disk.until_at_work()
    task.cancel()
    ending = asyncio.create_task(book.close())
    await asyncio.sleep(0)
    assert not ending.done()
    disk.release()
    await ending

    with closing(opened_to_read(tmp_path / "main.orders.db")) as file:
        assert [entry.what for _, entry, _ in read_rows(file)] == [What.SENT, What.REFUSED]
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("stops", "code"), [(Paused("it is paused"), "paused"), (CallerGone(), "caller_gone"), (KeyError(), "caller_gone")]
)
async def test_an_order_that_is_stopped_behind_its_entry_frees_its_names(
    book: Book, stops: Exception, code: str
) -> None:
    """It ends as refused, in words, and the same call is a new order."""
    record, road = order(book), Road()
    road.before.set()
    road.stops = stops

    with pytest.raises(type(stops)):
        await exchange(book, record, road)

    _, entry, _ = (await book.journal.rows())[-1]
    assert (road.sent, await story(book), entry.facts["code"]) == (0, ["sent", "refused"], code)
    assert book.register.same(Record("b", Order.PLACE, fingerprint="f", names=("mine",)), unknown_open=False) is None


async def test_a_question_that_ends_while_a_yes_is_written_stops_the_yes(book: Book, disk: Disk) -> None:
    """A cancel went out in between: IBKR has forgotten what it asked."""
    record, road = order(book), Road()
    await book.write(record, What.SENT, SENT)
    book.note(record, What.ASKED, {"replies": ["r"]})
    road.before.set()
    disk.hold()
    task = exchange(book, record, road, What.CONFIRMED)
    await disk.until_at_work()
    book.end_question(record, What.DROPPED, {"error": "a cancel"})
    disk.release()

    with pytest.raises(Exception, match="is over"):
        await task

    assert (road.sent, await story(book)) == (0, ["sent", "asked", "confirmed", "dropped"])
