"""Placing, changing, answering, cancelling and previewing orders with the plain API."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from ibkr_bridge.api.plain import order_calls, symbol_resolution
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority
from ibkr_bridge.models.orders import Order, OrderDetails, Preview
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness, Reply

ACCOUNT = "DU1234567"
MARKET = {"symbol": "MSFT", "side": "buy", "type": "market", "quantity": "2"}
FAR_LIMIT = {"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "10", "limit_price": "150.25"}
"""So far from the market that IBKR asks."""


async def place(harness: Harness, ticket: dict[str, Any], headers: dict[str, str] | None = None) -> Reply:
    """Place an order."""
    return await harness.post(f"/accounts/{ACCOUNT}/orders", ticket, headers=headers)


def placements(sim: Simulator) -> list[str]:
    """The bodies of the placements that reached IBKR."""
    return [call.body.decode() for call in sim.calls() if call.target.endswith(f"{ACCOUNT}/orders") and call.body]


def changes(sim: Simulator) -> list[str]:
    """The bodies of the changes that reached IBKR."""
    return [call.body.decode() for call in sim.calls(f"{ACCOUNT}/order/") if call.method == "POST"]


async def test_an_order_is_placed_by_its_symbol(harness: Harness) -> None:
    """The answer is the order, and the journal has it."""
    reply = await place(harness, {**MARKET, "client_order_id": "mine-1"})

    order = msgspec.json.decode(reply.body, type=Order)
    assert (reply.status, order.state.value) == (200, "placed")
    assert order.status is not None
    assert (order.symbol, order.side and order.side.value, str(order.quantity)) == ("MSFT", "buy", "2")
    assert (order.client_order_id, order.account, order.origin.value) == ("mine-1", ACCOUNT, "bridge")
    assert reply.headers["X-Bridge-Order"] == order.id
    assert (await harness.get(f"/orders/{order.id}")).json["status"] == "filled"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"type": "limit", "limit_price": "190.255"}, "limit_price"),
        ({"symbol": "ES@CME", "type": "midprice"}, "type"),
        ({"symbol": "ES@CME", "time_in_force": "opg"}, "time_in_force"),
        ({"symbol": "ES@CME", "quantity": "0.5"}, "quantity"),
    ],
)
async def test_what_ibkr_does_not_allow_for_the_contract_is_not_sent(
    harness: Harness, sim: Simulator, members: dict[str, str], field: str
) -> None:
    """Its rules say it before the order; IBKR's own answer would be a sentence for people."""
    reply = await place(harness, MARKET | members)

    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, "validation_failed", field)
    assert placements(sim) == []


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"2"', '"1_000"', "quantity"),
        ('"2"', '"\uff11\uff12"', "quantity"),
        ('"2"', '" 2 "', "quantity"),
        ('"2"', '"NaN"', "quantity"),
        ('"2"', '"1e999"', "quantity"),
        ('"2"', "1e999", "quantity"),
        ('"2"', '"2", "quantity": "1000"', "quantity"),
        ('"buy"', '"buy", "side": "sell"', "side"),
        ('"2"', '"2", "bracket": {"stop_loss": "1", "stop_loss": "2"}', "bracket.stop_loss"),
        ('"2"', '"2", "bracket": {"stop_loss": "\u0661"}', "bracket.stop_loss"),
        ('"2"', '"2", "client_order_id": "mine-1\\n"', "client_order_id"),
    ],
)
async def test_what_two_programs_could_read_differently_is_not_sent(
    harness: Harness, sim: Simulator, old: str, new: str, field: str
) -> None:
    """One of them may be the check of an app, which saw a smaller order."""
    body = json.dumps(MARKET).replace(old, new, 1).encode()

    reply = await harness.post(f"/accounts/{ACCOUNT}/orders", body, headers={"Content-Type": "application/json"})

    assert (reply.status, reply.json["field"]) == (422, field)
    assert placements(sim) == []


