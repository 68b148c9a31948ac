"""The judge of the order bench finds each kind of broken promise, and none if every order is as reported."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench.orders_callers import OrderHistory, Outcome, Reply, parse_reply, send_request
from bench.orders_cost import IN_MEMORY, LIMIT_MS, NO_JOURNAL, ON_DISK, Cost, p50, p99
from bench.orders_plan import KILL, REPLY_PATH, Caller, Confirmation, Plan, Ticket, make_plans, make_troubles
from bench.orders_promises import (
    BookOrder,
    JournalOrder,
    Promise,
    check_promises,
    count_open_orders,
    read_journal,
)
from bench.orders_report import cost_sections, run_sections
from bench.orders_setup import BridgeProcess
from bench.orders_story import RunResult
from bench.processes import NotStarted
from bench.wide import replace_name
from ibkr_bridge.profiles import factory

PLAN = Plan(3, "7-3", Caller.ONCE, Ticket.PLAIN, Confirmation.BEFOREHAND, 1.0, False, False)
PLACED = Reply(Outcome.PLACED, 200, "id-1", target="/iserver/account/DU1234567/orders")
IN_BOOK = BookOrder("1000000001", "brdg-1", "7-3")
RECORD = JournalOrder("id-1", "placed", "place", frozenset({"brdg-1"}), frozenset({"1000000001"}))


def broken_promises(history: OrderHistory, book: list[BookOrder], journal: list[JournalOrder]) -> set[str]:
    """The names of the promises that were broken."""
    return {promise.name for promise in check_promises([history], book, journal) if promise.violations}


def test_no_promise_is_broken_if_all_three_agree() -> None:
    """An order that is reported, in the book and in the journal as placed; and one that was refused everywhere."""
    refused = OrderHistory(PLAN, [Reply(Outcome.REFUSED, 503)])

    assert broken_promises(OrderHistory(PLAN, [PLACED]), [IN_BOOK], [RECORD]) == set()
    assert broken_promises(refused, [], [replace(RECORD, state="refused", ibkr_numbers=frozenset())]) == set()


@pytest.mark.parametrize(
    ("promise", "replies", "book", "journal"),
    [
        ("placed twice", [PLACED], [IN_BOOK, replace(IN_BOOK, number="2")], [RECORD]),
        ("does not know as placed", [PLACED], [IN_BOOK], [replace(RECORD, ibkr_numbers=frozenset({"9"}))]),
        ("does not know as placed", [PLACED], [IN_BOOK], [replace(RECORD, coids=frozenset({"other"}))]),
        ("that stay open", [Reply(Outcome.UNKNOWN)], [], [replace(RECORD, state="unknown")]),
        ("was told that nothing", [Reply(Outcome.REFUSED), Reply(Outcome.NOT_LISTENING)], [IN_BOOK], [RECORD]),
        ("and that are not in IBKR's book", [PLACED], [], [RECORD]),
        ("and that are in IBKR's book", [Reply(Outcome.UNKNOWN)], [IN_BOOK], [replace(RECORD, state="not_placed")]),
        ("reported as placed", [PLACED], [], []),
        (
            "for an order of another name",
            [PLACED],
            [IN_BOOK],
            [replace(RECORD, ibkr_numbers=frozenset({"1000000001", "9"}))],
        ),
        ("of another order", [PLACED], [replace(IN_BOOK, tag="7-4")], [RECORD]),
        ("ids in responses", [replace(PLACED, outcome=Outcome.UNKNOWN, record_id="id-2")], [], [RECORD]),
        ("unexpected responses", [Reply(Outcome.UNEXPECTED, 500)], [], []),
    ],
)
def test_each_broken_promise_is_found(
    promise: str, replies: list[Reply], book: list[BookOrder], journal: list[JournalOrder]
) -> None:
    """It is reported under its own name."""
    assert any(promise in name for name in broken_promises(OrderHistory(PLAN, replies), book, journal))


def test_an_order_that_nobody_confirmed_must_not_be_in_the_book() -> None:
    """IBKR asks two questions, and the caller confirms the first of them only."""
    plan = replace(PLAN, ticket=Ticket.TWO_QUESTIONS, confirmation=Confirmation.PARTLY_BEFOREHAND)
    history = OrderHistory(plan, [PLACED])

    assert broken_promises(history, [IN_BOOK], [RECORD]) == {"orders in IBKR's book that nobody confirmed"}


def test_a_coid_that_is_refused_first_and_placed_later_is_no_contradiction() -> None:
    """The second record covers the order."""
    history = OrderHistory(PLAN, [Reply(Outcome.REFUSED), PLACED])
    refused = replace(RECORD, id="id-0", state="refused", ibkr_numbers=frozenset())

    assert broken_promises(history, [IN_BOOK], [refused, RECORD]) == set()


def test_children_are_matched_by_their_parent() -> None:
    """IBKR accepts no cOID on the children of a bracket."""
    child = BookOrder("1000000002", "", "7-3/up", parent="brdg-1")
    history = OrderHistory(PLAN, [PLACED])

    assert broken_promises(history, [IN_BOOK, child], [RECORD]) == set()
    assert broken_promises(history, [IN_BOOK, replace(child, parent="other")], [RECORD]) != set()


def test_a_journal_is_read_into_one_record_for_each_order(tmp_path: Path) -> None:
    """The latest entry of an order decides its state; facts of earlier entries stay."""
    path = tmp_path / "main.orders.db"
    assert (read_journal(path), count_open_orders(path)) == ([], {})
    rows = [
        ("a", "sending", {"kind": "place", "coids": ["brdg-1"]}),
        ("b", "sending", {"kind": "cancel", "wanted": {"order": "1"}}),
        ("a", "placed", {"order_ids": ["1000000001"]}),
    ]
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, id, at, what, state, facts, seal)")
        for order_id, state, facts in rows:
            file.execute("INSERT INTO entry (id, state, facts) VALUES (?, ?, ?)", (order_id, state, json.dumps(facts)))

    records = read_journal(path)

    cancel = JournalOrder("b", "sending", "cancel", frozenset(), frozenset(), "1")
    assert records == [replace(RECORD, id="a"), cancel]
    assert count_open_orders(path) == {"sending": 1}


def test_the_same_seed_makes_the_same_plans() -> None:
    """Another seed makes other plans."""
    assert make_plans(100, 1, 20.0, 3) == make_plans(100, 1, 20.0, 3)
    assert make_plans(100, 1, 20.0, 3) != make_plans(100, 2, 20.0, 3)


def test_troubles_with_confirmations_come_with_orders_that_are_confirmed() -> None:
    """Without such an order there would be no confirmation to disturb."""
    plans = make_plans(300, 1, 20.0, 3)

    disturbed = [plan for plan in plans if plan.trouble and plan.trouble.options.get("path") == REPLY_PATH]

    assert disturbed
    assert all(plan.ticket is Ticket.ONE_QUESTION and plan.is_confirmed for plan in disturbed)
    assert {trouble.name for trouble in make_troubles(20.0)} <= {plan.trouble.name for plan in plans if plan.trouble}


@pytest.mark.parametrize(
    ("head", "body", "outcome"),
    [
        ("HTTP/1.1 200 OK\r\nX-Bridge-Order: a\r\nX-Bridge-Order-State: placed", b"[]", Outcome.PLACED),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/problem+json",
            b'{"code":"order_unknown"}',
            Outcome.UNKNOWN,
        ),
        (
            "HTTP/1.1 503 Later\r\nContent-Type: application/problem+json",
            b'{"code":"session_unavailable"}',
            Outcome.REFUSED,
        ),
        ("HTTP/1.1 500 Oh\r\nContent-Type: application/problem+json", b'{"code":"internal"}', Outcome.UNEXPECTED),
        ("HTTP/1.1 200 OK", b"[]", Outcome.UNEXPECTED),
    ],
)
def test_a_reply_has_the_outcome_that_the_bridge_reports(head: str, body: bytes, outcome: Outcome) -> None:
    """The header with the order's state decides, then the error code."""
    assert parse_reply(f"{head}\r\n\r\n".encode() + body).outcome is outcome


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
def test_cancels_and_changes_are_compared_with_the_book(kind: str, state: str, is_done: bool, is_broken: bool) -> None:
    """A cancel shows in the order's state, a change in its price."""
    before = BookOrder("1000000001", "brdg-1", "7-3", price="187.0")
    state_when_done = {"cancel": "Cancelled", "modify": "Submitted"}[kind]
    order = replace(before, state=state_when_done, price="187.1") if is_done else before
    change = JournalOrder("id-2", state, kind, frozenset(), frozenset(), "1000000001", "187.1")

    assert (broken_promises(OrderHistory(PLAN, [PLACED]), [order], [RECORD, change]) != set()) is is_broken


