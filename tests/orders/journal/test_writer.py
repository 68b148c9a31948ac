"""The journal's own thread: the order of the entries, a disk that fails, and the close."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.orders.journal.store import JournalStore, open_read_only, read_rows
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState, verify
from ibkr_bridge.orders.journal.writer import JournalWriter, wait_until_done
from tests.disk import Disk
from tests.orders.journal.test_store import utc

DISK_FULL = sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the journal."""
    return tmp_path / "main.orders.db"


@pytest.fixture
def bus() -> Bus:
    """A bus."""
    return Bus()


@pytest.fixture
async def writer(path: Path, bus: Bus) -> AsyncIterator[JournalWriter]:
    """A journal with its thread; it is closed at the end."""
    writer = JournalWriter(JournalStore(path, bus, utc), bus)
    yield writer
    await writer.close()


def sent_entry(writer: JournalWriter, order: str) -> JournalEntry:
    """An entry for an order that is sent."""
    return writer.new_entry(order, OrderEvent.SENT, OrderState.SENDING, {})


def accepted_entry(writer: JournalWriter, order: str) -> JournalEntry:
    """An entry for an order that IBKR accepted."""
    return writer.new_entry(order, OrderEvent.TAKEN, OrderState.PLACED, {})


def order_ids_in(path: Path) -> list[str]:
    """The order id of each entry in a file, whose seals are checked."""
    with closing(open_read_only(path)) as file:
        rows = list(read_rows(file))
    assert [flaw for flaw in verify(rows) if "seal" in flaw.reason or "missing" in flaw.reason] == []
    return [entry.order_id for _, entry, _ in rows]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=6), min_size=1, max_size=5))
def test_entries_are_written_in_the_order_in_which_they_were_appended(plans: list[list[bool]]) -> None:
    """From any task, with or without a wait for the disk."""
    asyncio.run(_append_and_compare(plans))


async def _append_and_compare(plans: list[list[bool]]) -> None:
    appended: list[str] = []
    with TemporaryDirectory() as directory:
        path = Path(directory) / "main.orders.db"
        writer = JournalWriter(JournalStore(path, Bus(), utc), Bus())
        await asyncio.gather(*(_append_plan(writer, f"t{number}", plan, appended) for number, plan in enumerate(plans)))
        await writer.close()

        assert (order_ids_in(path) if path.exists() else []) == appended


async def _append_plan(writer: JournalWriter, name: str, plan: list[bool], appended: list[str]) -> None:
    for number, waits in enumerate(plan):
        appended.append(f"{name}-{number}")
        if waits:
            await writer.append(sent_entry(writer, appended[-1]))
        else:
            writer.append_eventually(sent_entry(writer, appended[-1]))
            await asyncio.sleep(0)


async def test_entries_that_wait_together_are_committed_together(writer: JournalWriter, disk: Disk, path: Path) -> None:
    """All entries that came during a write are one transaction, which never runs on the loop's thread."""
    disk.hold()
    first = writer.append(sent_entry(writer, "a"))
    await disk.wait_until_holding()
    others = [writer.append(sent_entry(writer, name)) for name in "bcd"]
    writer.append_eventually(accepted_entry(writer, "e"))
    assert not any(append.done() for append in (first, *others))

    disk.release()
    await asyncio.gather(first, *others)

    assert [entry.order_id for _, entry, _ in await writer.read_all()] == list("abcde")
    assert disk.commits == 2
    assert threading.get_ident() not in disk.threads


async def test_a_failed_write_fails_every_waiting_append(
    writer: JournalWriter, disk: Disk, bus: Bus, path: Path
) -> None:
    """Each gets an error of its own. Events that happened are written before any new entry."""
    events: list[tuple[Event, int]] = []
    bus.subscribe(lambda event: events.append((event, threading.get_ident())))
    await writer.append(sent_entry(writer, "a"))
    disk.hold()
    disk.failure = DISK_FULL
    first = writer.append(sent_entry(writer, "b"))
    await disk.wait_until_holding()
    writer.append_eventually(accepted_entry(writer, "a"))
    writer.append_eventually(writer.new_entry("x", OrderEvent.REFUSED, OrderState.REFUSED, {}))
    others = [writer.append(sent_entry(writer, name)) for name in "cd"]
    disk.release()

    failures = await asyncio.gather(first, *others, return_exceptions=True)
    assert writer.problem == "database or disk is full"
    disk.failure = None
    await writer.append(sent_entry(writer, "e"))

    assert [type(failure) for failure in failures] == [JournalUnavailable] * 3
    assert len({id(failure) for failure in failures}) == 3
    assert order_ids_in(path) == ["a", "a", "e"]
    assert writer.problem is None
    assert {(type(event), thread) for event, thread in events} == {(StateUnavailable, threading.get_ident())}