@pytest.mark.parametrize("quantity", ['"2.0"', '"+2"', '"2E+0"', "2", "2.0", "2e0", '"2."', '"00002.00000000"'])
async def test_a_decimal_may_be_written_in_each_usual_form(harness: Harness, sim: Simulator, quantity: str) -> None:
    """They all mean the same everywhere."""
    body = json.dumps(MARKET).replace('"2"', quantity, 1).encode()

    reply = await harness.post(f"/accounts/{ACCOUNT}/orders", body, headers={"Content-Type": "application/json"})

    assert (reply.json["state"], reply.json["quantity"]) == ("placed", "2")
    assert json.loads(placements(sim)[0])["orders"][0]["quantity"] == 2


async def test_a_change_keeps_the_rules_of_the_contract(harness: Harness, sim: Simulator) -> None:
    """Its prices are multiples of the step."""
    order = (await place(harness, FAR_LIMIT, {"X-Bridge-Confirm": "o163"})).json

    refused = await harness.request("PATCH", f"/orders/{order['id']}", body={"limit_price": "151.505"})

    assert (refused.status, refused.json["field"]) == (422, "limit_price")


async def send_keyed_change(harness: Harness, order_id: str, change: dict[str, str], key: str) -> Reply:
    """Change an order with an Idempotency-Key; all questions are confirmed."""
    headers = {"Idempotency-Key": key, "X-Bridge-Confirm": "o163"}
    return await harness.request("PATCH", f"/orders/{order_id}", body=change, headers=headers)


async def test_a_change_that_is_sent_again_with_its_key_is_made_once(harness: Harness, sim: Simulator) -> None:
    """Even if another change came between: the body for IBKR would be another one now."""
    order = (await place(harness, FAR_LIMIT, {"X-Bridge-Confirm": "o163"})).json
    await send_keyed_change(harness, order["id"], {"quantity": "11"}, "k-1")
    await send_keyed_change(harness, order["id"], {"limit_price": "151.5"}, "k-2")

    again = await send_keyed_change(harness, order["id"], {"quantity": "11"}, "k-1")
    other = await send_keyed_change(harness, order["id"], {"quantity": "12"}, "k-1")

    assert (again.status, again.json["quantity"], again.json["limit_price"]) == (200, "11", "151.5")
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")
    assert len(changes(sim)) == 2


async def test_a_change_of_an_order_that_has_ended_is_answered_again(harness: Harness, sim: Simulator) -> None:
    """Its caller learns that the change was made, and what became of the order since."""
    order = (await place(harness, FAR_LIMIT, {"X-Bridge-Confirm": "o163"})).json
    await send_keyed_change(harness, order["id"], {"quantity": "11"}, "k-1")
    await harness.request("DELETE", f"/orders/{order['id']}")

    again = await send_keyed_change(harness, order["id"], {"quantity": "11"}, "k-1")

    assert (again.status, again.json["quantity"], again.json["status"]) == (200, "11", "cancelled")
    assert len(changes(sim)) == 1


async def test_a_refused_change_may_be_sent_again_with_its_key(harness: Harness, sim: Simulator) -> None:
    """It was never sent, so it is a new change, with its own complete ticket."""
    order = (await place(harness, FAR_LIMIT, {"X-Bridge-Confirm": "o163"})).json
    await harness.post("/gateway/pause")
    refused = await send_keyed_change(harness, order["id"], {"quantity": "11"}, "k-1")
    await harness.post("/gateway/resume")

    made = await send_keyed_change(harness, order["id"], {"quantity": "11"}, "k-1")

    assert (refused.status, made.status, made.json["quantity"]) == (403, 200, "11")
    assert [json.loads(body)["quantity"] for body in changes(sim)] == [11]


async def test_an_order_is_placed_although_ibkr_does_not_say_the_rules(harness: Harness, sim: Simulator) -> None:
    """IBKR says then itself whether it takes the order."""
    sim.faults.add("html-500", path="/iserver/contract/rules")

    assert (await place(harness, MARKET)).json["state"] == "placed"


