"""The zeros: what callers were told, IBKR's own book and the journal, held against each other. Pure.

The book is the simulated market's, asked directly: whatever the bridge says of itself, it is not asked here.
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

from bench.orders_callers import End, Story

OPEN = frozenset({"sending", "question", "unknown"})
PLACES, CHANGES = "place", frozenset({"cancel", "modify"})


@dataclass(frozen=True)
class Booked:
    """One order of IBKR's book; `tag` is its ticket's `referrer`."""

    number: str
    coid: str
    tag: str
    parent: str = ""
    state: str = "Submitted"
    price: str = ""


@dataclass(frozen=True)
class Kept:
    """One order of the journal, as its entries tell it."""

    id: str
    state: str
    kind: str
    coids: frozenset[str]
    order_ids: frozenset[str]
    subject: str = ""
    """Of a cancel or a change: the order it is about."""
    price: str = ""
    """Of a change: the new one."""
    was_given_up: bool = False
    """Whether it was once taken for not placed."""


@dataclass(frozen=True)
class Zero:
    """A promise, how often it was broken, and some of those it was broken for."""

    promise: str
    broken: tuple[str, ...]


def read_journal(path: Path) -> list[Kept]:
    """Every order of a journal, which may be written meanwhile; none where there is no journal."""
    if not path.is_file():
        return []
    entries: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as file:
        for order, state, facts in file.execute("SELECT id, state, facts FROM entry ORDER BY number"):
            entries[order].append((state, json.loads(facts)))
    return [_kept(order, told) for order, told in entries.items()]


def _kept(order: str, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> Kept:
    first = entries[0][1]
    ids = frozenset(str(each) for _, facts in entries for each in facts.get("order_ids") or ())
    wanted = first.get("wanted") or {}
    subject, price = str(wanted.get("order", "")), str((wanted.get("figures") or {}).get("price", ""))
    coids = frozenset(map(str, first.get("coids") or ()))
    given_up = any(state == "not_placed" for state, _ in entries)
    return Kept(order, entries[-1][0], str(first.get("kind", "")), coids, ids, subject, price, given_up)


def open_ones(path: Path) -> dict[str, int]:
    """How many orders of a journal are not settled, by state; an empty answer where all are."""
    if not path.is_file():
        return {}
    latest = "SELECT state FROM (SELECT id, state, MAX(number) FROM entry GROUP BY id)"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as file:
        return dict(Counter(state for (state,) in file.execute(latest) if state in OPEN))


def zeros(
    stories: Sequence[Story], book: Sequence[Booked], journal: Sequence[Kept], late: Container[str] = ()
) -> tuple[Zero, ...]:
    """All promises.

    Args:
        late: tags of orders, and numbers of orders to be cancelled or changed, whose calls IBKR really had so late.
    """
    placements = [kept for kept in journal if kept.kind == PLACES]
    placed = [kept for kept in placements if kept.state == "placed"]
    found = {
        "orders placed twice": _twice(book),
        "orders in IBKR's book that the journal does not know as placed": _strangers(book, placed),
        "orders of the journal whose fate stays open": (
            f"{kept.id} {kept.kind} {kept.state}" for kept in journal if kept.state in OPEN
        ),
        "orders in IBKR's book whose callers were told that nothing was sent": _unsent(stories, book),
        "orders that are placed, says the journal, and are not in IBKR's book": _missing(book, placed),
        "orders that are not placed, says the journal, and are in IBKR's book": _denied(book, placements),
        "calls given up as not placed and found later, though they were not late": _too_soon(book, journal, late),
        "cancels and changes that are done, says the journal, and are not": _undone(book, journal),
        "cancels and changes that are not done, says the journal, and are": _done(book, journal),
        "orders in IBKR's book that nobody confirmed": _unconfirmed(stories, book),
        "callers who were told `placed`, of an order that is not in IBKR's book": _promised(stories, book),
        "ids told to callers that the journal does not know": _unkept(stories, journal),
        "answers nobody foresaw": _strange(stories),
    }
    return tuple(Zero(promise, tuple(broken)) for promise, broken in found.items())


def _twice(book: Iterable[Booked]) -> Iterator[str]:
    for tag, count in Counter(order.tag for order in book).items():
        if count > 1:
            yield f"{tag}, {count} times"


def _strangers(book: Iterable[Booked], placed: Iterable[Kept]) -> Iterator[str]:
    by_name = {coid: kept for kept in placed for coid in kept.coids}
    for order in book:
        kept = by_name.get(order.coid or order.parent)
        if kept is None or not (order.number in kept.order_ids or order.parent):
            yield f"{order.tag}: {order.number} {order.coid}"


def _unsent(stories: Iterable[Story], book: Iterable[Booked]) -> Iterator[str]:
    there = {order.tag for order in book}
    for story in stories:
        if story.plan.tag in there and all(told.end in (End.REFUSED, End.NO_DOOR) for told in story.told):
            yield f"{story.plan.tag}: {[told.code for told in story.told]}"


def _missing(book: Iterable[Booked], placed: Iterable[Kept]) -> Iterator[str]:
    names = {order.coid for order in book}
    for kept in placed:
        if not kept.coids <= names:
            yield f"{kept.id} {sorted(kept.coids)}"


def _denied(book: Iterable[Booked], placements: Sequence[Kept]) -> Iterator[str]:
    """An order refused once and placed the next time bears the same cOID: the other record answers for it."""
    names = {order.coid for order in book}
    answered_for = {coid for kept in placements if kept.state == "placed" for coid in kept.coids}
    for kept in placements:
        if kept.state not in OPEN | {"placed"} and (kept.coids & names) - answered_for:
            yield f"{kept.id} {kept.state} {sorted(kept.coids)}"


def _too_soon(book: Iterable[Booked], journal: Iterable[Kept], late: Container[str]) -> Iterator[str]:
    tags = {order.coid: order.tag for order in book}
    for kept in journal:
        about = {kept.subject} if kept.kind in CHANGES else {tags.get(coid, "") for coid in kept.coids}
        if kept.was_given_up and kept.state == "placed" and not any(each in late for each in about):
            yield f"{kept.id} {kept.kind} {sorted(about)}"


def _undone(book: Iterable[Booked], journal: Iterable[Kept]) -> Iterator[str]:
    by_number = {order.number: order for order in book}
    for kept in journal:
        order = by_number.get(kept.subject)
        if kept.state == "placed" and kept.kind in CHANGES and (order is None or not _shows(order, kept)):
            yield f"{kept.id} {kept.kind} of {kept.subject}: {order}"


def _done(book: Iterable[Booked], journal: Sequence[Kept]) -> Iterator[str]:
    """Where one of several was done, it answers for the others."""
    by_number = {order.number: order for order in book}
    done = {(kept.kind, kept.subject) for kept in journal if kept.state == "placed"}
    for kept in journal:
        order = by_number.get(kept.subject)
        if kept.state in OPEN or kept.kind not in CHANGES or (kept.kind, kept.subject) in done:
            continue
        if order is not None and _shows(order, kept):
            yield f"{kept.id} {kept.kind} of {kept.subject}: {kept.state}, {order}"


def _shows(order: Booked, kept: Kept) -> bool:
    return order.state == "Cancelled" if kept.kind == "cancel" else order.price == kept.price


def _unconfirmed(stories: Iterable[Story], book: Iterable[Booked]) -> Iterator[str]:
    there = {order.tag for order in book}
    return (story.plan.tag for story in stories if story.plan.tag in there and not story.plan.is_confirmed)


def _promised(stories: Iterable[Story], book: Iterable[Booked]) -> Iterator[str]:
    there = {order.tag for order in book}
    for story in stories:
        if story.plan.tag not in there and any(
            told.end is End.PLACED and not told.is_notice and not told.is_change for told in story.told
        ):
            yield story.plan.tag


def _unkept(stories: Iterable[Story], journal: Iterable[Kept]) -> Iterator[str]:
    known = {kept.id for kept in journal}
    told = {each.order for story in stories for each in story.told if each.order}
    return iter(sorted(told - known))


def _strange(stories: Iterable[Story]) -> Iterator[str]:
    for story in stories:
        for told in story.told:
            if told.end is End.STRANGE:
                yield f"{story.plan.tag}: {told.status} {told.code} {told.body[:80]!r}"
