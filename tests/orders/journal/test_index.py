"""Which order a new call belongs to: the one with its identity, an identical one, or a new one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ibkr_bridge.errors import BridgeError, DuplicateOrder, IdempotencyMismatch, OrderInProgress
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal import index as index_module
from ibkr_bridge.orders.journal.index import NameIndex, OrderIndex
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState
from tests.clocks import NOON

SENT, TAKEN, TOLD, LEFT = OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.TOLD, OrderEvent.LEFT
TEN_MINUTES_S, DAY_S = 600.0, 86_400.0  # as the documents have them
RESPONSE_FACTS = {"answer": {"status": 200, "content_type": "application/json", "body": "[]"}}


class IndexSetup:
    """An order index with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOON
        self.index = OrderIndex(lambda: self.now)
        self._next = 0

    def new_record(
        self, body: str = "a", *, key: str | None = None, name: str | None = None, owner: str = "me"
    ) -> OrderRecord:
        """The record of a new order; it is not in the index yet."""
        self._next += 1
        names = (name or f"brdg-{self._next}",)
        record = OrderRecord(f"o{self._next}", OrderOperation.PLACE, "DU1", owner, "r", body, key, names)
        record.has_own_identity = key is not None or name is not None
        return record

    def add(self, record: OrderRecord, *events: OrderEvent) -> OrderRecord:
        """Add a record to the index, and apply these events to it."""
        self.index.add(record)
        for what in events:
            content = {"kind": "place", "fingerprint": record.fingerprint, "coids": list(record.coids)}
            identity = {
                "owner": record.owner,
                "idempotency": record.idempotency_digest,
                "own_name": record.has_own_identity,
            }
            facts = (
                {**content, **identity}
                if what in (SENT, OrderEvent.REFUSED)
                else RESPONSE_FACTS
                if what is TAKEN
                else {}
            )
            state = record.next_state(what)
            record.apply(JournalEntry(record.id, self.now.isoformat(timespec="microseconds"), what, state, facts))
            self.index.add_names(record)
        return record

    def find_duplicate(self, record: OrderRecord, *, unknown_open: bool = False) -> OrderRecord | None:
        """See `OrderIndex.find_duplicate`."""
        return self.index.find_duplicate(record, unknown_open=unknown_open)


@pytest.fixture
def orders() -> IndexSetup:
    """An empty index."""
    return IndexSetup()


def refusal(orders: IndexSetup, record: OrderRecord) -> type[BridgeError]:
    """The error class with which a call is refused."""
    with pytest.raises(BridgeError) as error:
        orders.find_duplicate(record)
    return type(error.value)


def test_an_identical_order_after_delivery_is_a_new_one(orders: IndexSetup) -> None:
    """Its caller got the response, so it wants a second order."""
    orders.add(orders.new_record(), SENT, TAKEN, TOLD)

    assert orders.find_duplicate(orders.new_record()) is None


def test_an_identical_order_without_delivery_is_a_duplicate(orders: IndexSetup) -> None:
    """For ten minutes."""
    first = orders.add(orders.new_record(), SENT, TAKEN, LEFT)

    orders.now += timedelta(seconds=TEN_MINUTES_S)
    assert orders.find_duplicate(orders.new_record()) is first
    orders.now += timedelta(seconds=1)
    assert orders.find_duplicate(orders.new_record()) is None


def test_a_delivery_that_proves_to_have_failed_does_not_count(orders: IndexSetup) -> None:
    """The connection was reset with the response unread."""
    first = orders.add(orders.new_record(), SENT, TAKEN, TOLD, LEFT)

    assert orders.find_duplicate(orders.new_record()) is first


def test_an_identical_order_in_flight_is_a_duplicate(orders: IndexSetup) -> None:
    """Even if it has not been sent yet."""
    first = orders.new_record()
    first.in_flight = InFlightOrder(first.fingerprint, [lambda: True])
    orders.index.add(first)

    assert orders.find_duplicate(orders.new_record()) is first


@pytest.mark.parametrize("other", [{"body": "b"}, {"owner": "you"}, {"key": "k"}, {"name": "n"}])
def test_a_different_order_is_not_a_duplicate(orders: IndexSetup, other: dict[str, str]) -> None:
    """Another body, another key, or an identity of its own."""
    orders.add(orders.new_record(), SENT, TAKEN, LEFT)

    assert orders.find_duplicate(orders.new_record(**other)) is None


@pytest.mark.parametrize("end", [(OrderEvent.REFUSED,), (SENT, OrderEvent.ASKED, LEFT, OrderEvent.DECLINED)])
def test_an_order_that_was_never_placed_has_no_duplicate(orders: IndexSetup, end: tuple[OrderEvent, ...]) -> None:
    """There is nothing to repeat."""
    orders.add(orders.new_record(), *end)

    assert orders.find_duplicate(orders.new_record()) is None