@pytest.mark.parametrize("path", ["/iserver/contract/rules", "/trsrv/secdef"])
async def test_an_order_does_not_wait_long_for_what_it_can_do_without(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A market order that leaves after the time-out of a read meets another market."""
    for module in (order_calls, symbol_resolution):
        monkeypatch.setattr(module, "ORDER_CHECK_TIMEOUT_S", 0.1)
    sim.faults.add("silence", path=path)

    async with asyncio.timeout(harness.bridge.profile.settings.gateway_timeout_s / 2):
        order = (await place(harness, {**MARKET, "symbol": None, "conid": 272093})).json
        changed = await harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "1"})

    assert (order["state"], changed.code) == ("placed", "order_not_working")


async def test_what_an_order_needs_has_the_priority_of_orders(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a page that reads too much would stop its orders; what an order can do without may wait."""
    admission = harness.bridge.profile.admission
    seen: dict[str, Priority] = {}
    acquire = admission.acquire

    async def note(endpoint: Endpoint, priority: Priority, *args: Any, **kwargs: Any) -> Any:
        seen.setdefault(endpoint.path, priority)
        return await acquire(endpoint, priority, *args, **kwargs)

    monkeypatch.setattr(admission, "acquire", note)
    order = (await place(harness, FAR_LIMIT, CONFIRM_ALL)).json
    await harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "1"}, headers=CONFIRM_ALL)

    reads = ("/trsrv/{what}", "/iserver/account/order/status/{orderId}", "/iserver/contract/rules")
    assert [seen[path] for path in reads] == [Priority.ORDERS, Priority.ORDERS, Priority.READS]


async def test_a_change_that_ibkr_rejects_is_no_reason_for_another_order(harness: Harness, sim: Simulator) -> None:
    """The order still works: one that is sent as a new one would be the second."""
    order = (await place(harness, FAR_LIMIT, CONFIRM_ALL)).json
    sim.faults.add("status", path=f"/{ACCOUNT}/order/", status=400, body='{"error":"price is too far"}', times=1)

    reply = await harness.request("PATCH", f"/orders/{order['id']}", body={"limit_price": "151"}, headers=CONFIRM_ALL)

    assert (reply.status, reply.code) == (422, "order_rejected")
    assert (reply.json["detail"], "do not send it as a new one" in reply.json["hint"]) == (
        "IBKR rejected the change: price is too far",
        True,
    )


async def test_a_question_is_shown_and_answered(harness: Harness) -> None:
    """A page that is loaded again finds the question in the order."""
    asked = msgspec.json.decode((await place(harness, FAR_LIMIT)).body, type=Order)
    again = msgspec.json.decode((await harness.get(f"/orders/{asked.id}")).body, type=OrderDetails)

    assert asked.state.value == again.state.value == "question"
    assert asked.question is not None
    assert again.question is not None
    assert (asked.question.id, asked.question.texts) == (again.question.id, again.question.texts)
    assert "Are you sure" in asked.question.texts[0]
    assert asked.question.expires_at is not None
    assert (str(again.limit_price), again.symbol) == ("150.25", "AAPL")

    answered = await harness.post(f"/orders/{asked.id}/answer", {"confirm": True})

    order = msgspec.json.decode(answered.body, type=Order)
    assert (answered.status, order.state.value, order.status and order.status.value) == (200, "placed", "working")
    assert (order.question, order.order_id is not None) == (None, True)


async def test_the_answer_no_is_a_success(harness: Harness, sim: Simulator) -> None:
    """The order is not placed, as its caller wanted."""
    order = (await place(harness, FAR_LIMIT)).json

    reply = await harness.post(f"/orders/{order['id']}/answer", {"confirm": False})

    assert (reply.status, reply.json["id"], reply.json["state"]) == (200, order["id"], "not_placed")
    assert (await harness.get(f"/orders/{order['id']}")).json["state"] == "not_placed"
    assert sim.market.world.book.orders(sim.clock.now()) == []


async def test_an_answer_that_comes_twice_gets_the_same_order(harness: Harness, sim: Simulator) -> None:
    """It is not sent twice."""
    order = (await place(harness, FAR_LIMIT)).json
    replies = [await harness.post(f"/orders/{order['id']}/answer", {"confirm": True}) for _ in range(2)]

    assert [(reply.status, reply.json["state"]) for reply in replies] == [(200, "placed")] * 2
    assert len(sim.market.world.book.orders(sim.clock.now())) == 1


