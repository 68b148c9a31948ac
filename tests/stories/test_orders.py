"""An order placed through the bridge ends in exactly one way, and the journal knows which."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge import events
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.server import delivery
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from tests.conftest import OpenHarness
from tests.harness import KEY, PREVIOUS_KEY, TEST_TIMEOUT_S, Harness, Placement, Reply, settings_for, with_timeout

ORDER = Placement()
LIMIT = Placement(extra={"orderType": "LMT", "price": 187.5})  # IBKR asks no question and does not fill it
FAR = Placement(extra={"orderType": "LMT", "price": 100})  # IBKR asks o163
FAR_AND_LARGE = Placement(quantity=501, extra={"orderType": "LMT", "price": 100})  # IBKR asks o163, then o383
ORDERS = "/DU1234567/orders$"  # placements, not the list


def order_of(reply: Reply) -> tuple[str, str]:
    """The id in the journal and the state, as the response names them."""
    return reply.headers["X-Bridge-Order"], reply.headers["X-Bridge-Order-State"]


def sent(sim: MarketStage, part: str = ORDER.target) -> list[Any]:
    """The bodies of the orders that reached IBKR, in order."""
    return [json.loads(call.body) for call in sim.calls(part) if call.method == "POST" and "whatif" not in call.target]


async def place(harness: Harness, placement: Placement = ORDER, **headers: str) -> Reply:
    """Place an order."""
    return await harness.post(
        placement.target, placement.body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


async def story(harness: Harness, order: str) -> list[str]:
    """The events of an order in the journal."""
    return [event["what"] for event in (await harness.get(f"/orders/{order}")).json["events"]]


async def wait_until_one_waits(harness: Harness) -> None:
    """Wait until an order waits for the lock."""
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while not harness.bridge.profile.orders.submitter.lock._waiting:
            await asyncio.sleep(0)


async def place_and_hang_up(harness: Harness, placement: Placement, sim: MarketStage, **headers: str) -> None:
    """Place an order and hang up when it has reached IBKR."""
    body = json.dumps(placement.body).encode()
    all_headers = {"Host": "localhost", "X-Bridge-Key": KEY, "Content-Type": "application/json", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    count_before = len(sent(sim))
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"POST {placement.target} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await with_timeout(sim.wait_for_calls(placement.target, count_before + 1))
    writer.close()


# -- orders without a fault


async def test_an_order_is_placed_and_can_be_found_again(harness: Harness, sim: MarketStage) -> None:
    """The bridge adds a cOID; the rest of the body is unchanged."""
    reply = await place(harness)

    order, state = order_of(reply)
    assert (reply.status, state) == (200, "placed")
    assert sent(sim) == [{"orders": [{"cOID": f"brdg-{order}", **ORDER.body["orders"][0]}]}]
    assert (await harness.get(f"/orders/{order}")).json["order_id"] == reply.json[0]["order_id"]
    assert await story(harness, order) == ["sent", "taken", "told"]


async def test_the_callers_bytes_are_sent_unchanged(harness: Harness, sim: MarketStage) -> None:
    """Only the cOID is inserted; numbers keep their form."""
    ticket = b'{"acctId":"DU1234567", "conid":265598,"orderType":"LMT","price":1.8750e2 ,"side":"BUY","quantity":1.0}'
    body = b'{ "orders" : [ ' + ticket + b"]}"

    reply = await harness.post(ORDER.target, body)

    name = f'"cOID":"brdg-{order_of(reply)[0]}",'.encode()
    assert sim.calls(ORDER.target)[0].body == body.replace(b'{"acctId"', b"{" + name + b'"acctId"')


async def test_added_coids_can_be_turned_off(open_harness: OpenHarness, sim: MarketStage) -> None:
    """Then the body is exactly the caller's."""
    harness = await open_harness(IBKR_BRIDGE_ADD_COID="no")

    await place(harness)

    assert sent(sim) == [ORDER.body]


async def test_an_error_in_a_200_of_ibkr_is_a_rejection(harness: Harness) -> None:
    """The caller gets the response unchanged."""
    first = await place(harness, Placement(extra={"cOID": "mine"}))
    harness.bridge.profile.orders.repository.index.remove(
        harness.bridge.profile.orders.repository.index.find(order_of(first)[0])  # type: ignore[arg-type]  # the index has it
    )

    reply = await place(harness, Placement(extra={"cOID": "mine"}))

    assert (reply.status, order_of(reply)[1]) == (200, "rejected")
    assert "already registered" in reply.json["error"]
    assert "already registered" in (await harness.get(f"/orders/{order_of(reply)[0]}")).json["error"]


async def test_an_order_that_the_bridge_refuses_is_in_the_journal_too(harness: Harness, sim: MarketStage) -> None:
    """With the error code; a repeated refusal adds no entry."""
    await harness.post("/gateway/pause")

    first, second = await place(harness), await place(harness)

    assert (first.status, first.code, order_of(first)[1]) == (403, "trading_paused", "refused")
    assert order_of(first) == order_of(second)
    entries = (await harness.get(f"/orders/{order_of(first)[0]}")).json["events"]
    assert [event["code"] for event in entries] == ["trading_paused"]
    assert sent(sim) == []


@pytest.mark.parametrize("body", [b"[]", b'{"orders":[]}', b'{"orders":["x"]}', b'"x"', b"{}", b'{"orders":{"a":1}}'])
async def test_a_placement_without_tickets_is_refused(harness: Harness, sim: MarketStage, body: bytes) -> None:
    """Such an order could not be found again if its response were lost."""
    reply = await harness.post(ORDER.target, body)

    assert (reply.status, reply.code, order_of(reply)[1]) == (400, "bad_request", "refused")
    assert sent(sim) == []


