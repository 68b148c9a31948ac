"""The order story's judge: it finds each sort of broken promise, and nothing where all is well."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench.orders_callers import End, Story, Told, call, read
from bench.orders_cost import LIMIT_MS, MEMORY, NOTHING, WITH, Cost, p50, p99
from bench.orders_plan import KILL, REPLYING, Caller, Plan, Ticket, Yes, plans, troubles
from bench.orders_report import cost_lines, lines
from bench.orders_story import Ending
from bench.orders_zeros import Booked, Kept, Zero, open_ones, read_journal, zeros

PLAN = Plan(3, "7-3", Caller.ONCE, Ticket.PLAIN, Yes.BEFOREHAND, 1.0, False, False)
PLACED = Told(End.PLACED, 200, "id-1", target="/iserver/account/DU1234567/orders")
BOOKED = Booked("1000000001", "brdg-1", "7-3")
KEPT = Kept("id-1", "placed", "place", frozenset({"brdg-1"}), frozenset({"1000000001"}))


def broken(story: Story, book: list[Booked], journal: list[Kept]) -> set[str]:
    """The first words of each promise that was broken."""
    return {zero.promise for zero in zeros([story], book, journal) if zero.broken}


def test_nothing_is_broken_where_all_is_well() -> None:
    """An order that is told, booked and kept; and one that is none of it."""
    assert broken(Story(PLAN, [PLACED]), [BOOKED], [KEPT]) == set()
    assert broken(Story(PLAN, [Told(End.REFUSED, 503)]), [], [replace(KEPT, state="refused")]) == set()


@pytest.mark.parametrize(
    ("promise", "story", "book", "journal"),
    [
        ("placed twice", [PLACED], [BOOKED, replace(BOOKED, number="2")], [KEPT]),
        ("does not know as placed", [PLACED], [BOOKED], [replace(KEPT, order_ids=frozenset({"9"}))]),
        ("does not know as placed", [PLACED], [BOOKED], [replace(KEPT, coids=frozenset({"other"}))]),
        ("whose fate stays open", [Told(End.UNKNOWN)], [], [replace(KEPT, state="unknown")]),
        ("were told that nothing was sent", [Told(End.REFUSED), Told(End.NO_DOOR)], [BOOKED], [KEPT]),
        ("and are not in IBKR's book", [PLACED], [], [KEPT]),
        ("and are in IBKR's book", [Told(End.UNKNOWN)], [BOOKED], [replace(KEPT, state="not_placed")]),
        ("were told `placed`", [PLACED], [], []),
        ("the journal does not know", [replace(PLACED, end=End.UNKNOWN, order="id-2")], [], [KEPT]),
        ("nobody foresaw", [Told(End.STRANGE, 500)], [], []),
    ],
)
def test_each_broken_promise_is_found(promise: str, story: list[Told], book: list[Booked], journal: list[Kept]) -> None:
    """By its own name."""
    assert any(promise in each for each in broken(Story(PLAN, story), book, journal))


def test_an_order_that_nobody_confirmed_must_not_be_there() -> None:
    """Two questions, and a yes to the first of them."""
    plan = replace(PLAN, ticket=Ticket.ASKED_TWICE, yes=Yes.IN_PART)

    assert broken(Story(plan, [PLACED]), [BOOKED], [KEPT]) == {"orders in IBKR's book that nobody confirmed"}


def test_a_name_refused_once_and_placed_then_is_no_contradiction() -> None:
    """The second record answers for the order."""
    first = replace(KEPT, id="id-0", state="refused", order_ids=frozenset())

    assert broken(Story(PLAN, [Told(End.REFUSED), PLACED]), [BOOKED], [first, KEPT]) == set()


def test_children_are_known_by_their_parent() -> None:
    """IBKR wants no name on them."""
    child = Booked("1000000002", "", "7-3/up", parent="brdg-1")

    assert broken(Story(PLAN, [PLACED]), [BOOKED, child], [KEPT]) == set()
    assert broken(Story(PLAN, [PLACED]), [BOOKED, replace(child, parent="who")], [KEPT]) != set()


def test_a_journal_is_read_as_it_stands(tmp_path: Path) -> None:
    """The latest entry of an order is its state; what earlier ones told stays."""
    path = tmp_path / "main.orders.db"
    assert (read_journal(path), open_ones(path)) == ([], {})
    rows = [
        ("a", "sending", {"kind": "place", "coids": ["brdg-1"]}),
        ("b", "sending", {"kind": "cancel", "wanted": {"order": "1"}}),
        ("a", "placed", {"order_ids": ["1000000001"]}),
    ]
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, id, at, what, state, facts, seal)")
        for order, state, facts in rows:
            file.execute("INSERT INTO entry (id, state, facts) VALUES (?, ?, ?)", (order, state, json.dumps(facts)))

    kept = read_journal(path)

    assert kept == [replace(KEPT, id="a"), Kept("b", "sending", "cancel", frozenset(), frozenset(), "1")]
    assert open_ones(path) == {"sending": 1}


def test_the_same_number_tells_the_same_story() -> None:
    """And another one another."""
    assert plans(100, 1, 20.0, 3) == plans(100, 1, 20.0, 3)
    assert plans(100, 1, 20.0, 3) != plans(100, 2, 20.0, 3)


def test_trouble_with_confirmations_meets_orders_that_are_confirmed() -> None:
    """Else it would meet nobody."""
    deck = plans(300, 1, 20.0, 3)

    asked = [plan for plan in deck if plan.trouble and plan.trouble.told.get("path") == REPLYING]

    assert asked
    assert all(plan.ticket is Ticket.ASKED and plan.is_confirmed for plan in asked)
    assert {each.name for each in troubles(20.0)} <= {plan.trouble.name for plan in deck if plan.trouble}


@pytest.mark.parametrize(
    ("head", "body", "end"),
    [
        ("HTTP/1.1 200 OK\r\nX-Bridge-Order: a\r\nX-Bridge-Order-State: placed", b"[]", End.PLACED),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/problem+json",
            b'{"code":"order_unknown"}',
            End.UNKNOWN,
        ),
        (
            "HTTP/1.1 503 Later\r\nContent-Type: application/problem+json",
            b'{"code":"session_unavailable"}',
            End.REFUSED,
        ),
        ("HTTP/1.1 500 Oh\r\nContent-Type: application/problem+json", b'{"code":"internal"}', End.STRANGE),
        ("HTTP/1.1 200 OK", b"[]", End.STRANGE),
    ],
)
def test_answers_are_read_by_what_the_bridge_says_of_the_order(head: str, body: bytes, end: End) -> None:
    """Its headers first, then its code."""
    assert read(f"{head}\r\n\r\n".encode() + body).end is end


@pytest.mark.parametrize(
    ("kind", "state", "is_done", "is_broken"),
    [
        ("cancel", "placed", True, False),
        ("cancel", "placed", False, True),
        ("cancel", "not_placed", True, True),
        ("cancel", "rejected", False, False),
        ("modify", "placed", True, False),
        ("modify", "placed", False, True),
        ("modify", "refused", True, True),
        ("modify", "refused", False, False),
    ],
)
def test_cancels_and_changes_are_held_against_the_book(kind: str, state: str, is_done: bool, is_broken: bool) -> None:
    """By the order's state, or by its price."""
    was, shown = Booked("1000000001", "brdg-1", "7-3", price="187.0"), {"cancel": "Cancelled", "modify": "Submitted"}
    order = replace(was, state=shown[kind], price="187.1") if is_done else was
    change = Kept("id-2", state, kind, frozenset(), frozenset(), "1000000001", "187.1")

    assert (broken(Story(PLAN, [PLACED]), [order], [KEPT, change]) != set()) is is_broken