@pytest.mark.parametrize("order_id", ["nothing", "123"])
async def test_an_answer_to_no_question_is_refused(harness: Harness, order_id: str) -> None:
    """Neither the order nor the question exists."""
    reply = await harness.post(f"/orders/{order_id}/answer", {"confirm": True})

    assert (reply.status, reply.code) == (404, "order_not_found")


async def test_an_order_without_a_question_cannot_be_answered(harness: Harness) -> None:
    """It was placed at once."""
    order = (await place(harness, MARKET)).json

    reply = await harness.post(f"/orders/{order['id']}/answer", {"confirm": True, "question_id": "x"})

    assert (reply.status, reply.code) == (404, "reply_not_found")


async def place_working(harness: Harness, **extra: Any) -> dict[str, Any]:
    """Place an order that does not fill, and confirm IBKR's question."""
    reply = await place(harness, {**FAR_LIMIT, **extra}, {"X-Bridge-Confirm": "o163"})
    assert reply.json["status"] == "working", reply.json
    return dict(reply.json)


async def test_a_working_order_is_changed(harness: Harness) -> None:
    """What the change does not name stays as it is."""
    order = await place_working(harness)

    reply = await harness.request(
        "PATCH", f"/orders/{order['id']}", body={"limit_price": "151.5"}, headers={"X-Bridge-Confirm": "o163"}
    )

    shown = (await harness.get(f"/orders/{order['id']}")).json
    for changed in (reply.json, shown):
        assert (changed["id"], changed["limit_price"], changed["quantity"]) == (order["id"], "151.5", "10")
    assert reply.json["symbol"] == "AAPL"


async def test_a_question_about_a_change_is_answered_like_any_other(harness: Harness) -> None:
    """The answer of the change has an id of its own for that."""
    order = await place_working(harness)

    change = (await harness.request("PATCH", f"/orders/{order['id']}", body={"limit_price": "151.5"})).json
    answered = await harness.post(f"/orders/{change['id']}/answer", {"confirm": True})

    assert (change["kind"], change["state"], change["id"] != order["id"]) == ("modify", "question", True)
    assert (change["order_id"], change["symbol"], change["asset_class"]) == (order["order_id"], "AAPL", "stock")
    assert (answered.status, answered.json["state"]) == (200, "placed")
    assert (await harness.get(f"/orders/{order['id']}")).json["limit_price"] == "151.5"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, "quantity"),
        ({"stop_price": "1"}, "stop_price"),
        ({"quantity": "0"}, "quantity"),
        ({"trail": {"amount": "1"}}, "trail"),
        ({"side": "sell"}, "side"),
    ],
)
async def test_a_change_that_does_not_fit_is_refused(harness: Harness, change: dict[str, Any], field: str) -> None:
    """Nothing is sent."""
    order = await place_working(harness)

    reply = await harness.request("PATCH", f"/orders/{order['id']}", body=change)

    assert (reply.status, reply.code, reply.json["field"]) == (422, "validation_failed", field)


async def test_a_working_order_is_cancelled(harness: Harness) -> None:
    """A second cancel is told that the order is over."""
    order = await place_working(harness)

    first = await harness.request("DELETE", f"/orders/{order['id']}")
    second = await harness.request("DELETE", f"/orders/{order['id']}")

    assert (first.status, first.json["id"], first.json["status"]) == (200, order["id"], "cancelling")
    assert (first.json["symbol"], first.json["limit_price"]) == ("AAPL", "150.25")
    assert (await harness.get(f"/orders/{order['id']}")).json["status"] == "cancelled"
    assert (second.status, second.code) == (409, "order_not_working")


async def test_a_cancel_of_an_order_with_a_question_answers_no(harness: Harness) -> None:
    """IBKR does not have it yet, so there is nothing to cancel."""
    order = (await place(harness, FAR_LIMIT)).json

    reply = await harness.request("DELETE", f"/orders/{order['id']}")

    assert (reply.status, reply.json["state"]) == (200, "not_placed")