def test_an_unknown_order_blocks_an_identical_one_until_the_caller_confirms(orders: IndexSetup) -> None:
    """Its caller knows that its state is unknown; an identical order could be a second one."""
    orders.add(orders.new_record(), SENT, OrderEvent.LOST, TOLD)

    assert refusal(orders, orders.new_record()) is OrderInProgress
    assert orders.find_duplicate(orders.new_record(), unknown_open=True) is None


def test_an_idempotency_key_identifies_its_order_for_a_day(orders: IndexSetup) -> None:
    """Whether or not its response was delivered."""
    first = orders.add(orders.new_record(key="k"), SENT, TAKEN, TOLD)

    orders.now += timedelta(seconds=DAY_S)
    assert orders.find_duplicate(orders.new_record(key="k", owner="you")) is first
    orders.now += timedelta(seconds=1)
    assert orders.find_duplicate(orders.new_record(key="k")) is None


@pytest.mark.parametrize("other", ["A", "b"])
def test_an_idempotency_key_with_another_body_is_refused(orders: IndexSetup, other: str) -> None:
    """It is a mistake of the caller."""
    orders.add(orders.new_record(key="k"), SENT, TAKEN, TOLD)

    assert refusal(orders, orders.new_record(other, key="k")) is IdempotencyMismatch


def test_an_idempotency_key_of_an_order_in_flight_is_refused(orders: IndexSetup) -> None:
    """It has no response yet."""
    first = orders.new_record(key="k")
    first.in_flight = InFlightOrder(first.fingerprint, [lambda: True])
    orders.index.add(first)

    assert refusal(orders, orders.new_record(key="k")) is OrderInProgress


def test_an_idempotency_key_of_a_refused_order_is_free(orders: IndexSetup) -> None:
    """Nothing was sent with it."""
    orders.add(orders.new_record(key="k"), OrderEvent.REFUSED)

    assert orders.find_duplicate(orders.new_record("b", key="k")) is None


@pytest.mark.parametrize(
    ("events", "is_duplicate", "error_for_other_body"),
    [
        ((SENT,), True, DuplicateOrder),
        ((SENT, TAKEN, TOLD), True, DuplicateOrder),
        ((SENT, OrderEvent.LOST), True, DuplicateOrder),
        ((SENT, OrderEvent.ASKED), True, DuplicateOrder),
        ((SENT, OrderEvent.LOST, OrderEvent.MISSED), False, DuplicateOrder),
        ((SENT, OrderEvent.TURNED_DOWN), False, None),
        ((SENT, OrderEvent.ASKED, OrderEvent.DECLINED), False, None),
        ((OrderEvent.REFUSED,), False, None),
    ],
)
def test_a_coid_belongs_to_an_order_that_may_exist(
    orders: IndexSetup,
    events: tuple[OrderEvent, ...],
    is_duplicate: bool,
    error_for_other_body: type[BridgeError] | None,
) -> None:
    """The same call is that order. Another body is refused until it is certain that the first was not placed."""
    first = orders.add(orders.new_record(name="mine"), *events)

    assert orders.find_duplicate(orders.new_record(name="mine")) is (first if is_duplicate else None)
    for body in ("A", "b"):
        other = orders.new_record(body, name="mine")
        error = refusal(orders, other) if error_for_other_body else orders.find_duplicate(other)
        assert error is error_for_other_body


def test_a_second_sending_takes_over_the_coid(orders: IndexSetup) -> None:
    """An order that is found by the cOID is then not the old one."""
    old = orders.add(orders.new_record(name="mine"), SENT, OrderEvent.LOST, OrderEvent.MISSED)
    new = orders.add(orders.new_record(name="mine"), SENT, TAKEN)

    assert (orders.index.owns_names(old), orders.index.owns_names(new)) == (False, True)


def test_a_refused_order_does_not_take_over_a_coid(orders: IndexSetup) -> None:
    """It was not sent, so it can neither replace nor free an earlier order."""
    unknown = orders.add(orders.new_record(), SENT, OrderEvent.LOST, TOLD)
    missed = orders.add(orders.new_record(name="mine"), SENT, OrderEvent.LOST, OrderEvent.MISSED)
    orders.add(orders.new_record(), OrderEvent.REFUSED)
    orders.add(orders.new_record(name="mine"), OrderEvent.REFUSED)

    assert refusal(orders, orders.new_record()) is OrderInProgress
    assert refusal(orders, orders.new_record("b", name="mine")) is DuplicateOrder
    assert (orders.index.owns_names(unknown), orders.index.owns_names(missed)) == (True, True)


