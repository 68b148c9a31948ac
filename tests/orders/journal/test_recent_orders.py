"""Orders that are no longer in memory: a call that repeats one is recognised as before, over restarts too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ibkr_bridge.errors import BridgeError, DuplicateOrder, IdempotencyMismatch, JournalUnavailable
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal import index as index_module
from ibkr_bridge.orders.journal import recent_orders
from ibkr_bridge.orders.journal.order_record import OrderRecord, StoredResponse
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.settled_rows import Names
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.journal.writer import JournalWriter
from tests.clocks import NOON
from tests.disk import Disk

SENT, TAKEN, TURNED_DOWN, TOLD, LEFT, LOST, MISSED, ASKED, CONFIRMED = (
    *(OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.TURNED_DOWN, OrderEvent.TOLD, OrderEvent.LEFT),
    *(OrderEvent.LOST, OrderEvent.MISSED, OrderEvent.ASKED, OrderEvent.CONFIRMED),
)
FILLERS = 12  # orders after the one that a test looks for


class Orders:
    """A repository on a file, which can be opened again, and a clock that the test moves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now = NOON
        self.wall_jump = timedelta()
        self._count = 0
        self.repository = self._open()

    def _open(self) -> OrderRepository:
        bus, began = Bus(), self.now

        def utc() -> datetime:
            return self.now + self.wall_jump

        writer = JournalWriter(JournalStore(self._path, bus, utc), bus)

        def elapsed() -> float:
            return (self.now - began).total_seconds()

        return OrderRepository(writer, bus, utc, elapsed)

    async def restart(self) -> None:
        """End the run, and load the journal in another one."""
        await self.repository.close()
        self.repository = self._open()
        await self.repository.load()

    def new_record(self, body: str, *, key: str | None = None, coid: str | None = None) -> OrderRecord:
        """A new call."""
        record = OrderRecord(self.repository.new_id(), OrderOperation.PLACE, "DU1", "me", "req", body, key)
        self._count += 1
        record.coids, record.has_own_identity = (coid or f"brdg-{self._count}",), bool(key or coid)
        return record

    async def add(self, record: OrderRecord, *events: OrderEvent, **facts: object) -> OrderRecord:
        """Add an order with these events; `facts` are those of the events after the first."""
        self.repository.index.add(record)
        sent: dict[str, object] = {
            "kind": "place",
            "owner": record.owner,
            "fingerprint": record.fingerprint,
            "coids": list(record.coids),
        }
        sent |= {"idempotency": record.idempotency_digest, "own_name": record.has_own_identity, "account": "DU1"}
        for what in events:
            answer = {"answer": StoredResponse(200, "application/json", record.id).facts, "own": True}
            more = answer if what in (TAKEN, TURNED_DOWN) else {}
            content = sent if what is SENT else {"order_ids": ["77"] if what is TAKEN else [], **more, **facts}
            await self.repository.append(record, what, content)
        return record

    async def fill(self) -> None:
        """Add later orders, so that the earlier ones become rows."""
        for number in range(FILLERS):
            self.now += timedelta(seconds=1)
            await self.add(self.new_record(f"filler {number}"), SENT, TURNED_DOWN, TOLD)

    async def find_duplicate(self, record: OrderRecord) -> OrderRecord | None:
        """See `OrderRepository.find_duplicate`."""
        return await self.repository.find_duplicate(record, unknown_open=False)


@pytest.fixture
async def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Orders]:
    """Orders of which only a few stay in memory, and few rows are read at a time."""
    monkeypatch.setattr(index_module, "MAX_FULL_RECORDS", 4)
    monkeypatch.setattr(index_module, "SLACK", 1)
    monkeypatch.setattr(recent_orders, "MAX_COMPLETE", 4)
    monkeypatch.setattr(recent_orders, "CHUNK", 3)
    orders = Orders(tmp_path / "main.orders.db")
    await orders.repository.load()
    yield orders
    await orders.repository.close()


def is_row(orders: Orders, record: OrderRecord) -> bool:
    """Whether an order is in memory as a row only."""
    return orders.repository.index.find(record.id) is None


RUNS = pytest.mark.parametrize("restarts", [0, 1, 2])