async def test_an_order_that_was_made_elsewhere_is_listed_and_cancelled(harness: Harness) -> None:
    """By IBKR's number."""
    raw = {"conid": 265598, "orderType": "LMT", "price": 150, "side": "BUY", "quantity": 1, "tif": "DAY"}
    body = {"orders": [raw]}
    await harness.post(f"/iserver/account/{ACCOUNT}/orders", body, headers={"X-Bridge-Confirm": "o163"})
    harness.bridge.profile.orders.repository.index._records.clear()
    (order,) = (await harness.get("/orders")).json["orders"]
    shown = (await harness.get(f"/orders/{order['id']}")).json

    cancelled = await harness.request("DELETE", f"/orders/{order['id']}")

    assert (order["origin"], order["state"], order["status"]) == ("elsewhere", "placed", "working")
    assert (shown["id"], shown["origin"], shown["events"]) == (order["id"], "elsewhere", [])
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelling")


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"symbol": None}, "symbol"),
        ({"conid": 1}, "symbol"),
        ({"quantity": None}, "quantity"),
        ({"cash_amount": "5"}, "quantity"),
        ({"quantity": "-1"}, "quantity"),
        ({"quantity": "NaN"}, "quantity"),
        ({"quantity": "1e400"}, "quantity"),
        ({"limit_price": "1"}, "limit_price"),
        ({"type": "limit"}, "limit_price"),
        ({"type": "stop"}, "stop_price"),
        ({"type": "trail"}, "trail"),
        ({"type": "nonsense"}, "type"),
        ({"side": "hold"}, "side"),
        ({"outside_hours": True}, "outside_hours"),
        ({"bracket": {}}, "bracket"),
        ({"bracket": {"take_profit": "1", "stop_loss": "2"}}, "bracket.take_profit"),
        ({"client_order_id": "with spaces"}, "client_order_id"),
        ({"client_order_id": "brdg-mine"}, "client_order_id"),
        ({"qty": "1"}, "qty"),
        ({"symbol": "../x"}, "symbol"),
    ],
)
async def test_a_wrong_ticket_is_refused_before_anything_is_sent(
    harness: Harness, sim: Simulator, extra: dict[str, Any], field: str
) -> None:
    """With the member that is to blame."""
    reply = await place(harness, {**MARKET, **extra})

    assert (reply.status, reply.code, reply.json["field"]) == (422, "validation_failed", field)
    assert placements(sim) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 5000])
async def test_a_body_that_is_no_ticket_is_refused(harness: Harness, body: bytes) -> None:
    """It is never an internal error."""
    reply = await harness.post(f"/accounts/{ACCOUNT}/orders", body)

    assert reply.code in ("bad_request", "validation_failed")


@pytest.mark.parametrize(
    ("account", "extra", "code"),
    [
        ("DU9999999", {}, "account_not_found"),
        (ACCOUNT, {"symbol": "NOPE"}, "instrument_not_found"),
        (ACCOUNT, {"symbol": None, "conid": 999}, "instrument_not_found"),
    ],
)
async def test_an_account_or_instrument_that_does_not_exist_is_not_found(
    harness: Harness, sim: Simulator, account: str, extra: dict[str, Any], code: str
) -> None:
    """Before anything is sent."""
    reply = await harness.post(f"/accounts/{account}/orders", {**MARKET, **extra})

    assert (reply.status, reply.code) == (404, code)
    assert placements(sim) == []


async def test_what_ibkr_rejects_is_an_error_with_the_order(harness: Harness) -> None:
    """The caller learns IBKR's words, and the id under which the journal has it."""
    first, second = [await place(harness, {**MARKET, "quantity": q, "client_order_id": "twice"}) for q in ("1", "2")]

    assert first.status == 200
    assert (second.status, second.code) == (409, "duplicate_order")


async def test_the_same_idempotency_key_places_one_order(harness: Harness, sim: Simulator) -> None:
    """Also a bracket, whose parent gets its name from the key."""
    bracket = {**MARKET, "bracket": {"take_profit": "900", "stop_loss": "1"}}
    for ticket, key in ((MARKET, "key-1"), (bracket, "key-2")):
        replies = [await place(harness, ticket, {"Idempotency-Key": key}) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200]
        assert replies[0].json["id"] == replies[1].json["id"]

    assert len(placements(sim)) == 2