def test_a_rejected_order_does_not_take_over_a_coid(orders: IndexSetup) -> None:
    """The cOID belongs to the earlier order, which was only late."""
    late = orders.add(orders.new_record(name="mine"), SENT, OrderEvent.LOST, OrderEvent.MISSED)
    rejected = orders.add(orders.new_record(name="mine"), SENT, OrderEvent.TURNED_DOWN)

    assert orders.index.owns_names(late)
    assert list(orders.index.earlier_with_coid(rejected)) == [late]


def test_settled_orders_are_dropped_after_a_day(orders: IndexSetup) -> None:
    """Open orders never are, and do not keep others in the index."""
    orders.add(orders.new_record(), SENT, OrderEvent.LOST)
    orders.now += timedelta(seconds=1)
    settled = orders.add(orders.new_record("b"), SENT, TAKEN, TOLD)
    orders.now += timedelta(seconds=DAY_S + 1)
    orders.add(orders.new_record("c"), SENT)

    assert [record.id for record in orders.index.newest_first()] == ["o3", "o1"]
    assert orders.index.find(settled.id) is None
    assert orders.index.counts() == {OrderState.UNKNOWN.value: 1, OrderState.SENDING.value: 1}


@pytest.mark.parametrize("jump_s", [86400.0 * 3, -86400.0 * 3])
def test_a_jump_of_the_wall_clock_neither_ends_nor_extends_an_identity(jump_s: float) -> None:
    """The order of a caller that hung up would be placed a second time, or never again."""
    wall, elapsed = [0.0], [0.0]
    setup = IndexSetup()
    setup.index = OrderIndex(lambda: NOON + timedelta(seconds=wall[0]), lambda: elapsed[0])
    anonymous, named = setup.new_record(), setup.new_record("b", name="mine")
    for record in (anonymous, named):
        setup.index.add(record)
        for what in (SENT, TAKEN, LEFT):
            facts: dict[str, object] = {
                "kind": "place",
                "fingerprint": record.fingerprint,
                "owner": "me",
                "coids": list(record.coids),
            }
            facts |= {"own_name": record is named, **(RESPONSE_FACTS if what is TAKEN else {})}
            record.apply(JournalEntry(record.id, NOON.isoformat(), what, record.next_state(what), facts), elapsed[0])
        setup.index.add_names(record)

    wall[0], elapsed[0] = jump_s, TEN_MINUTES_S
    assert setup.find_duplicate(setup.new_record()) is anonymous
    assert setup.find_duplicate(setup.new_record("b", name="mine")) is named
    elapsed[0] = TEN_MINUTES_S + 1
    assert setup.find_duplicate(setup.new_record()) is None
    elapsed[0] = DAY_S + 1
    assert setup.find_duplicate(setup.new_record("b", name="mine")) is None


def test_an_order_is_found_by_its_id_until_it_is_removed(orders: IndexSetup) -> None:
    """`GET /orders/{id}` asks for it; its names are free afterwards."""
    record = orders.add(orders.new_record(name="mine", key="k"), SENT, TAKEN)
    found = orders.index.find(record.id)

    orders.index.remove(record)

    assert (found, orders.index.find(record.id)) == (record, None)
    assert orders.find_duplicate(orders.new_record("z", name="mine", key="k")) is None
    assert list(orders.index.newest_first()) == []


def test_refused_orders_are_listed_and_the_oldest_of_a_thousand_dropped(orders: IndexSetup) -> None:
    """A loop makes thousands of them. Others stay."""
    placed = orders.add(orders.new_record(), SENT, TAKEN)
    refused = [orders.new_record(str(number)) for number in range(1001)]
    for record in refused:
        orders.index.add_refused(record)

    assert list(orders.index.newest_first()) == [*reversed(refused[1:]), placed]


def test_the_figures_of_an_order_are_those_of_its_latest_change(orders: IndexSetup) -> None:
    """By the number at IBKR. Of an order that another program placed, or that was not placed, nothing is known."""
    placement = orders.add(orders.new_record(), SENT, TAKEN)
    placement.order_ids, placement.match_criteria = ("77",), {"figures": {"price": "1"}}
    lost = orders.add(orders.new_record("b"), SENT)
    lost.order_ids, lost.match_criteria = ("78",), {"figures": {"price": "2"}}
    first = orders.index.figures_of("77")
    change = OrderRecord("c", OrderOperation.MODIFY, state=OrderState.PLACED)
    change.match_criteria = {"order": "77", "figures": {"price": "3"}}
    other_change = OrderRecord("d", OrderOperation.MODIFY, state=OrderState.PLACED)
    other_change.match_criteria = {"order": "79", "figures": {"price": "4"}}
    for record in (change, other_change):
        orders.index.add(record)

    assert (first, orders.index.figures_of("77")) == ({"price": "1"}, {"price": "3"})
    assert (orders.index.figures_of("78"), orders.index.figures_of("80")) == ({}, {})