async def test_the_events_show_no_account_number(harness: Harness) -> None:
    """It shows neither the key nor the digest of the key."""
    reply = await place(harness)

    order, order_list = await harness.get(f"/orders/{order_of(reply)[0]}"), await harness.get("/orders")
    assert "DU1234567" not in str(order.json["events"])
    assert (order.json["account"], "owner" in order.body.decode()) == ("DU1234567", False)
    assert list(order.json) == [*order_list.json["orders"][0], "events"]


async def test_events_connect_request_journal_and_ibkr(harness: Harness) -> None:
    """A search for one of the ids finds the others."""
    reply = await harness.post(ORDER.target, ORDER.body, headers={"X-Request-ID": "joined-up"})

    changes = [event for event in harness.events_seen if isinstance(event, events.OrderChanged)]
    assert [event.event for event in changes] == ["order.sent", "order.placed"]
    assert {(event.request_id, event.order) for event in changes} == {("joined-up", order_of(reply)[0])}
    assert changes[1].order_id == reply.json[0]["order_id"]


# -- lost responses

FAULTS = ["cut-before", "cut-in", "garble", "silence", "stall-in", "die-in", "drop", "empty-503"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.unanswered
async def test_an_order_whose_response_is_lost_is_searched_for(harness: Harness, sim: MarketStage, fault: str) -> None:
    """It reached IBKR, and it is found by its cOID, however the response was lost."""
    sim.faults.add(fault, path=ORDERS, times=1, done=True)

    reply = await place(harness)

    order, state = order_of(reply)
    assert (reply.status, reply.code, state) == (502, "order_unknown", "unknown")
    assert order in reply.json["detail"]
    assert await harness.wait_until_settled(order) == "placed"
    shown = (await harness.get(f"/orders/{order}")).json
    assert (shown["order_id"], shown["error"]) == ("1000000001", None)
    assert len(sent(sim)) == 1


@pytest.mark.parametrize("fault", ["cut-before", "silence", "drop", "empty-503", "garble"])
@pytest.mark.unanswered
async def test_an_order_that_never_reached_ibkr_is_recorded_as_not_placed(
    harness: Harness, sim: MarketStage, fault: str
) -> None:
    """After a search, which the journal describes."""
    sim.faults.add(fault, path=ORDERS, times=1, done=False)

    order, _ = order_of(await place(harness))

    assert await harness.wait_until_settled(order) == "not_placed"
    last = (await harness.get(f"/orders/{order}")).json["events"][-1]
    assert (last["what"], "searched for" in last["error"]) == ("missed", True)
    assert (await harness.get("/orders?state=unknown")).json["orders"] == []


@pytest.mark.parametrize("fault", ["html-500", "maintenance", "empty-503"])
async def test_an_order_that_is_answered_with_a_page_is_unknown(harness: Harness, sim: MarketStage, fault: str) -> None:
    """The page does not show whether the order exists. The bridge finds out, and a repetition gets the same error."""
    sim.faults.add(fault, path=ORDERS, times=1)

    reply = await place(harness, Idempotency_Key="k")
    again = await place(harness, Idempotency_Key="k")

    assert (reply.status, reply.code, order_of(reply)[1]) == (502, "order_unknown", "unknown")
    assert again.body == reply.body
    assert await harness.wait_until_settled(order_of(reply)[0]) == "not_placed"


@pytest.mark.unanswered
async def test_a_response_that_comes_late_settles_the_order(harness: Harness, sim: MarketStage) -> None:
    """The bridge reads on after the deadline, as IBKR's own response is the best evidence."""
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _fetch_nothing
    sim.faults.add("delay", path=ORDERS, times=1, seconds=2.0)

    order, state = order_of(await place(harness))

    assert state == "unknown"
    assert await harness.wait_until_settled(order) == "placed"
    assert (await story(harness, order))[-1] == "taken"


@pytest.mark.unanswered
async def test_a_question_that_comes_late_is_declined(harness: Harness, sim: MarketStage) -> None:
    """Its caller has left, so nobody can answer it."""
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _fetch_nothing
    sim.faults.add("delay", path=ORDERS, times=1, seconds=2.0)

    order, _ = order_of(await place(harness, FAR))

    assert await harness.wait_until_settled(order) == "not_placed"
    await with_timeout(sim.wait_for_calls("/iserver/reply/"))
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": False}]


@pytest.mark.unanswered
async def test_an_order_that_is_found_after_it_was_given_up_raises_an_alarm(harness: Harness, sim: MarketStage) -> None:
    """A list of orders that a caller requested is evidence too."""
    sim.faults.add("drop", path=ORDERS, times=1)
    order, _ = order_of(await place(harness, Placement(extra={"cOID": "late-one"})))
    await harness.wait_until_settled(order, "not_placed")

    await add_to_book(sim, "late-one")
    await harness.get("/iserver/account/orders")

    assert await harness.wait_until_settled(order, "placed") == "placed"
    assert [event.event for event in await harness.wait_for_events(events.OrderPlacedLate)] == ["order.placed_late"]


async def add_to_book(sim: MarketStage, coid: str) -> None:
    """Add an order to the book, as if the Gateway's queue had sent it on late."""
    world = sim.market.world
    from ibkr_bridge.sim.market.tickets import read_ticket

    ticket = {**ORDER.body["orders"][0], "cOID": coid}
    world.book.add(read_ticket(ticket, "DU1234567", world.quotes, sim.clock.now()))


async def _fetch_nothing(_: str | None) -> None:
    return None


async def test_an_order_without_a_coid_is_compared_with_similar_orders(
    open_harness: OpenHarness, sim: MarketStage
) -> None:
    """That can prove only that it does not exist. If a similar order exists, the state stays open, with the reason."""
    harness = await open_harness(IBKR_BRIDGE_ADD_COID="no")
    sim.faults.add("cut-before", path=ORDERS, times=1, done=False)
    not_sent = order_of(await place(harness, LIMIT))[0]
    assert await harness.wait_until_settled(not_sent) == "not_placed"
    await place(harness, Placement(extra={"side": "SELL", "orderType": "LMT", "price": 193}))
    sim.faults.add("cut-before", path=ORDERS, times=1, done=True)

    order = order_of(await place(harness))[0]
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while "similar orders exist" not in str((await harness.get(f"/orders/{order}")).json["error"]):
            pass  # each request lets the loop run

    assert harness.state_of(order) == "unknown"


async def test_a_cancel_whose_response_is_lost_is_searched_for(harness: Harness, sim: MarketStage) -> None:
    """The state of the order shows whether it was cancelled."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    sim.faults.add("cut-before", path=number, times=1, done=True)

    reply = await harness.request("DELETE", f"/iserver/account/DU1234567/order/{number}")

    assert (reply.code, order_of(reply)[1]) == ("order_unknown", "unknown")
    assert await harness.wait_until_settled(order_of(reply)[0]) == "placed"


async def test_a_change_whose_response_is_lost_is_searched_for(harness: Harness, sim: MarketStage) -> None:
    """The price of the order shows whether it was changed."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    target = f"/iserver/account/DU1234567/order/{number}"
    changed = {**LIMIT.body["orders"][0], "price": 187.4}
    sim.faults.add("cut-before", path=number, times=1, done=True)
    executed = await harness.post(target, changed)
    sim.faults.add("cut-before", path=number, times=1, done=False)
    not_executed = await harness.post(target, {**changed, "price": 187.3})

    assert await harness.wait_until_settled(order_of(executed)[0]) == "placed"
    assert await harness.wait_until_settled(order_of(not_executed)[0]) == "not_placed"


# -- repeated orders


async def test_an_idempotency_key_is_one_order(harness: Harness, sim: MarketStage) -> None:
    """The second call gets the same response, byte for byte."""
    first = await place(harness, Idempotency_Key='"8e03978e-40d5"')
    second = await place(harness, Idempotency_Key="8e03978e-40d5")

    assert (first.status, first.body, order_of(first)) == (second.status, second.body, order_of(second))
    assert second.headers["X-Bridge-Source"] == "cache"
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_repeats_even_the_error_of_a_lost_response(harness: Harness, sim: MarketStage) -> None:
    """The body is that of the first response; the header has the current state."""
    sim.faults.add("cut-before", path=ORDERS, times=1, done=True)
    first = await place(harness, Idempotency_Key="k")
    await harness.wait_until_settled(order_of(first)[0])

    second = await place(harness, Idempotency_Key="k")

    assert (first.status, first.body) == (second.status, second.body)
    assert order_of(second) == (order_of(first)[0], "placed")
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_repeats_a_question(harness: Harness, sim: MarketStage) -> None:
    """The key repeats the first response although the question was answered since; the cOID gets the latest one."""
    order = Placement(extra={"orderType": "LMT", "price": 100, "cOID": "mine"})
    first = await place(harness, order, Idempotency_Key="k")
    reply = await harness.post(f"/iserver/reply/{first.json[0]['id']}", {"confirmed": True})

    by_key, by_coid = await place(harness, order, Idempotency_Key="k"), await place(harness, order)

    assert (by_key.body, by_coid.body) == (first.body, reply.body)
    assert order_of(by_key) == order_of(by_coid) == (order_of(first)[0], "placed")


async def test_an_idempotency_key_with_another_body_is_refused(harness: Harness, sim: MarketStage) -> None:
    """It is a mistake of the caller."""
    await place(harness, Idempotency_Key="k")

    reply = await place(harness, LIMIT, Idempotency_Key="k")

    assert (reply.status, reply.code) == (422, "idempotency_mismatch")
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_of_a_call_in_flight_is_refused(harness: Harness, sim: MarketStage) -> None:
    """No second order is sent, and there is no response to repeat yet."""
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.5)
    first = asyncio.create_task(place(harness, Idempotency_Key="k"))
    await with_timeout(sim.wait_for_calls(ORDER.target))

    reply = await place(harness, Idempotency_Key="k")

    assert (reply.status, reply.code) == (409, "order_in_progress")
    assert (await first).status == 200
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_outlives_a_restart(open_harness: OpenHarness, sim: MarketStage) -> None:
    """It is valid for a day."""
    harness = await open_harness()
    first = await place(harness, Idempotency_Key="k")
    await harness.finish()
    restarted = await open_harness()

    second = await place(restarted, Idempotency_Key="k")

    assert (first.body, order_of(first)) == (second.body, order_of(second))
    assert len(sent(sim)) == 1