async def test_a_bracket_is_one_order_with_two_that_close_it(harness: Harness, sim: Simulator) -> None:
    """The children carry the parent's name."""
    ticket = {**MARKET, "bracket": {"take_profit": "900", "stop_loss": "1"}}
    reply = await place(harness, ticket, {"X-Bridge-Confirm": "o163,o10331,o2137,o354,o383,o451"})

    assert len(reply.json["order_ids"]) == 3, reply.json
    assert reply.json["order_id"] == reply.json["order_ids"][0]
    orders = sorted(sim.market.world.book.orders(sim.clock.now()), key=lambda order: order.number)
    assert [(order.side, order.kind) for order in orders] == [("BUY", "MKT"), ("SELL", "LMT"), ("SELL", "STP")]


async def test_a_read_only_key_previews_and_places_nothing(open_harness: OpenHarness, sim: Simulator) -> None:
    """A preview is a read."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    path = f"/accounts/{ACCOUNT}/orders"

    preview = await harness.request("POST", f"{path}/preview", key=READONLY_KEY, body=MARKET)
    order = await harness.request("POST", path, key=READONLY_KEY, body=MARKET)

    assert msgspec.json.decode(preview.body, type=Preview).commission is not None
    assert (order.status, order.code) == (403, "insufficient_scope")
    assert placements(sim) == []


async def test_a_pause_refuses_orders_and_not_cancels(harness: Harness) -> None:
    """As on IBKR's own paths."""
    order = await place_working(harness)
    await harness.post("/gateway/pause")

    refused = await place(harness, MARKET)
    cancelled = await harness.request("DELETE", f"/orders/{order['id']}")

    assert (refused.status, refused.code) == (403, "trading_paused")
    assert refused.json["user_message"].startswith("Trading is paused")
    assert cancelled.status == 200


@pytest.mark.unanswered
async def test_a_lost_answer_is_an_unknown_order(harness: Harness, sim: Simulator) -> None:
    """The error says not to send it again."""
    sim.faults.add("cut-before", path=f"/{ACCOUNT}/orders$", times=1)

    reply = await place(harness, MARKET)

    assert (reply.status, reply.code) == (502, "order_unknown")
    assert reply.json["action"]["kind"] == "wait"
    assert reply.headers["X-Bridge-Order"]


async def test_the_same_key_finds_its_order_while_ibkr_describes_nothing(harness: Harness, sim: Simulator) -> None:
    """What was sent first depends on the request alone."""
    first = await place(harness, MARKET, {"Idempotency-Key": "key-1"})
    sim.faults.add("status", path="/trsrv/secdef", status=503)
    symbol_resolution._DIRECTORIES.clear()  # as after a restart

    second = await place(harness, MARKET, {"Idempotency-Key": "key-1"})

    assert (second.status, second.json["id"]) == (200, first.json["id"])
    assert len(placements(sim)) == 1


async def test_the_answer_to_a_cancel_shows_the_order_as_it_was_changed(harness: Harness) -> None:
    """Not as it was placed."""
    order = await place_working(harness)
    confirm = {"X-Bridge-Confirm": "o163"}
    await harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "5"}, headers=confirm)

    cancelled = (await harness.request("DELETE", f"/orders/{order['id']}")).json

    assert (cancelled["quantity"], cancelled["limit_price"], cancelled["currency"]) == ("5", "150.25", "USD")


async def test_an_order_that_is_over_is_not_changed(harness: Harness, sim: Simulator) -> None:
    """Nothing is sent."""
    order = (await place(harness, MARKET)).json
    while (await harness.get(f"/orders/{order['id']}")).json["status"] != "filled":
        pass
    before = len(sim.calls())

    reply = await harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "5"})

    assert (reply.status, reply.code) == (409, "order_not_working")
    assert not [call for call in sim.calls()[before:] if call.method == "POST"]


