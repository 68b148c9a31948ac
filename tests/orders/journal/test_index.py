"""Which order a new call is: a name's, its twin's, or a new one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ibkr_bridge.errors import BridgeError, DuplicateOrder, IdempotencyMismatch, OrderInProgress
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.index import ANONYMOUS_DUPLICATE_TTL_S, IDENTITY_TTL_S, OrderIndex
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState
from tests.clocks import NOON

SENT, TAKEN, TOLD, LEFT = OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.TOLD, OrderEvent.LEFT
ANSWER = {"answer": {"status": 200, "content_type": "application/json", "body": "[]"}}


class Day:
    """A register, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOON
        self.index = OrderIndex(lambda: self.now)
        self._next = 0

    def fresh(
        self, body: str = "a", *, key: str | None = None, name: str | None = None, owner: str = "me"
    ) -> OrderRecord:
        """A new call."""
        self._next += 1
        names = (name or f"brdg-{self._next}",)
        record = OrderRecord(f"o{self._next}", OrderOperation.PLACE, "DU1", owner, "r", body, key, names)
        record.has_own_identity = key is not None or name is not None
        return record

    def went(self, record: OrderRecord, *facts: OrderEvent) -> OrderRecord:
        """An order goes through these."""
        self.index.add(record)
        for what in facts:
            about = {"kind": "place", "fingerprint": record.fingerprint, "coids": list(record.coids)}
            more = {
                "owner": record.owner,
                "idempotency": record.idempotency_digest,
                "own_name": record.has_own_identity,
            }
            told = {**about, **more} if what in (SENT, OrderEvent.REFUSED) else ANSWER if what is TAKEN else {}
            state = record.next_state(what)
            record.apply(JournalEntry(record.id, self.now.isoformat(timespec="microseconds"), what, state, told))
            self.index.add_names(record)
        return record

    def same(self, record: OrderRecord, *, unknown_open: bool = False) -> OrderRecord | None:
        """See `Register.same`."""
        return self.index.find_duplicate(record, unknown_open=unknown_open)


@pytest.fixture
def day() -> Day:
    """A day on which nothing happened yet."""
    return Day()


def refused(day: Day, record: OrderRecord) -> type[BridgeError]:
    """Why a call is not taken."""
    with pytest.raises(BridgeError) as error:
        day.same(record)
    return type(error.value)


def test_an_equal_order_after_the_answer_is_a_new_one(day: Day) -> None:
    """Its caller had the answer, and means it."""
    day.went(day.fresh(), SENT, TAKEN, TOLD)

    assert day.same(day.fresh()) is None


def test_an_equal_order_whose_answer_nobody_had_is_the_same(day: Day) -> None:
    """For ten minutes."""
    first = day.went(day.fresh(), SENT, TAKEN, LEFT)

    day.now += timedelta(seconds=ANONYMOUS_DUPLICATE_TTL_S)
    assert day.same(day.fresh()) is first
    day.now += timedelta(seconds=1)
    assert day.same(day.fresh()) is None


def test_an_answer_that_turns_out_to_be_unheard_counts_as_such(day: Day) -> None:
    """The connection was reset with the reply unread."""
    first = day.went(day.fresh(), SENT, TAKEN, TOLD, LEFT)

    assert day.same(day.fresh()) is first


def test_an_equal_order_in_flight_is_the_same(day: Day) -> None:
    """It has not even been sent."""
    first = day.fresh()
    first.in_flight = InFlightOrder(first.fingerprint, [lambda: True])
    day.index.add(first)

    assert day.same(day.fresh()) is first


@pytest.mark.parametrize("other", [{"body": "b"}, {"owner": "you"}, {"key": "k"}, {"name": "n"}])
def test_what_differs_is_no_twin(day: Day, other: dict[str, str]) -> None:
    """Another body, another key, an identity of its own."""
    day.went(day.fresh(), SENT, TAKEN, LEFT)

    assert day.same(day.fresh(**other)) is None


@pytest.mark.parametrize("end", [(OrderEvent.REFUSED,), (SENT, OrderEvent.ASKED, LEFT, OrderEvent.DECLINED)])
def test_an_order_that_never_was_has_no_twin(day: Day, end: tuple[OrderEvent, ...]) -> None:
    """There is nothing to repeat."""
    day.went(day.fresh(), *end)

    assert day.same(day.fresh()) is None