async def test_a_refused_order_may_be_sent_with_the_same_key(harness: Harness, sim: MarketStage) -> None:
    """Nothing was sent, so there is no response to repeat."""
    await harness.post("/gateway/pause")
    refused = await place(harness, Idempotency_Key="k")
    await harness.post("/gateway/resume")

    reply = await place(harness, Idempotency_Key="k")

    assert (refused.status, reply.status, order_of(reply)[1]) == (403, 200, "placed")


@pytest.mark.parametrize("value", ["", '""', "ä", "x" * 256, '"open'])
async def test_an_invalid_idempotency_key_is_refused(harness: Harness, sim: MarketStage, value: str) -> None:
    """Ignoring it would allow a double order."""
    reply = await place(harness, Idempotency_Key=value)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert sent(sim) == []


async def test_the_same_coid_twice_is_one_order(harness: Harness, sim: MarketStage) -> None:
    """The second call gets the response of the first."""
    mine = Placement(extra={"cOID": "mine-1"})

    first, second = await place(harness, mine), await place(harness, mine)

    assert (first.body, order_of(first)) == (second.body, order_of(second))
    assert len(sent(sim)) == 1


async def test_the_same_coid_for_another_order_is_refused(harness: Harness, sim: MarketStage) -> None:
    """The bridge refuses it before IBKR would."""
    await place(harness, Placement(extra={"cOID": "mine-1"}))

    reply = await place(harness, Placement(quantity=2, extra={"cOID": "mine-1"}))

    assert (reply.status, reply.code, order_of(reply)[1]) == (409, "duplicate_order", "refused")
    assert len(sent(sim)) == 1