async def test_a_change_that_a_cancel_overtakes_is_no_rejected_ticket(harness: Harness, sim: Simulator) -> None:
    """The order had ended when the change came to IBKR; its ticket was good."""
    order = (await place(harness, FAR_LIMIT, {"X-Bridge-Confirm": "o163"})).json
    sim.faults.add("delay", path="order/status", times=1, seconds=0.4)
    changing = asyncio.create_task(
        harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "11"}, headers=CONFIRM_ALL)
    )
    await sim.wait_for_calls("order/status")
    sim.market.world.book.cancel([int(order["order_id"])], sim.clock.now())

    changed = await changing

    assert (changed.status, changed.code) == (409, "order_not_working")


BRACKET = {**FAR_LIMIT, "bracket": {"take_profit": "900", "stop_loss": "1"}}
CONFIRM_ALL = {"X-Bridge-Confirm": "o163,o10331,o2137,o354,o383,o451"}


async def test_a_child_of_a_bracket_is_changed_and_cancelled_by_its_number(harness: Harness, sim: Simulator) -> None:
    """And not its parent, which is the order that the journal has."""
    parent, profit, loss = (await place(harness, BRACKET, CONFIRM_ALL)).json["order_ids"]
    before = len(sim.calls())

    changes = {"limit_price": "800"}
    changed = await harness.request("PATCH", f"/orders/{profit}", body=changes, headers=CONFIRM_ALL)
    shown = (await harness.get(f"/orders/{profit}")).json
    cancelled = await harness.request("DELETE", f"/orders/{loss}")

    assert (changed.status, changed.json["order_id"], changed.json["limit_price"]) == (200, profit, "800")
    assert (shown["order_id"], shown["side"], shown["limit_price"]) == (profit, "sell", "800")
    assert shown["origin"] == "bridge"
    assert (cancelled.status, cancelled.json["order_id"], cancelled.json["status"]) == (200, loss, "cancelling")
    targets = {call.target.rpartition("/")[2] for call in sim.calls()[before:] if "/order/" in call.target}
    assert targets & {parent, profit, loss} == {profit, loss}
    assert (await harness.get(f"/orders/{parent}")).json["limit_price"] == "150.25"


async def test_ibkrs_number_names_the_order_and_not_its_changes(harness: Harness) -> None:
    """Although the journal has the number with each of them."""
    order = await place_working(harness)
    path, change = f"/orders/{order['order_id']}", {"quantity": "5"}
    await harness.request("PATCH", path, body=change, headers=CONFIRM_ALL)

    replies = [await harness.get(path), await harness.request("DELETE", path), await harness.get(path)]

    assert [(reply.json["id"], reply.json["kind"]) for reply in replies] == [(order["id"], "place")] * 3
    assert replies[-1].json["status"] == "cancelled"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_order_is_not_called_missing_while_ibkr_cannot_be_asked(
    harness: Harness, sim: Simulator, method: str
) -> None:
    """An app that is told 404 would take it for gone, and it may work and fill."""
    order = await place_working(harness)
    harness.bridge.profile.orders.repository.index._records.clear()
    sim.faults.add("sso-lost")
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    body = {"quantity": "5"} if method == "PATCH" else None
    reply = await harness.request(method, f"/orders/{order['order_id']}", body=body)

    assert (reply.status, reply.code) == (503, "session_unavailable")


async def test_an_order_that_no_longer_works_outside_hours_stays_so(harness: Harness, sim: Simulator) -> None:
    """Also when something else is changed later."""
    order = await place_working(harness, outside_hours=True)
    before = len(sim.calls())

    for change in ({"outside_hours": False}, {"limit_price": "151"}):
        reply = await harness.request("PATCH", f"/orders/{order['id']}", body=change, headers=CONFIRM_ALL)
        assert (reply.status, reply.json["outside_hours"]) == (200, False)

    sent = [json.loads(call.body) for call in sim.calls()[before:] if call.body and "/order/" in call.target]
    assert [each["outsideRTH"] for each in sent] == [False, False]