async def test_the_refusal_of_a_journaled_order_is_kept_while_the_disk_fails(
    writer: JournalWriter, disk: Disk, path: Path
) -> None:
    """Its `sent` is on disk, so its end must be written too."""
    await writer.append(sent_entry(writer, "a"))
    disk.failure = DISK_FULL
    writer.append_eventually(writer.new_entry("a", OrderEvent.REFUSED, OrderState.REFUSED, {"stopped": True}))
    with pytest.raises(JournalUnavailable):
        await writer.append(sent_entry(writer, "b"))
    disk.failure = None

    await writer.close()

    assert order_ids_in(path) == ["a", "a"]


async def test_an_order_whose_entry_was_stored_in_spite_of_an_error_is_refused_in_the_journal(
    writer: JournalWriter, disk: Disk
) -> None:
    """Its caller was told that nothing was sent, so a later run must not search for it. Other events are kept."""
    await writer.append(sent_entry(writer, "a"))
    disk.late_failures = 1
    both_wait = threading.Event()
    writer._lane.submit(both_wait.wait)  # so that both are committed together
    writer.append_eventually(accepted_entry(writer, "a"))
    second = writer.append(sent_entry(writer, "b"))
    both_wait.set()
    with pytest.raises(JournalUnavailable):
        await second

    await writer.append(sent_entry(writer, "c"))

    entries = [(entry.order_id, entry.what.value) for _, entry, _ in await writer.read_all()]
    assert entries == [("a", "sent"), ("a", "taken"), ("b", "sent"), ("b", "refused"), ("c", "sent")]


async def test_close_waits_for_all_appended_entries(writer: JournalWriter, disk: Disk, path: Path) -> None:
    """Also for those that a callback of the last entry appends. A later append opens the journal again."""
    disk.hold()
    first = writer.append(sent_entry(writer, "a"))
    await disk.wait_until_holding()
    first.add_done_callback(lambda _: writer.append_eventually(accepted_entry(writer, "a")))
    ending = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    assert not ending.done()

    disk.release()
    await ending

    assert order_ids_in(path) == ["a", "a"]
    writer.append_eventually(sent_entry(writer, "b"))
    await writer.close()
    assert order_ids_in(path) == ["a", "a", "b"]


async def test_reads_contain_entries_appended_before(writer: JournalWriter) -> None:
    """Even if nothing waited for them."""
    writer.append_eventually(sent_entry(writer, "a"))

    assert [entry.order_id for _, entry, _ in await writer.read_all("a")] == ["a"]


async def test_work_is_completed_however_often_the_waiter_is_cancelled() -> None:
    """The result tells whether the waiter was cancelled."""
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_until_done(work))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()

    work.set_result(None)

    assert await waiting is True


async def test_an_unexpected_error_counts_as_not_written(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the order would be sent without its entry."""
    store = writer._journal
    monkeypatch.setattr(store, "append", _raise_memory_error)
    entries = [writer.append(sent_entry(writer, order)) for order in ("a", "b")]
    writer.append_eventually(accepted_entry(writer, "c"))
    await asyncio.wait(entries)
    monkeypatch.undo()

    assert [type(entry.exception()) for entry in entries] == [JournalUnavailable, JournalUnavailable]
    assert [entry.order_id for _, entry, _ in await writer.read_all()] == []
    await writer.append(sent_entry(writer, "d"))
    assert [entry.order_id for _, entry, _ in await writer.read_all()] == ["c", "d"]


def _raise_memory_error(*_: object) -> None:
    raise MemoryError


def test_a_problem_before_the_first_use_of_the_thread_is_published_at_once() -> None:
    """There is no loop yet on which it could be published later."""
    bus, events = Bus(), list[Event]()
    bus.subscribe(events.append)
    journal = JournalStore(None, bus, utc)
    writer = JournalWriter(journal, bus)

    with pytest.raises(JournalUnavailable):
        journal.read_all()

    assert [type(event) for event in events] == [StateUnavailable]
    assert writer.problem is not None