async def test_two_equal_orders_one_after_the_other_stay_two(harness: Harness, sim: MarketStage) -> None:
    """The first response was delivered, so the second call is a new order."""
    first, second = await place(harness), await place(harness)

    assert order_of(first)[0] != order_of(second)[0]
    assert len(sent(sim)) == 2


async def test_a_call_repeated_after_a_timeout_is_one_order(harness: Harness, sim: MarketStage) -> None:
    """Some clients repeat a POST when their timeout has passed."""
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.4)
    await place_and_hang_up(harness, ORDER, sim)

    reply = await place(harness)
    later = await place(harness)

    assert (reply.status, order_of(reply)[1], reply.headers["X-Bridge-Source"]) == (200, "placed", "shared")
    assert order_of(later)[0] != order_of(reply)[0]
    assert len(sent(sim)) == 2


async def test_a_call_repeated_after_an_undelivered_response_is_one_order(harness: Harness, sim: MarketStage) -> None:
    """The first caller hung up before the response came; the repeated call gets it."""
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.2)
    await place_and_hang_up(harness, ORDER, sim)
    undelivered = await harness.wait_for_events(events.OrderResponseUndelivered)

    reply = await place(harness)

    assert (order_of(reply), reply.headers["X-Bridge-Source"]) == ((undelivered[0].order, "placed"), "cache")  # type: ignore[attr-defined]
    assert len(sent(sim)) == 1


async def test_an_equal_order_while_the_first_is_searched_for_must_be_confirmed(
    harness: Harness, sim: MarketStage
) -> None:
    """Its caller was told that the outcome is unknown, and must confirm that they want another order."""
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _fetch_nothing
    sim.faults.add("cut-before", path=ORDERS, times=1, done=True)
    await place(harness)

    refused, confirmed = await place(harness), await place(harness, X_Bridge_Confirm="unknown-open")

    assert (refused.status, refused.code) == (409, "order_in_progress")
    assert confirmed.status == 200
    assert len(sent(sim)) == 2


async def test_a_bracket_has_one_coid(harness: Harness, sim: MarketStage) -> None:
    """It belongs to the parent, and the children refer to it."""
    base = {"acctId": "DU1234567", "conid": 265598, "tif": "GTC", "quantity": 1}
    parent = {**base, "orderType": "LMT", "price": 187.5, "side": "BUY"}
    child = {**base, "orderType": "LMT", "price": 192, "side": "SELL", "parentId": "bracket-1"}

    reply = await harness.post(ORDER.target, {"orders": [parent, child]})

    assert [ticket.get("cOID") for ticket in sent(sim)[0]["orders"]] == ["bracket-1", None]
    assert [row["order_id"] for row in reply.json] == ["1000000001", "1000000002"]


# -- questions


async def test_a_question_is_passed_on_and_its_reply_too(harness: Harness, sim: MarketStage) -> None:
    """Both are unchanged."""
    question = await place(harness, FAR)
    reply = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert (question.json[0]["messageIds"], order_of(question)[1]) == (["o163"], "question")
    assert order_of(reply) == (order_of(question)[0], "placed")
    assert await story(harness, order_of(question)[0]) == ["sent", "asked", "told", "confirmed", "taken", "told"]


async def test_a_question_can_be_declined(harness: Harness, sim: MarketStage) -> None:
    """Declining is allowed even while trading is paused."""
    question = await place(harness, FAR)
    await harness.post("/gateway/pause")

    reply = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": False})
    await harness.post("/gateway/resume")

    assert order_of(reply) == (order_of(question)[0], "not_placed")
    assert (await place(harness)).status == 200


async def test_a_confirmation_is_checked_like_an_order(harness: Harness, sim: MarketStage) -> None:
    """The confirmation places the order. If it is refused, the question stays open and may be declined."""
    question = await place(harness, FAR)
    await harness.post("/gateway/pause")

    reply = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert (reply.status, reply.code, order_of(reply)[1]) == (403, "trading_paused", "question")
    assert sim.calls("/iserver/reply/") == []


async def test_only_listed_questions_are_confirmed(harness: Harness, sim: MarketStage) -> None:
    """The caller gets the first question whose id is not listed."""
    all_listed = await place(harness, FAR_AND_LARGE, X_Bridge_Confirm="o163, o383")
    one_listed = await place(harness, FAR_AND_LARGE, X_Bridge_Confirm="o163")

    assert order_of(all_listed)[1] == "placed"
    assert (order_of(one_listed)[1], one_listed.json[0]["messageIds"]) == ("question", ["o383"])


async def test_an_endless_chain_of_questions_is_handed_to_its_caller(harness: Harness, sim: MarketStage) -> None:
    """After twenty confirmations a person should look at it."""
    question = '[{"id":"00000000-0000","message":["sure?"],"messageIds":["o163"]}]'
    sim.faults.add("status", path="/iserver/reply/", status=200, body=question)

    reply = await place(harness, FAR, X_Bridge_Confirm="o163")

    assert order_of(reply)[1] == "question"
    assert len(sim.calls("/iserver/reply/")) == 20


@pytest.mark.parametrize(
    "body",
    [{}, {"confirmed": "true"}, {"confirmed": None}, {"confirmed": 1}, [], b'{"confirmed":true,"confirmed":false}'],
)
async def test_a_reply_that_is_neither_true_nor_false_is_refused(
    harness: Harness, sim: MarketStage, body: object
) -> None:
    """It is not sent."""
    question = await place(harness, FAR)

    reply = await harness.post(f"/iserver/reply/{question.json[0]['id']}", body)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert sim.calls("/iserver/reply/") == []