@pytest.mark.parametrize("instrument", [{"symbol": "MSFT"}, {"symbol": None, "conid": 272093}])
@pytest.mark.parametrize("has_key", [True, False])
async def test_an_order_that_is_sent_again_after_the_login_has_ended_is_the_same(
    harness: Harness, sim: Simulator, instrument: dict[str, Any], has_key: bool
) -> None:
    """Its caller must not hear that nothing happened: the order is placed."""
    name = {} if has_key else {"client_order_id": "mine-1"}
    headers = {"Idempotency-Key": "key-1"} if has_key else None
    ticket = {**MARKET, **instrument, **name}
    first = await place(harness, ticket, headers)
    sim.faults.add("sso-lost")
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    symbol_resolution._DIRECTORIES.clear()  # as after a restart

    second = await place(harness, ticket, headers)
    other = await place(harness, {**ticket, "quantity": "3"}, headers)

    assert (second.status, second.json["id"], second.json["state"]) == (200, first.json["id"], "placed")
    assert other.code == ("idempotency_mismatch" if has_key else "duplicate_order")
    assert len(placements(sim)) == 1


async def test_a_name_that_is_free_again_belongs_to_a_new_order(harness: Harness, sim: Simulator) -> None:
    """It is for the instrument that the caller names now, and is checked as every other."""
    name = {"client_order_id": "mine-1"}
    asked = (await place(harness, {**FAR_LIMIT, **name})).json
    await harness.post(f"/orders/{asked['id']}/answer", {"confirm": False})

    refused = await place(harness, {**MARKET, **name, "type": "limit", "limit_price": "190.255"})
    order = (await place(harness, {**MARKET, **name})).json

    assert (refused.code, refused.json["field"]) == ("validation_failed", "limit_price")
    assert (order["state"], order["symbol"], order["conid"]) == ("placed", "MSFT", 272093)
    assert json.loads(placements(sim)[-1])["orders"][0]["conid"] == 272093


async def test_a_repeat_of_an_order_that_ends_meanwhile_is_not_sent(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its instrument was taken from the earlier order, and nobody has checked it."""
    name, repository = {"client_order_id": "mine-1"}, harness.bridge.profile.orders.repository
    asked = (await place(harness, {**FAR_LIMIT, **name})).json
    earlier = repository.index.find(asked["id"])
    await harness.post(f"/orders/{asked['id']}/answer", {"confirm": False})
    monkeypatch.setattr(repository.index, "find_by_identity", lambda *_: earlier)  # as it was a moment ago

    reply = await place(harness, {**MARKET, **name})

    assert (reply.status, reply.code) == (409, "order_in_progress")
    assert len(placements(sim)) == 1


async def test_an_order_of_another_account_is_not_the_same(harness: Harness, sim: Simulator) -> None:
    """The account is looked up as ever."""
    await place(harness, MARKET, {"Idempotency-Key": "key-1"})

    reply = await harness.post("/accounts/DU9999999/orders", MARKET, headers={"Idempotency-Key": "key-1"})

    assert reply.code == "account_not_found"
    assert len(placements(sim)) == 1


async def test_half_a_character_in_ibkrs_words_spoils_no_order(harness: Harness, sim: Simulator) -> None:
    """The order exists, so the answer must say so."""
    body = '[{"order_id":"77","order_status":"Submitted","warning_message":"cut \\ud83d"}]'
    sim.faults.add("status", path=f"/{ACCOUNT}/orders$", status=200, body=body, times=1)

    reply = await place(harness, MARKET)

    assert (reply.status, reply.json["order_id"], reply.json["warnings"]) == (200, "77", ["cut \ufffd"])
    assert (await harness.get(f"/orders/{reply.json['id']}")).json["order_id"] == "77"


async def test_an_order_for_money_becomes_none_for_shares(harness: Harness, sim: Simulator) -> None:
    """A change of its limit sent the amount as the quantity."""
    ticket = {**FAR_LIMIT, "quantity": None, "cash_amount": "1000"}
    order = (await place(harness, ticket, CONFIRM_ALL)).json
    before = len(sim.calls())

    reply = await harness.request("PATCH", f"/orders/{order['id']}", body={"limit_price": "151"}, headers=CONFIRM_ALL)

    assert (order["status"], reply.status, reply.code) == ("working", 422, "validation_failed")
    assert not [call for call in sim.calls()[before:] if call.method == "POST"]