def test_an_order_recorded_as_not_placed_and_found_later_was_given_up_early() -> None:
    """Unless the Gateway sent it on late."""
    record = replace(RECORD, was_not_placed=True)

    violations = [promise.violations for promise in check_promises([], [IN_BOOK], [record]) if promise.violations]

    assert violations == [("id-1 place ['7-3']",)]
    assert not any(promise.violations for promise in check_promises([], [IN_BOOK], [record], late={"7-3"}))


async def test_a_caller_receives_what_has_arrived_although_its_timeout_has_passed() -> None:
    """It hangs up in the moment in which the response comes."""
    response = b"HTTP/1.1 200 OK\r\nX-Bridge-Order-State: placed\r\nContent-Length: 2\r\n\r\n[]"
    end = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n")).split()[1]
        writer.write(response if target == b"/complete" else response[:-1])
        await end.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        complete = await send_request(port, "POST", "/complete", {}, b"", 10.0)
        partial = await send_request(port, "POST", "/partial", {}, b"", 0.05)
        end.set()
    closed = await send_request(port, "POST", "/", {}, b"", 10.0)

    outcomes = [reply.outcome for reply in (complete, partial, closed)]
    assert outcomes == [Outcome.PLACED, Outcome.NO_RESPONSE, Outcome.NOT_LISTENING]