@RUNS
async def test_a_key_is_recognised_and_its_response_is_stored(orders: Orders, restarts: int) -> None:
    """Byte for byte, and another body is refused."""
    first = await orders.add(orders.new_record("a", key="k"), SENT, TURNED_DOWN, TOLD)
    await orders.fill()
    for _ in range(restarts):
        await orders.restart()
    await orders.repository.wait_for_rows()
    assert is_row(orders, first)

    again = await orders.find_duplicate(orders.new_record("a", key="k"))

    assert again is not None
    assert (again.id, again.first_response) == (first.id, StoredResponse(200, "application/json", first.id))
    with pytest.raises(IdempotencyMismatch):
        await orders.find_duplicate(orders.new_record("b", key="k"))


@RUNS
async def test_a_coid_of_a_placed_order_is_recognised(orders: Orders, restarts: int) -> None:
    """The same body is the same order; another body is refused."""
    first = await orders.add(orders.new_record("a", coid="mine"), SENT, TAKEN, TOLD)
    await orders.fill()
    for _ in range(restarts):
        await orders.restart()

    again = await orders.find_duplicate(orders.new_record("a", coid="mine"))

    assert again is not None
    assert again.id == first.id
    with pytest.raises(DuplicateOrder):
        await orders.find_duplicate(orders.new_record("b", coid="mine"))


@RUNS
async def test_the_same_bytes_of_a_caller_that_left_are_recognised(orders: Orders, restarts: int) -> None:
    """For ten minutes, and no longer."""
    first = await orders.add(orders.new_record("a"), SENT, TAKEN, LEFT)
    await orders.fill()
    for _ in range(restarts):
        await orders.restart()

    again = await orders.find_duplicate(orders.new_record("a"))
    assert again is not None
    assert again.id == first.id
    orders.now += timedelta(minutes=10)
    assert await orders.find_duplicate(orders.new_record("a")) is None


@RUNS
async def test_names_that_are_free_again_stay_free(orders: Orders, restarts: int) -> None:
    """IBKR refused the order, or never processed it."""
    await orders.add(orders.new_record("a", coid="mine"), SENT, TURNED_DOWN, TOLD)
    await orders.add(orders.new_record("b", key="k"), SENT, TURNED_DOWN, TOLD, again=True)
    await orders.add(orders.new_record("c"), SENT, TAKEN, TOLD)
    await orders.fill()
    for _ in range(restarts):
        await orders.restart()

    for call in (orders.new_record("b", coid="mine"), orders.new_record("a", key="k"), orders.new_record("c")):
        assert await orders.find_duplicate(call) is None


async def test_an_order_that_was_never_found_keeps_its_coid_from_others(orders: Orders) -> None:
    """It counts as not placed, but a list of IBKR may still show it, so it stays in memory."""
    lost = await orders.add(orders.new_record("a", coid="mine"), SENT, LOST, TOLD, MISSED)
    await orders.fill()
    assert not is_row(orders, lost)
    await orders.restart()
    await orders.repository.wait_for_rows()
    assert not is_row(orders, lost)

    with pytest.raises(DuplicateOrder):
        await orders.find_duplicate(orders.new_record("b", coid="mine"))


async def test_a_day_ends_an_identity_that_is_only_a_row(orders: Orders) -> None:
    """Rows of a day ago are removed, also if the journal was read in between."""
    await orders.add(orders.new_record("a", key="k"), SENT, TAKEN, TOLD)
    await orders.fill()
    await orders.restart()
    await orders.repository.wait_for_rows()
    before = orders.repository.index.rows.counts.total()

    orders.now += timedelta(days=1)

    assert await orders.find_duplicate(orders.new_record("b", key="k")) is None
    await orders.add(orders.new_record("z"), SENT, TAKEN, TOLD)
    assert orders.repository.index.rows.counts.total() < before


@RUNS
async def test_lists_and_counts_have_all_orders(orders: Orders, restarts: int) -> None:
    """The latest first, of one state or of all, up to the limit."""
    first = await orders.add(orders.new_record("a"), SENT, TAKEN, TOLD)
    await orders.fill()
    for _ in range(restarts):
        await orders.restart()

    newest = await orders.repository.newest(None, 100)
    placed = await orders.repository.newest(OrderState.PLACED, 100)

    assert [record.fingerprint for record in newest] == [f"filler {n}" for n in reversed(range(FILLERS))] + ["a"]
    assert [(record.id, record.order_ids) for record in placed] == [(first.id, ("77",))]
    assert len(await orders.repository.newest(None, 7)) == 7
    assert orders.repository.index.counts() == {"rejected": FILLERS, "placed": 1}