async def test_unknown_reply_ids_are_refused(harness: Harness, sim: MarketStage) -> None:
    """The bridge accepts only ids that it has passed on itself."""
    reply = await harness.post("/iserver/reply/30453164-28e4-5059-94db-83f4d822035c", {"confirmed": True})

    assert (reply.status, reply.code) == (404, "reply_not_found")
    assert sim.calls("/iserver/reply/") == []


async def test_a_question_belongs_to_the_key_of_its_order(open_harness: OpenHarness, sim: MarketStage) -> None:
    """Another key can neither confirm nor decline it."""
    harness = await open_harness(IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS_KEY)
    question = await place(harness, FAR)
    target = f"/iserver/reply/{question.json[0]['id']}"

    foreign = await harness.post(target, {"confirmed": True}, key=PREVIOUS_KEY)
    own = await harness.post(target, {"confirmed": True})

    assert (foreign.status, foreign.code) == (409, "order_in_progress")
    assert order_of(own)[1] == "placed"


async def test_other_orders_wait_while_a_question_is_open(open_harness: OpenHarness, sim: MarketStage) -> None:
    """After their waiting time the error names the order of the question. The question stays open."""
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.2")
    question = await place(harness, FAR)

    refused = await place(harness)
    preview = await harness.post(f"{ORDER.target}/whatif", ORDER.body)
    reply = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert (refused.status, refused.code, order_of(question)[0] in refused.json["detail"]) == (
        409,
        "order_in_progress",
        True,
    )
    assert int(refused.headers["Retry-After"]) > 50
    assert (preview.status, preview.code) == (409, "order_in_progress")
    assert order_of(reply)[1] == "placed"


async def test_a_waiting_order_is_sent_when_the_question_is_answered(harness: Harness, sim: MarketStage) -> None:
    """Orders are sent in the order in which they came."""
    question = await place(harness, FAR)
    waiting = asyncio.create_task(place(harness))
    await wait_until_one_waits(harness)
    sent_before = len(sent(sim))

    await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert order_of(await with_timeout(waiting))[1] == "placed"
    assert (sent_before, len(sent(sim))) == (1, 2)


async def test_a_cancel_does_not_wait_and_ends_the_question(harness: Harness, sim: MarketStage) -> None:
    """A cancel makes IBKR forget the question, and the bridge reports that."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    question = await place(harness, FAR)

    cancel = await harness.request("DELETE", f"/iserver/account/DU1234567/order/{number}")
    late = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert (cancel.status, order_of(cancel)[1]) == (200, "placed")
    assert harness.state_of(order_of(question)[0]) == "not_placed"
    assert (late.status, late.code) == (404, "reply_not_found")


async def test_a_reply_sent_twice_counts_once(harness: Harness, sim: MarketStage) -> None:
    """The second reply gets the same response; the opposite reply is refused."""
    question = await place(harness, FAR)
    target = f"/iserver/reply/{question.json[0]['id']}"

    first, second = await harness.post(target, {"confirmed": True}), await harness.post(target, {"confirmed": True})
    other = await harness.post(target, {"confirmed": False})

    assert (first.body, order_of(first)) == (second.body, order_of(second))
    assert (other.status, other.code) == (404, "reply_not_found")
    assert len(sim.calls("/iserver/reply/")) == 1


async def test_a_confirmation_whose_response_is_lost_is_searched_for(harness: Harness, sim: MarketStage) -> None:
    """The order may exist, so it is searched for like any other."""
    question = await place(harness, FAR)
    sim.faults.add("cut-before", path="/iserver/reply/", times=1, done=True)

    reply = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert (reply.code, order_of(reply)) == ("order_unknown", (order_of(question)[0], "unknown"))
    assert await harness.wait_until_settled(order_of(question)[0]) == "placed"


# -- suppressed questions


async def test_suppressed_questions_stay_suppressed(harness: Harness, sim: MarketStage) -> None:
    """IBKR forgets them with the session; the bridge suppresses them again before it is ready."""
    await harness.post("/iserver/questions/suppress", {"messageIds": ["o163"]})
    sim.lose_brokerage()
    await harness.wait_until_checked(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)

    assert order_of(await place(harness, FAR))[1] == "placed"


async def test_suppressed_questions_outlive_a_restart_until_they_are_reset(
    open_harness: OpenHarness, sim: MarketStage
) -> None:
    """The latest list is stored; so is a reset."""
    harness = await open_harness()
    await harness.post("/iserver/questions/suppress", {"messageIds": ["o163"]})
    await harness.finish()
    sim.lose_brokerage()
    restarted = await open_harness()
    placed = await place(restarted, FAR)
    await restarted.post("/iserver/questions/suppress/reset", {})
    question = await place(restarted, FAR)

    assert (order_of(placed)[1], order_of(question)[1]) == ("placed", "question")


# -- restarts


class JumpingClock(SystemClock):
    """A clock whose wall time a test moves."""

    jump = timedelta()

    def utc(self) -> datetime:
        """The wall-clock time."""
        return super().utc() + self.jump


@pytest.mark.gateway_only("each call by OAuth has the time, so IBKR refuses all calls of a clock that jumped by days")
async def test_a_jump_of_the_wall_clock_places_no_order_twice(sim: MarketStage, tmp_path: Path) -> None:
    """A machine that gets its time from the network may set its clock while a caller tries again."""
    clock = JumpingClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        sim.faults.add("delay", path=ORDERS, times=1, seconds=0.3)
        await place_and_hang_up(harness, ORDER, sim)
        await harness.wait_for_events(events.OrderPlaced)
        clock.jump = timedelta(days=2)

        again = await place(harness)

    assert again.status == 200
    assert len(sent(sim)) == 1


async def test_an_order_in_flight_at_a_kill_is_found_after_the_start(
    open_harness: OpenHarness, sim: MarketStage
) -> None:
    """The order exists at IBKR, and its caller gets its state by repeating the call."""
    harness = await open_harness()
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.3)
    await place_and_hang_up(harness, ORDER, sim, **{"Idempotency-Key": "k"})
    journal = harness.bridge.profile.orders.repository.journal
    rows = await journal.read_all()
    await harness.finish()
    path = journal._journal._path
    assert path is not None
    path.unlink()
    _write_rows(path, rows)  # the state after a kill before the response
    restarted = await open_harness()
    await restarted.wait_until_settled(rows[0][1].order_id)

    reply = await place(restarted, Idempotency_Key="k")

    order, state = order_of(reply)
    assert (order, state) == (rows[0][1].order_id, "placed")
    assert reply.json[0]["order_id"] == "1000000001"
    assert len(sent(sim)) == 1


async def test_an_order_after_a_kill_waits_until_the_one_in_flight_is_found(
    open_harness: OpenHarness, sim: MarketStage
) -> None:
    """It could be the same order. Until IBKR's lists have been seen it is refused, and nothing of it is sent."""
    harness = await open_harness()
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.3)
    await place_and_hang_up(harness, ORDER, sim)
    journal = harness.bridge.profile.orders.repository.journal
    rows = await journal.read_all()
    await harness.finish()
    path = journal._journal._path
    assert path is not None
    path.unlink()
    _write_rows(path, rows)  # the state after a kill before the response
    sim.faults.add("empty-503", path=r"/iserver/account/(orders(\?|$)|trades)")
    restarted = await open_harness()

    early = await place(restarted, LIMIT, X_Bridge_Wait="0.2")
    sent_before = len(sent(sim))
    sim.faults.clear("empty-503")
    await restarted.wait_until_settled(rows[0][1].order_id, "placed")
    late = await place(restarted, LIMIT)

    assert (early.status, early.code) == (409, "order_in_progress")
    assert (sent_before, len(sent(sim)), order_of(late)[1]) == (1, 2, "placed")