def test_what_was_given_up_and_is_there_was_given_up_too_soon() -> None:
    """Unless it was sent on so late."""
    kept = replace(KEPT, was_given_up=True)

    assert [zero.broken for zero in zeros([], [BOOKED], [kept]) if zero.broken] == [("id-1 place ['7-3']",)]
    assert not any(zero.broken for zero in zeros([], [BOOKED], [kept], late={"7-3"}))


async def test_a_caller_hears_what_has_arrived_though_its_patience_is_over() -> None:
    """It hangs up in the very moment in which the answer comes."""
    answer = b"HTTP/1.1 200 OK\r\nX-Bridge-Order-State: placed\r\nContent-Length: 2\r\n\r\n[]"
    silence = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n")).split()[1]
        writer.write(answer if target == b"/told" else answer[:-1])
        await silence.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        whole = await call(port, "POST", "/told", {}, b"", 10.0)
        half = await call(port, "POST", "/half", {}, b"", 0.05)
        silence.set()
    nobody = await call(port, "POST", "/", {}, b"", 10.0)

    assert [told.end for told in (whole, half, nobody)] == [End.PLACED, End.NOTHING, End.NO_DOOR]


def test_the_tables_name_what_was_broken() -> None:
    """And say `no` where the journal costs too much."""
    ending = Ending(200, 7, stories=[Story(PLAN, [PLACED])], troubles=Counter({KILL: 3}), kills=3, is_proved=True)
    ending.zeros = (Zero("orders placed twice", ("7-3, 2 times",)), Zero("all else", ()))
    cost = Cost({WITH: [3.0, 4.0, 5.0], MEMORY: [1.0, 2.0, 3.0], NOTHING: [1.0, 1.0, 1.0]})

    text = "\n".join((*lines(ending), *cost_lines(cost)))

    assert not ending.is_good
    assert "| orders placed twice | **1** |" in text
    assert "| all else | 0 |" in text
    assert "orders placed twice: 7-3, 2 times" in text
    assert f"| {KILL} | 3 |" in text
    assert f"| what the disk adds to the p50 of a placement | ≤ {LIMIT_MS:g} ms | 2.00 ms | **no** |" in text
    assert (p50(cost.took_ms[WITH]), p99(cost.took_ms[WITH])) == (4.0, 5.0)