def test_entries_of_earlier_runs_make_the_same_index(orders: IndexSetup) -> None:
    """After a restart a repeated call finds its order as before."""
    at = NOON.isoformat(timespec="microseconds")
    facts = {"kind": "place", "fingerprint": "a", "coids": ["mine"], "owner": "me", "own_name": True}
    orders.index.load(
        [
            (1, JournalEntry("a", at, SENT, OrderState.SENDING, facts)),
            (2, JournalEntry("a", at, TAKEN, OrderState.PLACED, RESPONSE_FACTS)),
        ]
    )

    record = orders.find_duplicate(orders.new_record("a", name="mine"))

    assert record is orders.index.find("a")
    assert record is not None
    assert (record.state, record.coids) == (OrderState.PLACED, ("mine",))
    assert orders.index.open_records() == []


def test_a_refusal_of_an_identical_order_says_when_to_ask_again(orders: IndexSetup) -> None:
    """The search looks every few seconds; a call that is running ends sooner."""
    orders.add(orders.new_record(), SENT, OrderEvent.LOST, TOLD)
    with pytest.raises(OrderInProgress, match="the same order, o1, is being searched for") as unknown:
        orders.find_duplicate(orders.new_record())
    running = orders.add(orders.new_record("b", key="k"), SENT)
    running.in_flight = InFlightOrder("b", [])
    with pytest.raises(OrderInProgress) as in_flight:
        orders.find_duplicate(orders.new_record("b", key="k"))

    assert (unknown.value.retry_after, in_flight.value.retry_after) == (5.0, 1.0)


def test_the_reply_of_a_removed_order_leads_to_no_order(orders: IndexSetup) -> None:
    """A day later nothing of it is left in memory."""
    record = orders.new_record()
    record.sent_replies["r1"] = ("f", None)
    orders.add(record, SENT, TAKEN)
    found = orders.index.find_by_reply("r1")

    orders.index.remove(record)

    assert (found, orders.index.find_by_reply("r1")) == (record, None)


def test_only_the_oldest_finished_orders_become_rows(orders: IndexSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are too many, when there are enough of these to be worth it."""
    monkeypatch.setattr(index_module, "MAX_FULL_RECORDS", 3)
    monkeypatch.setattr(index_module, "SLACK", 2)
    records = [orders.add(orders.new_record("open"), SENT)]
    records += [orders.add(orders.new_record(str(number)), SENT, TAKEN, TOLD) for number in range(3)]
    orders.index.compact()
    row_count = orders.index.rows.counts.total()
    records.append(orders.add(orders.new_record("last"), SENT, TAKEN, TOLD))

    orders.index.compact()

    assert row_count == 0
    assert [record.id for record in orders.index.newest_first()] == ["o5", "o4", "o1"]
    assert orders.index.counts() == {"placed": 4, "sending": 1}
    assert [row.id for row in orders.index.missing(orders.new_record("0"))] == ["o2"]


def test_an_order_that_became_a_row_stays_the_same_while_somebody_has_it(
    orders: IndexSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection may prove to be reset: a second record of the same order would not learn of it."""
    monkeypatch.setattr(index_module, "MAX_FULL_RECORDS", 0)
    monkeypatch.setattr(index_module, "SLACK", 1)
    record = orders.add(orders.new_record(), SENT, TAKEN, TOLD)
    orders.index.compact()
    (row,) = orders.index.missing(orders.new_record())
    is_restored = [orders.index.restore(row, []) for _ in range(2)]  # two calls may read it at the same time
    restored = orders.index.find(record.id)
    orders.index.compact()

    orders.index.add_names(record)

    assert (is_restored, restored, orders.index.find(record.id)) == ([True, True], record, record)
    assert orders.index.rows.counts.total() == 0


def test_a_name_whose_orders_are_removed_takes_no_memory(orders: IndexSetup) -> None:
    """A busy day has hundreds of thousands of names."""
    names: NameIndex[str] = NameIndex()
    one, two = orders.new_record(), orders.new_record()
    for record in (one, two):
        names.add("mine", record)

    names.remove(["mine", "other"], one)
    remaining = list(names.all_named("mine"))
    names.remove(["mine"], two)

    assert (remaining, names.all_named("mine"), names.latest("mine"), names._records) == ([two], [], None, {})
