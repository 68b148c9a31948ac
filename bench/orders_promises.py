"""The promises about orders, checked by comparing the callers' responses, IBKR's own book and the journal. Pure.

The book is read directly from the simulated market: what the bridge says about the orders is not taken as proof.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.orders_callers import OrderHistory, Outcome

OPEN_STATES = frozenset({"sending", "question", "unknown"})
PLACE, CHANGES = "place", frozenset({"cancel", "modify"})
BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class BookOrder:
    """One order of IBKR's book; `tag` is the `referrer` of its ticket."""

    number: str
    coid: str
    tag: str
    parent: str = ""
    state: str = "Submitted"
    price: str = ""


@dataclass(frozen=True)
class JournalOrder:
    """One order of the journal, computed from its entries."""

    id: str
    state: str
    kind: str
    coids: frozenset[str]
    ibkr_numbers: frozenset[str]
    subject: str = ""
    """For a cancel or a change: the number of the order that it concerns."""
    price: str = ""
    """For a change: the new price."""
    was_not_placed: bool = False
    """Whether the state `not_placed` was ever recorded."""


@dataclass(frozen=True)
class Promise:
    """A promise and the orders that broke it."""

    name: str
    violations: tuple[str, ...]


def read_journal(path: Path) -> list[JournalOrder]:
    """Return every order of a journal, which may be written at the same time; an empty list if there is no journal."""
    if not path.is_file():
        return []
    entries: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    with closing(_open_read_only(path)) as file:
        for order_id, state, facts in file.execute("SELECT id, state, facts FROM entry ORDER BY number"):
            entries[order_id].append((state, json.loads(facts)))
    return [_build_order(order_id, order_entries) for order_id, order_entries in entries.items()]


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)