async def test_a_bridge_that_was_never_started_is_not_waited_for(tmp_path: Path) -> None:
    """The bench ends at once instead of after the timeout of a start."""
    bridge = BridgeProcess("https://127.0.0.1:1", tmp_path)

    with pytest.raises(NotStarted):
        await bridge.wait_until_ready()
    await bridge.stop()


async def test_a_bridge_that_ends_by_itself_is_reported(tmp_path: Path) -> None:
    """Its process and its pipe are closed all the same."""
    bridge = BridgeProcess("https://127.0.0.1:1", tmp_path, ("-c", "raise SystemExit(3)"))

    with pytest.raises(NotStarted):
        await bridge.start()
    await bridge.stop()

    assert bridge.unexpected[-1] == b"the bridge ended with status 3"


def test_a_launcher_replaces_only_names_that_exist() -> None:
    """Replacing a name that the module does not use would measure the bridge unchanged."""
    with pytest.raises(AttributeError):
        replace_name(factory, "no_such_name", None)


def test_the_tables_name_what_was_broken() -> None:
    """And say `no` if the journal costs too much."""
    history = OrderHistory(PLAN, [PLACED])
    result = RunResult(200, 7, histories=[history], troubles=Counter({KILL: 3}), kills=3, is_verified=True)
    result.promises = (Promise("orders placed twice", ("7-3, 2 times",)), Promise("all others", ()))
    cost = Cost({ON_DISK: [3.0, 4.0, 5.0], IN_MEMORY: [1.0, 2.0, 3.0], NO_JOURNAL: [1.0, 1.0, 1.0]})

    text = "\n".join((*run_sections(result), *cost_sections(cost)))

    assert not result.is_good
    assert "| orders placed twice | **1** |" in text
    assert "| all others | 0 |" in text
    assert "orders placed twice: 7-3, 2 times" in text
    assert f"| {KILL} | 3 |" in text
    assert f"| what the disk adds to the p50 of a placement | ≤ {LIMIT_MS:g} ms | 2.00 ms | **no** |" in text
    assert (p50(cost.times_ms[ON_DISK]), p99(cost.times_ms[ON_DISK])) == (4.0, 5.0)