def _write_rows(path: Any, rows: Any) -> None:
    from datetime import UTC, datetime

    from ibkr_bridge.events import Bus
    from ibkr_bridge.orders.journal.store import JournalStore

    journal = JournalStore(path, Bus(), lambda: datetime.now(UTC))
    for _, entry, _ in rows:
        journal.append(entry)
    journal.close()


async def test_the_list_is_the_same_after_a_restart(open_harness: OpenHarness, sim: MarketStage) -> None:
    """Refused orders are in it as well: a person looks for them after a restart too."""
    harness = await open_harness(IBKR_MAX_ORDER_QUANTITY="10")
    await place(harness)
    await place(harness, Placement(quantity=11))  # refused by a rule
    await place(harness, LIMIT)
    await harness.post("/gateway/pause")
    await place(harness, Placement(quantity=3))  # refused by the pause
    before = (await harness.get("/orders")).json["orders"]
    await harness.finish()

    restarted = await open_harness(IBKR_MAX_ORDER_QUANTITY="10")
    after = (await restarted.get("/orders")).json["orders"]
    refused = (await restarted.get("/orders?state=refused")).json["orders"]

    assert [row["state"] for row in before] == ["refused", "placed", "refused", "placed"]
    assert after == before
    assert refused == [before[0], before[2]]


async def test_a_question_without_a_reply_is_declined(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the timeout, so that other orders can be sent. The journal records it, and IBKR gets a refusal."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.1)

    question = await place(harness, FAR)
    later = await place(harness)
    late = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert order_of(later)[1] == "placed"
    shown = (await harness.get(f"/orders/{order_of(question)[0]}")).json
    assert (shown["state"], shown["error"]) == ("not_placed", "no reply came in time")
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": False}]
    assert (late.status, late.code) == (404, "reply_not_found")


async def test_a_question_of_the_former_process_is_declined(open_harness: OpenHarness, sim: MarketStage) -> None:
    """The new process does not have the question, and the order was never confirmed."""
    harness = await open_harness()
    question = await place(harness, FAR)
    await harness.finish()

    restarted = await open_harness()
    await with_timeout(sim.wait_for_calls("/iserver/reply/"))

    assert restarted.state_of(order_of(question)[0]) == "not_placed"
    assert order_of(await place(restarted))[1] == "placed"


# -- orders that must not be sent


async def test_an_order_whose_caller_hung_up_is_not_sent(open_harness: OpenHarness, sim: MarketStage) -> None:
    """It waited behind a question when its caller hung up."""
    harness = await open_harness()
    question = await place(harness, FAR)
    body = json.dumps(LIMIT.body).encode()
    lines = f"Host: localhost\r\nX-Bridge-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"POST {LIMIT.target} HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body)
    await writer.drain()
    await wait_until_one_waits(harness)
    writer.close()
    await writer.wait_closed()

    await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})
    refused = await harness.wait_for_events(events.OrderRefused)

    assert refused[0].reason == "its caller disconnected before it was sent"  # type: ignore[attr-defined]
    assert len(sent(sim)) == 1