def _build_order(order_id: str, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> JournalOrder:
    first = entries[0][1]
    wanted = first.get("wanted") or {}
    return JournalOrder(
        id=order_id,
        state=entries[-1][0],
        kind=str(first.get("kind", "")),
        coids=frozenset(map(str, first.get("coids") or ())),
        ibkr_numbers=frozenset(str(number) for _, facts in entries for number in facts.get("order_ids") or ()),
        subject=str(wanted.get("order", "")),
        price=str((wanted.get("figures") or {}).get("price", "")),
        was_not_placed=any(state == "not_placed" for state, _ in entries),
    )


def count_open_orders(path: Path) -> dict[str, int]:
    """Return how many orders of a journal are not settled, by state; an empty dictionary if all are settled."""
    if not path.is_file():
        return {}
    latest = "SELECT state FROM (SELECT id, state, MAX(number) FROM entry GROUP BY id)"
    with closing(_open_read_only(path)) as file:
        return dict(Counter(state for (state,) in file.execute(latest) if state in OPEN_STATES))


def check_promises(
    histories: Sequence[OrderHistory],
    book: Sequence[BookOrder],
    journal: Sequence[JournalOrder],
    late: Container[str] = (),
) -> tuple[Promise, ...]:
    """Check every promise.

    Args:
        late: tags of orders, and numbers of orders to be cancelled or changed, whose calls the Gateway sent on late.
    """
    placements = [order for order in journal if order.kind == PLACE]
    placed = [order for order in placements if order.state == "placed"]
    still_open = (f"{order.id} {order.kind} {order.state}" for order in journal if order.state in OPEN_STATES)
    violations = {
        "orders placed twice": _placed_twice(book),
        "orders in IBKR's book that the journal does not know as placed": _missing_in_journal(book, placed),
        "orders of the journal that stay open": still_open,
        "orders in IBKR's book although the caller was told that nothing was sent": _reported_unsent(histories, book),
        "orders that the journal says are placed and that are not in IBKR's book": _missing_in_book(book, placed),
        "orders that the journal says are not placed and that are in IBKR's book": _denied(book, placements),
        "calls recorded as not placed and found later, though they were not late": _given_up_early(book, journal, late),
        "cancels and changes that the journal says are done and that are not": _changes_missing(book, journal),
        "cancels and changes that the journal says are not done and that are": _changes_denied(book, journal),
        "orders in IBKR's book that nobody confirmed": _unconfirmed(histories, book),
        "orders reported as placed that are not in IBKR's book": _reported_placed(histories, book),
        "order ids in responses that the journal does not know": _unknown_ids(histories, journal),
        "order numbers that the journal has for an order of another name": _misnumbered(book, placements),
        "responses with the number or the id of another order": _misdirected(histories, book, journal),
        "unexpected responses": _unexpected_replies(histories),
    }
    return tuple(Promise(name, tuple(orders)) for name, orders in violations.items())


def _placed_twice(book: Iterable[BookOrder]) -> Iterator[str]:
    for tag, count in Counter(order.tag for order in book).items():
        if count > 1:
            yield f"{tag}, {count} times"


def _missing_in_journal(book: Iterable[BookOrder], placed: Iterable[JournalOrder]) -> Iterator[str]:
    """A child of a bracket needs no cOID and no number in the journal: the record of its parent covers it."""
    by_coid = {coid: record for record in placed for coid in record.coids}
    for order in book:
        record = by_coid.get(order.coid or order.parent)
        if record is None or not (order.number in record.ibkr_numbers or order.parent):
            yield f"{order.tag}: {order.number} {order.coid}"


def _reported_unsent(histories: Iterable[OrderHistory], book: Iterable[BookOrder]) -> Iterator[str]:
    tags = {order.tag for order in book}
    for history in histories:
        outcomes = {reply.outcome for reply in history.replies}
        if history.plan.tag in tags and outcomes <= {Outcome.REFUSED, Outcome.NOT_LISTENING}:
            yield f"{history.plan.tag}: {[reply.code for reply in history.replies]}"


def _missing_in_book(book: Iterable[BookOrder], placed: Iterable[JournalOrder]) -> Iterator[str]:
    coids = {order.coid for order in book}
    for record in placed:
        if not record.coids <= coids:
            yield f"{record.id} {sorted(record.coids)}"


def _denied(book: Iterable[BookOrder], placements: Sequence[JournalOrder]) -> Iterator[str]:
    """An order that is refused and later placed has two records with one cOID; the other record covers it."""
    coids = {order.coid for order in book}
    placed_coids = {coid for record in placements if record.state == "placed" for coid in record.coids}
    for record in placements:
        if record.state not in OPEN_STATES | {"placed"} and (record.coids & coids) - placed_coids:
            yield f"{record.id} {record.state} {sorted(record.coids)}"


def _given_up_early(book: Iterable[BookOrder], journal: Iterable[JournalOrder], late: Container[str]) -> Iterator[str]:
    tags = {order.coid: order.tag for order in book}
    for record in journal:
        orders = {record.subject} if record.kind in CHANGES else {tags.get(coid, "") for coid in record.coids}
        if record.was_not_placed and record.state == "placed" and not any(order in late for order in orders):
            yield f"{record.id} {record.kind} {sorted(orders)}"


def _changes_missing(book: Iterable[BookOrder], journal: Iterable[JournalOrder]) -> Iterator[str]:
    by_number = {order.number: order for order in book}
    for record in journal:
        if record.state == "placed" and record.kind in CHANGES:
            order = by_number.get(record.subject)
            if order is None or not _has_change(order, record):
                yield f"{record.id} {record.kind} of {record.subject}: {order}"


def _changes_denied(book: Iterable[BookOrder], journal: Sequence[JournalOrder]) -> Iterator[str]:
    """If one of several cancels or changes of an order was done, its record covers the others."""
    by_number = {order.number: order for order in book}
    done = {(record.kind, record.subject) for record in journal if record.state == "placed"}
    for record in journal:
        order = by_number.get(record.subject)
        if record.state in OPEN_STATES or record.kind not in CHANGES or (record.kind, record.subject) in done:
            continue
        if order is not None and _has_change(order, record):
            yield f"{record.id} {record.kind} of {record.subject}: {record.state}, {order}"


def _has_change(order: BookOrder, record: JournalOrder) -> bool:
    return order.state == "Cancelled" if record.kind == "cancel" else order.price == record.price


def _unconfirmed(histories: Iterable[OrderHistory], book: Iterable[BookOrder]) -> Iterator[str]:
    tags = {order.tag for order in book}
    plans = (history.plan for history in histories)
    return (plan.tag for plan in plans if plan.tag in tags and not plan.is_confirmed)


def _reported_placed(histories: Iterable[OrderHistory], book: Iterable[BookOrder]) -> Iterator[str]:
    tags = {order.tag for order in book}
    for history in histories:
        about_order = (reply for reply in history.replies if not reply.is_notice and not reply.is_change)
        if history.plan.tag not in tags and any(reply.outcome is Outcome.PLACED for reply in about_order):
            yield history.plan.tag


def _unknown_ids(histories: Iterable[OrderHistory], journal: Iterable[JournalOrder]) -> Iterator[str]:
    reported = {reply.record_id for history in histories for reply in history.replies if reply.record_id}
    return iter(sorted(reported - {record.id for record in journal}))


def _misnumbered(book: Iterable[BookOrder], placements: Iterable[JournalOrder]) -> Iterator[str]:
    """Each number of a placement is in the book, under one of its cOIDs or as the child of one.

    A ticket that IBKR numbered beside a question is dropped with the question: its number is then in no book, and the
    journal has the order as not placed.
    """
    by_number = {order.number: order for order in book}
    for record in placements:
        for number in record.ibkr_numbers:
            order = by_number.get(number)
            if order is None and record.state == "not_placed":
                continue
            if order is None or not record.coids & {order.coid, order.parent}:
                yield f"{record.id} {sorted(record.coids)}: {number} {order}"


def _misdirected(
    histories: Iterable[OrderHistory], book: Sequence[BookOrder], journal: Iterable[JournalOrder]
) -> Iterator[str]:
    """The order that a response names, by IBKR's number and by the journal's id, is the one that its caller placed."""
    tags = {order.number: order.tag for order in book}
    names = {order.id: order.coids for order in journal}
    tags_of_names = {order.coid: order.tag for order in book if order.coid}
    for history in histories:
        for reply in history.replies:
            if reply.outcome is not Outcome.PLACED or reply.is_notice or reply.is_change:
                continue
            named = {tags.get(reply.ibkr_number)} if reply.ibkr_number else set()
            named |= {tags_of_names[coid] for coid in names.get(reply.record_id, ()) if coid in tags_of_names}
            if wrong := {tag for tag in named if tag is not None and tag.partition("/")[0] != history.plan.tag}:
                yield f"{history.plan.tag}: {reply.record_id} {reply.ibkr_number} is {sorted(wrong)}"


def _unexpected_replies(histories: Iterable[OrderHistory]) -> Iterator[str]:
    for history in histories:
        for reply in history.replies:
            if reply.outcome is Outcome.UNEXPECTED:
                yield f"{history.plan.tag}: {reply.status} {reply.code} {reply.body[:80]!r}"
