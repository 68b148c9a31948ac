"""Changing, answering and cancelling orders with the plain API."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ibkr_bridge.models.orders import Order, OrderDetails
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.api.plain.order_helpers import (
    ACCOUNT,
    BRACKET,
    CONFIRM_ALL,
    FAR_LIMIT,
    MARKET,
    changes,
    place,
    place_working,
    send_keyed_change,
)
from tests.harness import Harness


async def test_a_change_keeps_the_rules_of_the_contract(harness: Harness, sim: Simulator) -> None:
    """Its prices are multiples of the step."""
    order = (await place(harness, FAR_LIMIT, {"X-Bridge-Confirm": "o163"})).json

    refused = await harness.request("PATCH", f"/orders/{order['id']}", body={"limit_price": "151.505"})

    assert (refused.status, refused.json["field"]) == (422, "limit_price")


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


async def test_an_order_for_money_becomes_none_for_shares(harness: Harness, sim: Simulator) -> None:
    """A change of its limit sent the amount as the quantity."""
    ticket = {**FAR_LIMIT, "quantity": None, "cash_amount": "1000"}
    order = (await place(harness, ticket, CONFIRM_ALL)).json
    before = len(sim.calls())

    reply = await harness.request("PATCH", f"/orders/{order['id']}", body={"limit_price": "151"}, headers=CONFIRM_ALL)

    assert (order["status"], reply.status, reply.code) == ("working", 422, "validation_failed")
    assert not [call for call in sim.calls()[before:] if call.method == "POST"]