@RUNS
async def test_replies_and_numbers_lead_to_their_order(orders: Orders, restarts: int) -> None:
    """A reply that is sent again, and a change of an order, name an earlier one."""
    first = await orders.add(orders.new_record("a"), SENT, ASKED, CONFIRMED, TAKEN, TOLD, reply="r1")
    await orders.fill()
    for _ in range(restarts):
        await orders.restart()

    await orders.repository.restore_named(Names(replies=("r1",)))
    by_reply = orders.repository.index.find_by_reply("r1")
    assert by_reply is not None
    assert by_reply.id == first.id
    await orders.fill()
    await orders.repository.restore_named(Names(order_ids=("77",)))
    assert not is_row(orders, first)


@pytest.mark.parametrize("restarts", [0, 1])
async def test_only_a_placed_order_is_found_by_its_number_at_ibkr(orders: Orders, restarts: int) -> None:
    """A change of an order that was not placed has nothing to change."""
    placed = await orders.add(orders.new_record("a"), SENT, TAKEN, TOLD)
    refused = await orders.add(orders.new_record("b"), SENT, TURNED_DOWN, TOLD, order_ids=["88"])
    await orders.fill()
    for _ in range(restarts):
        await orders.restart()

    for number in ("77", "88"):
        await orders.repository.restore_named(Names(order_ids=(number,)))

    assert (is_row(orders, placed), is_row(orders, refused)) == (False, True)


async def test_a_reset_that_is_noticed_late_changes_the_one_record(orders: Orders) -> None:
    """A connection holds the record of an order that has become a row: the caller never read its response."""
    first = await orders.add(orders.new_record("a"), SENT, TAKEN, TOLD)
    await orders.fill()
    assert is_row(orders, first)

    orders.repository.append_eventually(first, LEFT, {})

    assert await orders.find_duplicate(orders.new_record("a")) is first
    assert orders.repository.index.counts() == {"rejected": FILLERS, "placed": 1}


async def test_a_new_order_is_refused_while_earlier_ones_cannot_be_read(orders: Orders, disk: Disk) -> None:
    """It is not known whether the order is new."""
    await orders.add(orders.new_record("a", key="k"), SENT, TAKEN, TOLD)
    await orders.fill()

    read: Callable[..., object] = orders.repository.journal._journal.read_orders

    def fail(_: object) -> object:
        raise JournalUnavailable("the disk is gone")

    orders.repository.journal._journal.read_orders = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(BridgeError) as error:
        await orders.find_duplicate(orders.new_record("a", key="k"))
    assert error.value.code == "journal_unavailable"
    orders.repository.journal._journal.read_orders = read  # type: ignore[method-assign,assignment]
    assert await orders.find_duplicate(orders.new_record("a", key="k")) is not None


def test_the_day_begins_before_the_time_that_is_asked_for() -> None:
    """An order waits for its turn before its first entry is written."""
    since = datetime.fromisoformat("2026-01-02T00:00:00+00:00")
    assert recent_orders.CLOCK_MARGIN_S >= 600
    assert recent_orders.RecentOrders(since, lambda _: 0.0)._since.startswith("2026-01-02T00:00:00")


@pytest.mark.parametrize("days", [-3, 3])
async def test_a_jump_of_the_wall_clock_changes_no_age_of_a_row(orders: Orders, days: int) -> None:
    """Rows are made and read back within one run; its times come from the monotonic clock."""
    orders.wall_jump = timedelta(days=days)
    anonymous = await orders.add(orders.new_record("a"), SENT, TAKEN, LEFT)
    keyed = await orders.add(orders.new_record("b", key="k"), SENT, TAKEN, TOLD)
    orders.wall_jump = timedelta()
    await orders.fill()
    assert is_row(orders, anonymous)
    orders.repository.index._alive.clear()

    for call, first in ((orders.new_record("a"), anonymous), (orders.new_record("b", key="k"), keyed)):
        again = await orders.find_duplicate(call)
        assert again is not None
        assert (again.id, again is first) == (first.id, False)
    orders.now += timedelta(minutes=10)
    assert await orders.find_duplicate(orders.new_record("a")) is None
    orders.now += timedelta(days=1)
    assert await orders.find_duplicate(orders.new_record("c", key="k")) is None
