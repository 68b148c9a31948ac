"""The journal's own thread: the order in which entries come, the disk that fails in between, and the end."""

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

FULL = sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "main.orders.db"


@pytest.fixture
def bus() -> Bus:
    """A bus."""
    return Bus()


@pytest.fixture
async def writer(path: Path, bus: Bus) -> AsyncIterator[JournalWriter]:
    """A journal with its thread."""
    writer = JournalWriter(JournalStore(path, bus, utc), bus)
    yield writer
    await writer.close()


def sent(writer: JournalWriter, order: str) -> JournalEntry:
    """An order that leaves."""
    return writer.new_entry(order, OrderEvent.SENT, OrderState.SENDING, {})


def taken(writer: JournalWriter, order: str) -> JournalEntry:
    """An order that IBKR has."""
    return writer.new_entry(order, OrderEvent.TAKEN, OrderState.PLACED, {})


def kept(path: Path) -> list[str]:
    """The orders of a file's entries, one after the other; its seals hold."""
    with closing(open_read_only(path)) as file:
        rows = list(read_rows(file))
    assert [flaw for flaw in verify(rows) if "seal" in flaw.reason or "missing" in flaw.reason] == []
    return [entry.order_id for _, entry, _ in rows]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=6), min_size=1, max_size=5))
def test_entries_stand_in_the_order_in_which_they_were_handed_in(plans: list[list[bool]]) -> None:
    """Whoever hands them in, and whether or not anybody waits for them."""
    asyncio.run(_handed_in_order(plans))


async def _handed_in_order(plans: list[list[bool]]) -> None:
    handed: list[str] = []
    with TemporaryDirectory() as place:
        path = Path(place) / "main.orders.db"
        writer = JournalWriter(JournalStore(path, Bus(), utc), Bus())
        await asyncio.gather(*(_hand_in(writer, f"t{number}", plan, handed) for number, plan in enumerate(plans)))
        await writer.close()

        assert (kept(path) if path.exists() else []) == handed


async def _hand_in(writer: JournalWriter, name: str, plan: list[bool], handed: list[str]) -> None:
    for number, waits in enumerate(plan):
        handed.append(f"{name}-{number}")
        if waits:
            await writer.append(sent(writer, handed[-1]))
        else:
            writer.append_eventually(sent(writer, handed[-1]))
            await asyncio.sleep(0)


async def test_what_waits_together_is_committed_together(writer: JournalWriter, disk: Disk, path: Path) -> None:
    """One transaction for all that came while the disk was at work; never on the loop's thread."""
    disk.hold()
    first = writer.append(sent(writer, "a"))
    await disk.wait_until_holding()
    others = [writer.append(sent(writer, name)) for name in "bcd"]
    writer.append_eventually(taken(writer, "e"))
    assert not any(each.done() for each in (first, *others))

    disk.release()
    await asyncio.gather(first, *others)

    assert [entry.order_id for _, entry, _ in await writer.read_all()] == list("abcde")
    assert disk.commits == 2
    assert threading.get_ident() not in disk.threads


async def test_a_disk_that_fails_in_the_middle(writer: JournalWriter, disk: Disk, bus: Bus, path: Path) -> None:
    """Who waits is told, each with an error of its own; what has happened is kept, and stands before anything new."""
    told: list[tuple[Event, int]] = []
    bus.subscribe(lambda event: told.append((event, threading.get_ident())))
    await writer.append(sent(writer, "a"))
    disk.hold()
    disk.failure = FULL
    first = writer.append(sent(writer, "b"))
    await disk.wait_until_holding()
    writer.append_eventually(taken(writer, "a"))
    writer.append_eventually(writer.new_entry("x", OrderEvent.REFUSED, OrderState.REFUSED, {}))
    others = [writer.append(sent(writer, name)) for name in "cd"]
    disk.release()

    failures = await asyncio.gather(first, *others, return_exceptions=True)
    assert writer.problem == "database or disk is full"
    disk.failure = None
    await writer.append(sent(writer, "e"))

    assert [type(failure) for failure in failures] == [JournalUnavailable] * 3
    assert len({id(failure) for failure in failures}) == 3
    assert kept(path) == ["a", "a", "e"]
    assert writer.problem is None
    assert {(type(event), thread) for event, thread in told} == {(StateUnavailable, threading.get_ident())}


async def test_a_stopped_order_is_kept_while_the_disk_fails(writer: JournalWriter, disk: Disk, path: Path) -> None:
    """Its `sent` stands on disk: what became of it must, too."""
    await writer.append(sent(writer, "a"))
    disk.failure = FULL
    writer.append_eventually(writer.new_entry("a", OrderEvent.REFUSED, OrderState.REFUSED, {"stopped": True}))
    with pytest.raises(JournalUnavailable):
        await writer.append(sent(writer, "b"))
    disk.failure = None

    await writer.close()

    assert kept(path) == ["a", "a"]


async def test_the_end_waits_for_all_that_was_handed_in(writer: JournalWriter, disk: Disk, path: Path) -> None:
    """Also for what somebody says who was told only then; a later use starts anew."""
    disk.hold()
    first = writer.append(sent(writer, "a"))
    await disk.wait_until_holding()
    first.add_done_callback(lambda _: writer.append_eventually(taken(writer, "a")))
    ending = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    assert not ending.done()

    disk.release()
    await ending

    assert kept(path) == ["a", "a"]
    writer.append_eventually(sent(writer, "b"))
    await writer.close()
    assert kept(path) == ["a", "a", "b"]


async def test_reads_show_what_was_handed_in_before(writer: JournalWriter) -> None:
    """Even where nobody waited for it."""
    writer.append_eventually(sent(writer, "a"))

    assert [entry.order_id for _, entry, _ in await writer.read_all("a")] == ["a"]


async def test_work_is_waited_out_however_often_one_is_cancelled() -> None:
    """And whoever waited hears that it was."""
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_until_done(work))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()

    work.set_result(None)

    assert await waiting is True


async def test_an_error_that_nobody_expects_counts_as_not_written(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the order would leave without its entry."""
    store = writer._journal
    monkeypatch.setattr(store, "append", _no_memory)
    entries = [writer.append(sent(writer, order)) for order in ("a", "b")]
    writer.append_eventually(taken(writer, "c"))
    await asyncio.wait(entries)
    monkeypatch.undo()

    assert [type(entry.exception()) for entry in entries] == [JournalUnavailable, JournalUnavailable]
    assert [entry.order_id for _, entry, _ in await writer.read_all()] == []
    await writer.append(sent(writer, "d"))
    assert [entry.order_id for _, entry, _ in await writer.read_all()] == ["c", "d"]


def _no_memory(*_: object) -> None:
    raise MemoryError