async def test_while_checks_hang_no_order_is_sent_but_a_cancel_is(
    open_harness: OpenHarness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order would reach IBKR at an unknown time. A cancel that is carried out late does what was wanted."""
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.2", IBKR_GATEWAY_TIMEOUT="1")
    placed = (await place(harness)).json[0]["order_id"]
    monkeypatch.setattr("ibkr_bridge.session.session_api.CHECK_TIMEOUT_S", 1.0)
    sim.faults.add("silence", path="/auth/status")
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(SessionState.SILENT)

    order = await place(harness, LIMIT)
    cancel = await harness.request("DELETE", f"/iserver/account/DU1234567/order/{placed}")

    assert (order.status, order.code) == (503, "session_unavailable")
    assert cancel.status == 200
    assert len(sent(sim)) == 1


async def test_an_order_is_not_sent_without_a_journal(harness: Harness, sim: MarketStage) -> None:
    """Reads continue, and the status shows the problem."""
    file = harness.bridge.profile.orders.repository.journal
    await file.close()
    path = file._journal._path
    assert path is not None
    path.unlink()
    path.mkdir()

    order, cancel = await place(harness), await harness.request("DELETE", "/iserver/account/DU1234567/order/1")
    read = await harness.get("/iserver/account/orders")

    assert {(reply.status, reply.code) for reply in (order, cancel)} == {(503, "journal_unavailable")}
    assert read.status == 200
    assert sent(sim) == []
    assert "directory" in (await harness.get("/gateway/status")).json["journal"]["problem"].lower()


@pytest.mark.gateway_only("without a state directory there is no credential either")
async def test_no_order_is_sent_without_a_state_directory(open_harness: OpenHarness, sim: MarketStage) -> None:
    """Such an order could not be recorded."""
    harness = await open_harness(IBKR_BRIDGE_STATE_DIR="/proc/nowhere")

    reply = await place(harness)

    assert (reply.status, reply.code) == (503, "journal_unavailable")
    assert sent(sim) == []


async def test_a_journal_that_cannot_be_read_at_the_start_is_read_before_the_first_order(
    open_harness: OpenHarness, sim: MarketStage, tmp_path: Path
) -> None:
    """Otherwise an order of the former process could be sent a second time."""
    first = await open_harness()
    await place(first, Idempotency_Key="k")
    await first.finish()
    path = tmp_path / "state" / "main.orders.db"
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    harness = await open_harness()
    refused = await place(harness, Idempotency_Key="k")
    path.rmdir()
    path.with_suffix(".away").rename(path)

    repeated = await place(harness, Idempotency_Key="k")

    assert (refused.status, refused.code) == (503, "journal_unavailable")
    assert (repeated.status, repeated.headers["X-Bridge-Source"]) == (200, "cache")
    assert len(sent(sim)) == 1


async def test_a_question_whose_reply_was_refused_is_declined_in_time(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused reply does not keep the question open."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.5)
    question = await place(harness, FAR)
    await harness.post("/gateway/pause")
    await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert await harness.wait_until_settled(order_of(question)[0]) == "not_placed"


async def test_a_loop_of_refusals_does_not_fill_the_memory(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has all of them; the list in memory has the last. The bound is a thousand: `test_index.py`."""
    monkeypatch.setattr("ibkr_bridge.orders.journal.index.MAX_REFUSED", 20)
    await harness.post("/gateway/pause")
    repository = harness.bridge.profile.orders.repository

    refused = [order_of(await place(harness, Placement(quantity=quantity)))[0] for quantity in range(1, 31)]

    assert [record.id for record in repository.index.newest_first()] == refused[:9:-1]
    assert [entry.order_id for _, entry, _ in await repository.journal.read_all()] == refused


async def test_declining_a_question_does_not_discard_an_accepted_ticket(harness: Harness, sim: MarketStage) -> None:
    """One ticket of the body was accepted, the other one led to the question."""
    order_and_question = (
        '[{"order_id":"77","order_status":"Submitted"},{"id":"00000000-0000","message":["?"],"messageIds":["o163"]}]'
    )
    sim.faults.add("status", path=ORDERS, times=1, status=200, body=order_and_question)
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _fetch_nothing

    question = await place(harness)
    await harness.post("/iserver/reply/00000000-0000", {"confirmed": False})

    assert (order_of(question)[1], harness.state_of(order_of(question)[0])) == ("question", "unknown")


async def test_of_two_questions_both_are_answered(harness: Harness, sim: MarketStage) -> None:
    """Each question has its own reply id."""
    two_questions = '[{"id":"00000000-0001","message":["?"]},{"id":"00000000-0002","message":["?"]}]'
    sim.faults.add("status", path=ORDERS, times=1, status=200, body=two_questions)
    sim.faults.add("status", path="/reply/", times=2, status=200, body='[{"order_id":"77"}]')
    question_order = order_of(await place(harness))[0]

    first = await harness.post("/iserver/reply/00000000-0001", {"confirmed": True})
    second = await harness.post("/iserver/reply/00000000-0002", {"confirmed": True})

    assert (order_of(first), order_of(second)) == ((question_order, "question"), (question_order, "placed"))


@pytest.mark.gateway_only("a Gateway waits for a person to sign in again; without one the bridge signs in at once")
async def test_a_question_is_declined_in_time_although_its_reply_waits(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that waits for the session does not delay other orders, and it is not sent after the timeout."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 1.0)
    question = await place(harness, FAR)
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    target, wait = f"/iserver/reply/{question.json[0]['id']}", {"X-Bridge-Wait": "20"}
    reply = asyncio.create_task(harness.post(target, {"confirmed": True}, headers=wait))

    assert await harness.wait_until_settled(order_of(question)[0]) == "not_placed"
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while harness.bridge.profile.orders.submitter.lock.pending is not None:
            await asyncio.sleep(0)
    sim.log_in()  # the reply that waits could be sent now
    await harness.wait_until(SessionState.READY)
    late = await with_timeout(reply)
    assert (late.status, late.code) == (404, "reply_not_found")
    assert [call for call in sim.calls("/iserver/reply/") if b"true" in call.body] == []


@pytest.mark.unanswered
async def test_an_order_that_was_late_and_repeated_is_found(harness: Harness, sim: MarketStage) -> None:
    """IBKR knows the cOID, so it rejects the second order; the first one is placed and an alarm is raised."""
    sim.faults.add("drop", path=ORDERS, times=1)
    mine = Placement(extra={"cOID": "late-two", "orderType": "LMT", "price": 187.5})
    first, _ = order_of(await place(harness, mine))
    await harness.wait_until_settled(first, "not_placed")
    await add_to_book(sim, "late-two")

    repeated = await place(harness, mine)

    assert order_of(repeated)[1] == "rejected"
    assert await harness.wait_until_settled(first, "placed") == "placed"
    assert await harness.wait_for_events(events.OrderPlacedLate)


@pytest.mark.parametrize(("done", "state"), [(True, "placed"), (False, "not_placed")])
async def test_a_lost_change_of_an_order_never_listed_is_settled_in_the_end(
    harness: Harness, sim: MarketStage, done: bool, state: str
) -> None:
    """The bridge does not know the parent's former price; when no call can be late any more, IBKR's row decides."""
    parent = {**LIMIT.body["orders"][0], "cOID": "parent"}
    child = {**parent, "side": "SELL", "price": 190.0, "parentId": "parent"}
    del child["cOID"]
    reply = await harness.post("/iserver/account/DU1234567/orders", {"orders": [parent, child]})
    number = reply.json[0]["order_id"]
    sim.faults.add("cut-before", path=f"/order/{number}", times=1, done=done)

    lost = await harness.post(f"/iserver/account/DU1234567/order/{number}", {**parent, "price": 187.4})

    assert order_of(lost)[1] == "unknown"
    assert await harness.wait_until_settled(order_of(lost)[0]) == state


async def test_a_change_that_does_not_show_is_not_recorded_as_made(harness: Harness, sim: MarketStage) -> None:
    """Equal figures prove nothing; a person must check."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    sim.faults.add("cut-before", path=f"/order/{number}", times=1, done=False)

    reply = await harness.post(
        f"/iserver/account/DU1234567/order/{number}", {**LIMIT.body["orders"][0], "outsideRTH": True}
    )
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while "does not show" not in str((await harness.get(f"/orders/{order_of(reply)[0]}")).json["error"]):
            pass  # each request lets the loop run

    assert harness.state_of(order_of(reply)[0]) == "unknown"


async def test_a_lost_order_whose_caller_left_gets_the_same_response_each_time(
    harness: Harness, sim: MarketStage
) -> None:
    """Every repeat gets the outcome that the search found."""
    sim.faults.add("done-cut-before", path=ORDERS, times=1)
    await place_and_hang_up(harness, ORDER, sim, **{"Idempotency-Key": "k"})
    (undelivered,) = await harness.wait_for_events(events.OrderResponseUndelivered)
    await harness.wait_until_settled(undelivered.order, "placed")  # type: ignore[attr-defined]

    replies = [await place(harness, Idempotency_Key="k") for _ in range(3)]

    assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}
    assert replies[0].json[0]["order_id"] == "1000000001"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/iserver/reply/abc"),
        ("POST", "/iserver/reply/abc/x"),
        ("PUT", "/iserver/account/DU1234567/order/1"),
        ("DELETE", "/iserver/account/DU1234567/orders/-1"),
        ("POST", "/iserver/account/DU1234567/orders/now"),
        ("GET", "/iserver/account/DU1234567/orders/whatif"),
        ("GET", "/iserver/account/DU1234567/order/whatif"),
        ("PUT", "/iserver/account/DU1234567/Orders/WhatIf"),
        ("GET", "/iserver/account/DU1234567/orders"),
        ("GET", "/iserver/account/DU1234567/order/1"),
        ("GET", "/iserver/reply/abc"),
        ("GET", "/iserver/questions/suppress"),
        ("PUT", "/iserver/questions/suppress/reset"),
        ("GET", "/iserver/notification"),
    ],
)
async def test_a_call_that_only_resembles_an_order_call_is_not_bridged(
    harness: Harness, sim: MarketStage, method: str, target: str
) -> None:
    """It would reach IBKR without an entry in the journal."""
    reply = await harness.request(method, target, body=ORDER.body)

    assert (reply.status, reply.code) == (404, "not_bridged")
    assert [call for call in sim.gateway_calls() if call.method == method and target in call.target] == []


async def test_a_question_that_could_not_be_confirmed_is_declined_in_time(
    open_harness: OpenHarness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IBKR asked so late that the confirmation would have been sent after the caller's deadline."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.5)
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.3", IBKR_GATEWAY_TIMEOUT="5")
    sim.faults.add("delay", path=ORDERS, times=1, seconds=2.6)

    question = await place(harness, FAR, X_Bridge_Confirm="o163")

    assert order_of(question)[1] == "question"
    assert await harness.wait_until_settled(order_of(question)[0]) == "not_placed"


def send_order(harness: Harness) -> socket.socket:
    """Send an order and return its connection; no byte of the response is read."""
    body = json.dumps(ORDER.body).encode()
    lines = f"Host: localhost\r\nX-Bridge-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    connection = socket.create_connection(("127.0.0.1", harness.port))
    connection.sendall(f"POST {ORDER.target} HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body)
    return connection


async def test_a_response_that_was_not_read_counts_as_undelivered(harness: Harness, sim: MarketStage) -> None:
    """The caller hangs up when the response comes, and repeats the order before the loop notices it."""
    first = send_order(harness)
    await harness.wait_for_events(events.RequestServed)

    first.close()  # with an unread response, so the system sends a reset
    repeated = send_order(harness)
    await harness.wait_for_events(events.RequestServed, 2)

    assert len(sent(sim)) == 1
    repeated.close()


async def test_a_response_written_to_a_closed_connection_counts_as_undelivered(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hangs up between the last check of the connection and the first byte of the response."""
    first = send_order(harness)
    is_connected = delivery.is_connected

    def check_then_hang_up(request: Any) -> bool:
        result = is_connected(request)
        first.close()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "is_connected", check_then_hang_up)
        (undelivered,) = await harness.wait_for_events(events.OrderResponseUndelivered)
    repeated = send_order(harness)
    await harness.wait_for_events(events.RequestServed, 2)

    assert undelivered.order  # type: ignore[attr-defined]
    assert len(sent(sim)) == 1
    repeated.close()