def test_an_unknown_twin_holds_until_its_caller_says_otherwise(day: Day) -> None:
    """It was told that nobody knows; the same order again could be a second one."""
    day.went(day.fresh(), SENT, OrderEvent.LOST, TOLD)

    assert refused(day, day.fresh()) is OrderInProgress
    assert day.same(day.fresh(), unknown_open=True) is None


def test_a_key_is_the_same_order_for_a_day(day: Day) -> None:
    """Answered or not."""
    first = day.went(day.fresh(key="k"), SENT, TAKEN, TOLD)

    day.now += timedelta(seconds=IDENTITY_TTL_S)
    assert day.same(day.fresh(key="k", owner="you")) is first
    day.now += timedelta(seconds=1)
    assert day.same(day.fresh(key="k")) is None


def test_a_key_with_another_call(day: Day) -> None:
    """Is a mistake."""
    day.went(day.fresh(key="k"), SENT, TAKEN, TOLD)

    assert refused(day, day.fresh("b", key="k")) is IdempotencyMismatch


def test_a_key_that_is_running(day: Day) -> None:
    """Has no answer yet."""
    first = day.fresh(key="k")
    first.in_flight = InFlightOrder(first.fingerprint, [lambda: True])
    day.index.add(first)

    assert refused(day, day.fresh(key="k")) is OrderInProgress


def test_a_key_of_what_was_refused_is_free(day: Day) -> None:
    """Nothing left under it."""
    day.went(day.fresh(key="k"), OrderEvent.REFUSED)

    assert day.same(day.fresh("b", key="k")) is None


@pytest.mark.parametrize(
    ("end", "same_body", "other_body"),
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
def test_a_name_belongs_to_what_may_exist(
    day: Day, end: tuple[OrderEvent, ...], same_body: bool, other_body: type[BridgeError] | None
) -> None:
    """The same call is that order; another one is refused, until it is certain that nothing came of the first."""
    first = day.went(day.fresh(name="mine"), *end)

    assert day.same(day.fresh(name="mine")) is (first if same_body else None)
    other = day.fresh("b", name="mine")
    assert (refused(day, other) if other_body else day.same(other)) is other_body


def test_an_order_that_was_sent_anew_leaves_its_name_to_the_new_one(day: Day) -> None:
    """What is found under the name is then not the old one."""
    old = day.went(day.fresh(name="mine"), SENT, OrderEvent.LOST, OrderEvent.MISSED)
    new = day.went(day.fresh(name="mine"), SENT, TAKEN)

    assert (day.index.owns_names(old), day.index.owns_names(new)) == (False, True)


def test_a_refusal_leaves_those_before_it_their_names(day: Day) -> None:
    """It never left, so it can neither replace nor free anything."""
    unknown = day.went(day.fresh(), SENT, OrderEvent.LOST, TOLD)
    missed = day.went(day.fresh(name="mine"), SENT, OrderEvent.LOST, OrderEvent.MISSED)
    day.went(day.fresh(), OrderEvent.REFUSED)
    day.went(day.fresh(name="mine"), OrderEvent.REFUSED)

    assert refused(day, day.fresh()) is OrderInProgress
    assert refused(day, day.fresh("b", name="mine")) is DuplicateOrder
    assert (day.index.owns_names(unknown), day.index.owns_names(missed)) == (True, True)


def test_an_order_that_ibkr_turned_down_does_not_take_the_name(day: Day) -> None:
    """What stands under it is the earlier one, which was only late."""
    late = day.went(day.fresh(name="mine"), SENT, OrderEvent.LOST, OrderEvent.MISSED)
    again = day.went(day.fresh(name="mine"), SENT, OrderEvent.TURNED_DOWN)

    assert day.index.owns_names(late)
    assert list(day.index.earlier_with_coid(again)) == [late]


def test_what_is_settled_is_forgotten_after_a_day(day: Day) -> None:
    """What is open never is, and holds nobody else."""
    day.went(day.fresh(), SENT, OrderEvent.LOST)
    day.now += timedelta(seconds=1)
    done = day.went(day.fresh("b"), SENT, TAKEN, TOLD)
    day.now += timedelta(seconds=IDENTITY_TTL_S + 1)
    day.went(day.fresh("c"), SENT)

    assert [record.id for record in day.index.newest_first()] == ["o3", "o1"]
    assert day.index.find(done.id) is None
    assert day.index.counts() == {OrderState.UNKNOWN.value: 1, OrderState.SENDING.value: 1}
