"""An order placed through the bridge ends in exactly one way, and the journal knows which."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge import events
from ibkr_bridge.server import delivery
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from tests.conftest import Open
from tests.harness import KEY, PATIENCE, PREVIOUS, Harness, Placed, Reply, within

ORDER = Placed()
LIMIT = Placed(extra={"orderType": "LMT", "price": 187.5})  # near enough for no question, too low to fill
FAR = Placed(extra={"orderType": "LMT", "price": 100})  # IBKR asks o163
FAR_AND_LARGE = Placed(quantity=501, extra={"orderType": "LMT", "price": 100})  # and then o383
ORDERS = "/DU1234567/orders$"  # placing alone, not the list


def order_of(reply: Reply) -> tuple[str, str]:
    """The journal's id, and the state that was told with it."""
    return reply.headers["X-Bridge-Order"], reply.headers["X-Bridge-Order-State"]


def sent(sim: MarketStage, part: str = ORDER.target) -> list[Any]:
    """The orders that reached IBKR, as they came."""
    return [json.loads(call.body) for call in sim.calls(part) if call.method == "POST" and "whatif" not in call.target]


async def place(harness: Harness, placed: Placed = ORDER, **headers: str) -> Reply:
    """Place an order."""
    return await harness.post(placed.target, placed.body, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def story(harness: Harness, order: str) -> list[str]:
    """What happened to an order, in the journal's words."""
    return [event["what"] for event in (await harness.get(f"/orders/{order}")).json["events"]]


async def gone_away(harness: Harness, placed: Placed, sim: MarketStage, **headers: str) -> None:
    """Place an order and hang up when it has reached IBKR."""
    body = json.dumps(placed.body).encode()
    told = {"Host": "localhost", "X-Bridge-Key": KEY, "Content-Type": "application/json", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    seen = len(sent(sim))
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"POST {placed.target} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await within(sim.wait_for_calls(placed.target, seen + 1))
    writer.close()


# -- the plain ends


async def test_an_order_is_placed_and_can_be_found_again(harness: Harness, sim: MarketStage) -> None:
    """It has a name, and the caller's text is otherwise as it was."""
    reply = await place(harness)

    order, state = order_of(reply)
    assert (reply.status, state) == (200, "placed")
    assert sent(sim) == [{"orders": [{"cOID": f"brdg-{order}", **ORDER.body["orders"][0]}]}]
    assert (await harness.get(f"/orders/{order}")).json["order_id"] == reply.json[0]["order_id"]
    assert await story(harness, order) == ["sent", "taken", "told"]


async def test_the_callers_bytes_go_on_as_they_came(harness: Harness, sim: MarketStage) -> None:
    """A name is put into the text; numbers keep their form."""
    ticket = b'{"acctId":"DU1234567", "conid":265598,"orderType":"LMT","price":1.8750e2 ,"side":"BUY","quantity":1.0}'
    body = b'{ "orders" : [ ' + ticket + b"]}"

    reply = await harness.post(ORDER.target, body)

    name = f'"cOID":"brdg-{order_of(reply)[0]}",'.encode()
    assert sim.calls(ORDER.target)[0].body == body.replace(b'{"acctId"', b"{" + name + b'"acctId"')


async def test_names_can_be_turned_off(open_harness: Open, sim: MarketStage) -> None:
    """Then the text is the caller's own."""
    harness = await open_harness(IBKR_BRIDGE_ADD_COID="no")

    await place(harness)

    assert sent(sim) == [ORDER.body]


async def test_a_refusal_of_ibkr_is_one(harness: Harness) -> None:
    """Its 200 hides an error; the caller gets it unchanged."""
    first = await place(harness, Placed(extra={"cOID": "mine"}))
    harness.bridge.profile.orders.repository.index.remove(
        harness.bridge.profile.orders.repository.index.find(order_of(first)[0])  # type: ignore[arg-type]  # it is there
    )

    reply = await place(harness, Placed(extra={"cOID": "mine"}))

    assert (reply.status, order_of(reply)[1]) == (200, "rejected")
    assert "already registered" in reply.json["error"]
    assert "already registered" in (await harness.get(f"/orders/{order_of(reply)[0]}")).json["error"]


async def test_what_is_refused_here_is_in_the_journal_too(harness: Harness, sim: MarketStage) -> None:
    """With the rule's word; the same refusal again is not another entry."""
    await harness.post("/gateway/pause")

    first, second = await place(harness), await place(harness)

    assert (first.status, first.code, order_of(first)[1]) == (403, "trading_paused", "refused")
    assert order_of(first) == order_of(second)
    events_of_it = (await harness.get(f"/orders/{order_of(first)[0]}")).json["events"]
    assert [event["code"] for event in events_of_it] == ["trading_paused"]
    assert sent(sim) == []


@pytest.mark.parametrize("body", [b"[]", b'{"orders":[]}', b'{"orders":["x"]}', b'"x"', b"{}", b'{"orders":{"a":1}}'])
async def test_a_placement_without_tickets_is_refused(harness: Harness, sim: MarketStage, body: bytes) -> None:
    """What cannot be found again is not sent."""
    reply = await harness.post(ORDER.target, body)

    assert (reply.status, reply.code, order_of(reply)[1]) == (400, "bad_request", "refused")
    assert sent(sim) == []


async def test_the_journal_shows_no_account_number(harness: Harness) -> None:
    """Nor the key, nor its digest."""
    reply = await place(harness)

    one, listed = await harness.get(f"/orders/{order_of(reply)[0]}"), await harness.get("/orders")
    assert b"DU1234567" not in one.body + listed.body
    assert (one.json["account"], "owner" in one.body.decode()) == ("DU*****67", False)
    assert list(listed.json["orders"][0]) == [
        "id",
        "state",
        "account",
        "coid",
        "order_id",
        "created",
        "updated",
        "error",
    ]
    assert list(one.json) == [*listed.json["orders"][0], "events"]


async def test_events_join_request_journal_and_ibkr(harness: Harness) -> None:
    """Whoever greps for one id finds the others."""
    reply = await harness.post(ORDER.target, ORDER.body, headers={"X-Request-ID": "joined-up"})

    told = [event for event in harness.events_seen if isinstance(event, events.OrderChanged)]
    assert [event.event for event in told] == ["order.sent", "order.placed"]
    assert {(event.request_id, event.order) for event in told} == {("joined-up", order_of(reply)[0])}
    assert told[1].order_id == reply.json[0]["order_id"]


# -- lost answers

LOST = ["cut-before", "cut-in", "garble", "silence", "stall-in", "die-in", "drop", "empty-503"]


@pytest.mark.parametrize("fault", LOST)
async def test_an_order_whose_answer_was_lost_is_looked_for(harness: Harness, sim: MarketStage, fault: str) -> None:
    """It reached IBKR: it is found by its name, whatever became of the answer."""
    sim.faults.add(fault, path=ORDERS, times=1, done=True)

    reply = await place(harness)

    order, state = order_of(reply)
    assert (reply.status, reply.code, state) == (502, "order_unknown", "unknown")
    assert order in reply.json["detail"]
    assert await harness.wait_until_settled(order) == "placed"
    found = (await harness.get(f"/orders/{order}")).json
    assert (found["order_id"], found["error"]) == ("1000000001", None)
    assert len(sent(sim)) == 1


@pytest.mark.parametrize("fault", ["cut-before", "silence", "drop", "empty-503", "garble"])
async def test_an_order_that_never_was_is_known_not_to_be(harness: Harness, sim: MarketStage, fault: str) -> None:
    """After a while, with the evidence."""
    sim.faults.add(fault, path=ORDERS, times=1, done=False)

    order, _ = order_of(await place(harness))

    assert await harness.wait_until_settled(order) == "not_placed"
    told = (await harness.get(f"/orders/{order}")).json["events"][-1]
    assert (told["what"], "searched for" in told["error"]) == ("missed", True)
    assert (await harness.get("/orders?state=unknown")).json["orders"] == []


async def test_a_page_in_html_passes_on_and_is_looked_into(harness: Harness, sim: MarketStage) -> None:
    """IBKR's answer is the caller's; whether the order exists is the journal's question."""
    sim.faults.add("html-500", path=ORDERS, times=1)

    reply = await place(harness)

    assert (reply.status, order_of(reply)[1]) == (500, "unknown")
    assert reply.body.startswith(b"<html>")
    assert await harness.wait_until_settled(order_of(reply)[0]) == "not_placed"


async def test_an_answer_that_comes_late_settles_it(harness: Harness, sim: MarketStage) -> None:
    """The connection is read on: nothing is better evidence."""
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _blind
    sim.faults.add("delay", path=ORDERS, times=1, seconds=1.3)

    order, state = order_of(await place(harness))

    assert state == "unknown"
    assert await harness.wait_until_settled(order) == "placed"
    assert (await story(harness, order))[-1] == "taken"


async def test_a_question_that_comes_late_is_declined(harness: Harness, sim: MarketStage) -> None:
    """Nobody is left to be asked."""
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _blind
    sim.faults.add("delay", path=ORDERS, times=1, seconds=1.3)

    order, _ = order_of(await place(harness, FAR))

    assert await harness.wait_until_settled(order) == "not_placed"
    await within(sim.wait_for_calls("/iserver/reply/"))
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": False}]


async def test_an_order_that_was_only_late_raises_an_alarm(harness: Harness, sim: MarketStage) -> None:
    """A caller's own look at the list is as good a proof as ours."""
    sim.faults.add("drop", path=ORDERS, times=1)
    order, _ = order_of(await place(harness, Placed(extra={"cOID": "late-one"})))
    await harness.wait_until_settled(order, "not_placed")

    await sim_place(sim, "late-one")
    await harness.get("/iserver/account/orders")

    assert await harness.wait_until_settled(order, "placed") == "placed"
    assert [event.event for event in await harness.wait_for_events(events.OrderPlacedLate)] == ["order.placed_late"]


async def sim_place(sim: MarketStage, name: str) -> None:
    """Place an order behind the bridge's back, as the Gateway's queue does."""
    world = sim.market.world
    from ibkr_bridge.sim.market.tickets import read_ticket

    ticket = {**ORDER.body["orders"][0], "cOID": name}
    world.book.add(read_ticket(ticket, "DU1234567", world.quotes, sim.clock.now()))


async def _blind(_: str | None) -> None:
    return None


async def test_an_order_without_a_name_is_looked_for_by_its_likeness(open_harness: Open, sim: MarketStage) -> None:
    """That proves only that it does not exist; what may be it leaves it open, and says so."""
    harness = await open_harness(IBKR_BRIDGE_ADD_COID="no")
    sim.faults.add("cut-before", path=ORDERS, times=1, done=False)
    never = order_of(await place(harness, LIMIT))[0]
    assert await harness.wait_until_settled(never) == "not_placed"
    await place(harness, Placed(extra={"side": "SELL", "orderType": "LMT", "price": 193}))
    sim.faults.add("cut-before", path=ORDERS, times=1, done=True)

    order = order_of(await place(harness))[0]
    async with asyncio.timeout(PATIENCE):
        while "similar orders exist" not in str((await harness.get(f"/orders/{order}")).json["error"]):
            pass  # each question takes its turns of the loop

    assert harness.state_of(order) == "unknown"


async def test_a_lost_cancel_is_looked_for(harness: Harness, sim: MarketStage) -> None:
    """By the order's state."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    sim.faults.add("cut-before", path=number, times=1, done=True)

    reply = await harness.request("DELETE", f"/iserver/account/DU1234567/order/{number}")

    assert (reply.code, order_of(reply)[1]) == ("order_unknown", "unknown")
    assert await harness.wait_until_settled(order_of(reply)[0]) == "placed"


async def test_a_lost_change_is_looked_for(harness: Harness, sim: MarketStage) -> None:
    """By its figures: here it was not made."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    target = f"/iserver/account/DU1234567/order/{number}"
    changed = {**LIMIT.body["orders"][0], "price": 187.4}
    sim.faults.add("cut-before", path=number, times=1, done=True)
    made = await harness.post(target, changed)
    sim.faults.add("cut-before", path=number, times=1, done=False)
    not_made = await harness.post(target, {**changed, "price": 187.3})

    assert await harness.wait_until_settled(order_of(made)[0]) == "placed"
    assert await harness.wait_until_settled(order_of(not_made)[0]) == "not_placed"


# -- who it is


async def test_an_idempotency_key_is_one_order(harness: Harness, sim: MarketStage) -> None:
    """The same answer, byte for byte."""
    first = await place(harness, Idempotency_Key='"8e03978e-40d5"')
    second = await place(harness, Idempotency_Key="8e03978e-40d5")

    assert (first.status, first.body, order_of(first)) == (second.status, second.body, order_of(second))
    assert second.headers["X-Bridge-Source"] == "cache"
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_repeats_even_a_lost_answer(harness: Harness, sim: MarketStage) -> None:
    """What the first one was told, to the byte; the state now stands beside it."""
    sim.faults.add("cut-before", path=ORDERS, times=1, done=True)
    first = await place(harness, Idempotency_Key="k")
    await harness.wait_until_settled(order_of(first)[0])

    second = await place(harness, Idempotency_Key="k")

    assert (first.status, first.body) == (second.status, second.body)
    assert order_of(second) == (order_of(first)[0], "placed")
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_repeats_a_question(harness: Harness, sim: MarketStage) -> None:
    """The first answer to that call, though the question has been answered since; a name tells the latest."""
    named = Placed(extra={"orderType": "LMT", "price": 100, "cOID": "mine"})
    first = await place(harness, named, Idempotency_Key="k")
    reply = await harness.post(f"/iserver/reply/{first.json[0]['id']}", {"confirmed": True})

    by_key, by_name = await place(harness, named, Idempotency_Key="k"), await place(harness, named)

    assert (by_key.body, by_name.body) == (first.body, reply.body)
    assert order_of(by_key) == order_of(by_name) == (order_of(first)[0], "placed")


async def test_an_idempotency_key_with_another_body(harness: Harness, sim: MarketStage) -> None:
    """Is a mistake of its caller."""
    await place(harness, Idempotency_Key="k")

    reply = await place(harness, LIMIT, Idempotency_Key="k")

    assert (reply.status, reply.code) == (422, "idempotency_mismatch")
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_that_is_still_running(harness: Harness, sim: MarketStage) -> None:
    """Is no second order, and no answer yet."""
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.5)
    first = asyncio.create_task(place(harness, Idempotency_Key="k"))
    await within(sim.wait_for_calls(ORDER.target))

    reply = await place(harness, Idempotency_Key="k")

    assert (reply.status, reply.code) == (409, "order_in_progress")
    assert (await first).status == 200
    assert len(sent(sim)) == 1


async def test_an_idempotency_key_outlives_a_restart(open_harness: Open, sim: MarketStage) -> None:
    """For a day."""
    harness = await open_harness()
    first = await place(harness, Idempotency_Key="k")
    await harness.finish()
    again = await open_harness()

    second = await place(again, Idempotency_Key="k")

    assert (first.body, order_of(first)) == (second.body, order_of(second))
    assert len(sent(sim)) == 1


async def test_what_was_refused_may_be_sent_under_the_same_key(harness: Harness, sim: MarketStage) -> None:
    """Nothing left, so there is nothing to repeat."""
    await harness.post("/gateway/pause")
    refused = await place(harness, Idempotency_Key="k")
    await harness.post("/gateway/resume")

    reply = await place(harness, Idempotency_Key="k")

    assert (refused.status, reply.status, order_of(reply)[1]) == (403, 200, "placed")


@pytest.mark.parametrize("value", ["", '""', "ä", "x" * 256, '"open'])
async def test_an_idempotency_key_that_is_none(harness: Harness, sim: MarketStage, value: str) -> None:
    """Is refused rather than ignored."""
    reply = await place(harness, Idempotency_Key=value)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert sent(sim) == []


async def test_the_same_name_twice_is_one_order(harness: Harness, sim: MarketStage) -> None:
    """Whoever sends it."""
    mine = Placed(extra={"cOID": "mine-1"})

    first, second = await place(harness, mine), await place(harness, mine)

    assert (first.body, order_of(first)) == (second.body, order_of(second))
    assert len(sent(sim)) == 1


async def test_the_same_name_for_another_order(harness: Harness, sim: MarketStage) -> None:
    """Is refused here, in words, before IBKR does."""
    await place(harness, Placed(extra={"cOID": "mine-1"}))

    reply = await place(harness, Placed(quantity=2, extra={"cOID": "mine-1"}))

    assert (reply.status, reply.code, order_of(reply)[1]) == (409, "duplicate_order", "refused")
    assert len(sent(sim)) == 1


async def test_two_equal_orders_one_after_the_other_stay_two(harness: Harness, sim: MarketStage) -> None:
    """The first was answered: whoever asks again means it."""
    first, second = await place(harness), await place(harness)

    assert order_of(first)[0] != order_of(second)[0]
    assert len(sent(sim)) == 2


async def test_a_call_sent_again_on_a_time_out_is_one_order(harness: Harness, sim: MarketStage) -> None:
    """As clients do that repeat a POST whose answer they did not wait for."""
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.4)
    await gone_away(harness, ORDER, sim)

    reply = await place(harness)
    after = await place(harness)

    assert (reply.status, order_of(reply)[1], reply.headers["X-Bridge-Source"]) == (200, "placed", "shared")
    assert order_of(after)[0] != order_of(reply)[0]
    assert len(sent(sim)) == 2


async def test_a_call_sent_again_after_its_answer_went_nowhere(harness: Harness, sim: MarketStage) -> None:
    """The first caller had gone before the answer came; who asks again gets it."""
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.2)
    await gone_away(harness, ORDER, sim)
    left = await harness.wait_for_events(events.OrderResponseUndelivered)

    reply = await place(harness)

    assert (order_of(reply), reply.headers["X-Bridge-Source"]) == ((left[0].order, "placed"), "cache")  # type: ignore[attr-defined]
    assert len(sent(sim)) == 1


async def test_the_same_order_while_its_twin_is_being_looked_for(harness: Harness, sim: MarketStage) -> None:
    """Its caller was told that nobody knows, and has to say that they want another one."""
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _blind
    sim.faults.add("cut-before", path=ORDERS, times=1, done=True)
    await place(harness)

    held, let = await place(harness), await place(harness, X_Bridge_Confirm="unknown-open")

    assert (held.status, held.code) == (409, "order_in_progress")
    assert let.status == 200
    assert len(sent(sim)) == 2


async def test_a_bracket_has_one_name(harness: Harness, sim: MarketStage) -> None:
    """The parent's, by which its children call it."""
    base = {"acctId": "DU1234567", "conid": 265598, "tif": "GTC", "quantity": 1}
    parent = {**base, "orderType": "LMT", "price": 187.5, "side": "BUY"}
    child = {**base, "orderType": "LMT", "price": 192, "side": "SELL", "parentId": "bracket-1"}

    reply = await harness.post(ORDER.target, {"orders": [parent, child]})

    assert [ticket.get("cOID") for ticket in sent(sim)[0]["orders"]] == ["bracket-1", None]
    assert [row["order_id"] for row in reply.json] == ["1000000001", "1000000002"]


# -- questions


async def test_a_question_is_passed_on_and_its_reply_too(harness: Harness, sim: MarketStage) -> None:
    """Unchanged both ways."""
    asked = await place(harness, FAR)
    reply = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert (asked.json[0]["messageIds"], order_of(asked)[1]) == (["o163"], "question")
    assert order_of(reply) == (order_of(asked)[0], "placed")
    assert await story(harness, order_of(asked)[0]) == ["sent", "asked", "told", "confirmed", "taken", "told"]


async def test_a_question_can_be_declined(harness: Harness, sim: MarketStage) -> None:
    """Paused or not: getting out is always possible."""
    asked = await place(harness, FAR)
    await harness.post("/gateway/pause")

    reply = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": False})
    await harness.post("/gateway/resume")

    assert order_of(reply) == (order_of(asked)[0], "not_placed")
    assert (await place(harness)).status == 200


async def test_a_confirmation_is_judged_like_an_order(harness: Harness, sim: MarketStage) -> None:
    """It is what places it; the question hangs on, and may be declined."""
    asked = await place(harness, FAR)
    await harness.post("/gateway/pause")

    reply = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert (reply.status, reply.code, order_of(reply)[1]) == (403, "trading_paused", "question")
    assert sim.calls("/iserver/reply/") == []


async def test_only_named_questions_are_confirmed(harness: Harness, sim: MarketStage) -> None:
    """All ids have to be listed; the first that is not goes to the caller."""
    all_named = await place(harness, FAR_AND_LARGE, X_Bridge_Confirm="o163, o383")
    one_named = await place(harness, FAR_AND_LARGE, X_Bridge_Confirm="o163")

    assert order_of(all_named)[1] == "placed"
    assert (order_of(one_named)[1], one_named.json[0]["messageIds"]) == ("question", ["o383"])


async def test_a_chain_without_an_end_is_handed_to_its_caller(harness: Harness, sim: MarketStage) -> None:
    """After twenty confirmations somebody should look."""
    asked = '[{"id":"00000000-0000","message":["sure?"],"messageIds":["o163"]}]'
    sim.faults.add("status", path="/iserver/reply/", status=200, body=asked)

    reply = await place(harness, FAR, X_Bridge_Confirm="o163")

    assert order_of(reply)[1] == "question"
    assert len(sim.calls("/iserver/reply/")) == 20


@pytest.mark.parametrize(
    "body",
    [{}, {"confirmed": "true"}, {"confirmed": None}, {"confirmed": 1}, [], b'{"confirmed":true,"confirmed":false}'],
)
async def test_a_reply_that_says_neither_yes_nor_no(harness: Harness, sim: MarketStage, body: object) -> None:
    """Is none."""
    asked = await place(harness, FAR)

    reply = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", body)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert sim.calls("/iserver/reply/") == []


async def test_reply_ids_of_others_are_refused(harness: Harness, sim: MarketStage) -> None:
    """An id this bridge never handed out leads nowhere."""
    reply = await harness.post("/iserver/reply/30453164-28e4-5059-94db-83f4d822035c", {"confirmed": True})

    assert (reply.status, reply.code) == (404, "reply_not_found")
    assert sim.calls("/iserver/reply/") == []


async def test_a_question_belongs_to_the_key_that_began_it(open_harness: Open, sim: MarketStage) -> None:
    """Another key cannot answer it, yes or no."""
    harness = await open_harness(IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS)
    asked = await place(harness, FAR)
    target = f"/iserver/reply/{asked.json[0]['id']}"

    foreign = await harness.post(target, {"confirmed": True}, key=PREVIOUS)
    own = await harness.post(target, {"confirmed": True})

    assert (foreign.status, foreign.code) == (409, "order_in_progress")
    assert order_of(own)[1] == "placed"


async def test_others_wait_while_a_question_hangs(open_harness: Open, sim: MarketStage) -> None:
    """As long as they would, then they are told whose it is; the question is as good as before."""
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.2")
    asked = await place(harness, FAR)

    waiting = await place(harness)
    preview = await harness.post(f"{ORDER.target}/whatif", ORDER.body)
    reply = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert (waiting.status, waiting.code, order_of(asked)[0] in waiting.json["detail"]) == (
        409,
        "order_in_progress",
        True,
    )
    assert int(waiting.headers["Retry-After"]) > 50
    assert (preview.status, preview.code) == (409, "order_in_progress")
    assert order_of(reply)[1] == "placed"


async def test_who_waits_goes_on_when_the_question_is_answered(harness: Harness, sim: MarketStage) -> None:
    """In turn."""
    asked = await place(harness, FAR)
    waiting = asyncio.create_task(place(harness))
    await asyncio.sleep(0)

    await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert order_of(await waiting)[1] == "placed"


async def test_a_cancel_waits_for_nobody_and_ends_the_question(harness: Harness, sim: MarketStage) -> None:
    """IBKR has forgotten it then, and so the bridge says."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    asked = await place(harness, FAR)

    cancel = await harness.request("DELETE", f"/iserver/account/DU1234567/order/{number}")
    late = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert (cancel.status, order_of(cancel)[1]) == (200, "placed")
    assert harness.state_of(order_of(asked)[0]) == "not_placed"
    assert (late.status, late.code) == (404, "reply_not_found")


async def test_a_reply_sent_twice_counts_once(harness: Harness, sim: MarketStage) -> None:
    """Its answer is told again; the opposite is refused."""
    asked = await place(harness, FAR)
    target = f"/iserver/reply/{asked.json[0]['id']}"

    first, second = await harness.post(target, {"confirmed": True}), await harness.post(target, {"confirmed": True})
    other = await harness.post(target, {"confirmed": False})

    assert (first.body, order_of(first)) == (second.body, order_of(second))
    assert (other.status, other.code) == (404, "reply_not_found")
    assert len(sim.calls("/iserver/reply/")) == 1


async def test_a_confirmation_whose_answer_is_lost(harness: Harness, sim: MarketStage) -> None:
    """The order may exist: it is looked for like any other."""
    asked = await place(harness, FAR)
    sim.faults.add("cut-before", path="/iserver/reply/", times=1, done=True)

    reply = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert (reply.code, order_of(reply)) == ("order_unknown", (order_of(asked)[0], "unknown"))
    assert await harness.wait_until_settled(order_of(asked)[0]) == "placed"


# -- suppressed questions


async def test_suppressed_questions_stay_suppressed(harness: Harness, sim: MarketStage) -> None:
    """IBKR forgets them with the session; the bridge says it again before it is ready."""
    await harness.post("/iserver/questions/suppress", {"messageIds": ["o163"]})
    sim.lose_brokerage()
    await harness.wait_until(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)

    assert order_of(await place(harness, FAR))[1] == "placed"


async def test_suppressed_questions_outlive_a_restart_until_they_are_reset(
    open_harness: Open, sim: MarketStage
) -> None:
    """The latest list counts; a reset is remembered as well."""
    harness = await open_harness()
    await harness.post("/iserver/questions/suppress", {"messageIds": ["o163"]})
    await harness.finish()
    sim.lose_brokerage()
    again = await open_harness()
    placed = await place(again, FAR)
    await again.post("/iserver/questions/suppress/reset", {})
    asked = await place(again, FAR)

    assert (order_of(placed)[1], order_of(asked)[1]) == ("placed", "question")


# -- restarts


async def test_what_was_under_way_is_found_before_anything_new(open_harness: Open, sim: MarketStage) -> None:
    """On a start after a kill: the order exists, and its caller, asking again, hears of it."""
    harness = await open_harness()
    sim.faults.add("delay", path=ORDERS, times=1, seconds=0.3)
    await gone_away(harness, ORDER, sim, **{"Idempotency-Key": "k"})
    journal = harness.bridge.profile.orders.repository.journal
    rows = await journal.read_all()
    await harness.finish()
    path = journal._journal._path
    assert path is not None
    path.unlink()
    _write_again(path, rows)  # as a kill before the answer leaves it
    again = await open_harness()
    await again.wait_until_settled(rows[0][1].order_id)

    reply = await place(again, Idempotency_Key="k")

    order, state = order_of(reply)
    assert (order, state) == (rows[0][1].order_id, "placed")
    assert reply.json[0]["order_id"] == "1000000001"
    assert len(sent(sim)) == 1


def _write_again(path: Any, rows: Any) -> None:
    from datetime import UTC, datetime

    from ibkr_bridge.events import Bus
    from ibkr_bridge.orders.journal.store import JournalStore

    journal = JournalStore(path, Bus(), lambda: datetime.now(UTC))
    for _, entry, _ in rows:
        journal.append(entry)
    journal.close()


async def test_a_question_nobody_answers_is_declined(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time, so that others get their turn; the journal says so, and IBKR hears a no."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.1)

    asked = await place(harness, FAR)
    after = await place(harness)
    late = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert order_of(after)[1] == "placed"
    told = (await harness.get(f"/orders/{order_of(asked)[0]}")).json
    assert (told["state"], told["error"]) == ("not_placed", "no reply came in time")
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": False}]
    assert (late.status, late.code) == (404, "reply_not_found")


async def test_a_question_of_the_run_before_is_declined(open_harness: Open, sim: MarketStage) -> None:
    """Nobody knows any more what was asked; the order was never confirmed."""
    harness = await open_harness()
    asked = await place(harness, FAR)
    await harness.finish()

    again = await open_harness()
    await within(sim.wait_for_calls("/iserver/reply/"))

    assert again.state_of(order_of(asked)[0]) == "not_placed"
    assert order_of(await place(again))[1] == "placed"


# -- nothing is sent in vain, or late


async def test_an_order_whose_caller_has_gone_is_not_sent(open_harness: Open, sim: MarketStage) -> None:
    """It waited behind a question, and nobody waits for it any more."""
    harness = await open_harness()
    asked = await place(harness, FAR)
    body = json.dumps(LIMIT.body).encode()
    lines = f"Host: localhost\r\nX-Bridge-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"POST {LIMIT.target} HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body)
    await writer.drain()
    while not harness.bridge.profile.orders.submitter.lock._waiting:
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()

    await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})
    refused = await harness.wait_for_events(events.OrderRefused)

    assert refused[0].why == "its caller disconnected before it was sent"  # type: ignore[attr-defined]
    assert len(sent(sim)) == 1


async def test_no_order_goes_where_ghosts_hold_all_places(open_harness: Open, sim: MarketStage) -> None:
    """It would stand in the Gateway's queue and go out who knows when; nor does a cancel."""
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.2")
    sim.faults.add("silence", path="/portfolio/")
    await asyncio.gather(*(harness.get(f"/portfolio/DU1234567/positions/{page}") for page in range(3)))
    sim.faults.add("silence", path=ORDERS)
    await place(harness)
    await harness.wait_until(SessionState.SILENT)

    order, cancel = await place(harness, LIMIT), await harness.request("DELETE", "/iserver/account/DU1234567/order/1")

    assert {order.code, cancel.code} <= {"busy", "session_unavailable"}
    assert len(sent(sim)) == 1


async def test_an_order_is_not_sent_without_a_journal(harness: Harness, sim: MarketStage) -> None:
    """Reads go on, and the status tells."""
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


async def test_no_state_directory_no_order(open_harness: Open, sim: MarketStage) -> None:
    """What cannot be proved is not sent."""
    harness = await open_harness(IBKR_BRIDGE_STATE_DIR="/proc/nowhere")

    reply = await place(harness)

    assert (reply.status, reply.code) == (503, "journal_unavailable")
    assert sent(sim) == []


async def test_a_journal_that_cannot_be_read_at_the_start_is_read_before_the_first_order(
    open_harness: Open, sim: MarketStage, tmp_path: Path
) -> None:
    """Else an order of the run before could be sent a second time."""
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

    again = await place(harness, Idempotency_Key="k")

    assert (refused.status, refused.code) == (503, "journal_unavailable")
    assert (again.status, again.headers["X-Bridge-Source"]) == (200, "cache")
    assert len(sent(sim)) == 1


async def test_a_question_whose_reply_did_not_leave_is_declined_in_time(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that was refused does not make it hang for ever."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.5)
    asked = await place(harness, FAR)
    await harness.post("/gateway/pause")
    await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert await harness.wait_until_settled(order_of(asked)[0]) == "not_placed"


async def test_a_loop_of_refusals_does_not_fill_the_memory(harness: Harness) -> None:
    """Each is in the journal; the list keeps the last thousand."""
    await harness.post("/gateway/pause")
    index = harness.bridge.profile.orders.repository.index

    for quantity in range(1, 1101):
        await place(harness, Placed(quantity=quantity))

    assert len(list(index.newest_first())) == 1000


async def test_a_question_beside_an_accepted_ticket_leaves_that_one_known(harness: Harness, sim: MarketStage) -> None:
    """Saying no to the one does not make the other vanish."""
    both = '[{"order_id":"77","order_status":"Submitted"},{"id":"00000000-0000","message":["?"],"messageIds":["o163"]}]'
    sim.faults.add("status", path=ORDERS, times=1, status=200, body=both)
    harness.bridge.profile.orders.reconciler.fetch_order_lists = _blind

    asked = await place(harness)
    await harness.post("/iserver/reply/00000000-0000", {"confirmed": False})

    assert (order_of(asked)[1], harness.state_of(order_of(asked)[0])) == ("question", "unknown")


async def test_of_two_questions_both_are_answered(harness: Harness, sim: MarketStage) -> None:
    """One after the other, each with its own id."""
    two = '[{"id":"00000000-0001","message":["?"]},{"id":"00000000-0002","message":["?"]}]'
    sim.faults.add("status", path=ORDERS, times=1, status=200, body=two)
    sim.faults.add("status", path="/reply/", times=2, status=200, body='[{"order_id":"77"}]')
    asked = order_of(await place(harness))[0]

    first = await harness.post("/iserver/reply/00000000-0001", {"confirmed": True})
    second = await harness.post("/iserver/reply/00000000-0002", {"confirmed": True})

    assert (order_of(first), order_of(second)) == ((asked, "question"), (asked, "placed"))


async def test_a_question_is_over_in_time_whatever_its_reply_waits_for(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that waits for the session holds nobody up, and is not sent when it is too late."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 1.0)
    asked = await place(harness, FAR)
    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)
    target, wait = f"/iserver/reply/{asked.json[0]['id']}", {"X-Bridge-Wait": "20"}
    reply = asyncio.create_task(harness.post(target, {"confirmed": True}, headers=wait))

    assert await harness.wait_until_settled(order_of(asked)[0]) == "not_placed"
    async with asyncio.timeout(PATIENCE):
        while harness.bridge.profile.orders.submitter.lock.pending is not None:
            await asyncio.sleep(0)
    reply.cancel()
    assert [call for call in sim.calls("/iserver/reply/") if b"true" in call.body] == []


async def test_an_order_that_was_late_and_sent_again_is_found(harness: Harness, sim: MarketStage) -> None:
    """IBKR knows the name already: the first one stands, and somebody hears of it."""
    sim.faults.add("drop", path=ORDERS, times=1)
    mine = Placed(extra={"cOID": "late-two", "orderType": "LMT", "price": 187.5})
    first, _ = order_of(await place(harness, mine))
    await harness.wait_until_settled(first, "not_placed")
    await sim_place(sim, "late-two")

    again = await place(harness, mine)

    assert order_of(again)[1] == "rejected"
    assert await harness.wait_until_settled(first, "placed") == "placed"
    assert await harness.wait_for_events(events.OrderPlacedLate)


@pytest.mark.parametrize(("done", "state"), [(True, "placed"), (False, "not_placed")])
async def test_a_lost_change_of_what_was_never_seen_is_settled_in_the_end(
    harness: Harness, sim: MarketStage, done: bool, state: str
) -> None:
    """Nobody here knows what a bracket's parent was before; when nothing can be on its way any more, its row tells."""
    parent = {**LIMIT.body["orders"][0], "cOID": "parent"}
    child = {**parent, "side": "SELL", "price": 190.0, "parentId": "parent"}
    del child["cOID"]
    reply = await harness.post("/iserver/account/DU1234567/orders", {"orders": [parent, child]})
    number = reply.json[0]["order_id"]
    sim.faults.add("cut-before", path=f"/order/{number}", times=1, done=done)

    lost = await harness.post(f"/iserver/account/DU1234567/order/{number}", {**parent, "price": 187.4})

    assert order_of(lost)[1] == "unknown"
    assert await harness.wait_until_settled(order_of(lost)[0]) == state


async def test_a_change_that_would_not_show_is_not_called_made(harness: Harness, sim: MarketStage) -> None:
    """The same figures as before prove nothing; a person has to look."""
    number = (await place(harness, LIMIT)).json[0]["order_id"]
    sim.faults.add("cut-before", path=f"/order/{number}", times=1, done=False)

    reply = await harness.post(
        f"/iserver/account/DU1234567/order/{number}", {**LIMIT.body["orders"][0], "outsideRTH": True}
    )
    async with asyncio.timeout(PATIENCE):
        while "does not show" not in str((await harness.get(f"/orders/{order_of(reply)[0]}")).json["error"]):
            pass  # each question takes its turns of the loop

    assert harness.state_of(order_of(reply)[0]) == "unknown"


async def test_a_lost_order_whose_caller_left_is_retold_the_same_way_each_time(
    harness: Harness, sim: MarketStage
) -> None:
    """What was found out counts, at the first repeat and at every other."""
    sim.faults.add("done-cut-before", path=ORDERS, times=1)
    await gone_away(harness, ORDER, sim, **{"Idempotency-Key": "k"})
    (left,) = await harness.wait_for_events(events.OrderResponseUndelivered)
    await harness.wait_until_settled(left.order, "placed")  # type: ignore[attr-defined]

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
    ],
)
async def test_what_only_looks_like_an_order_call_is_not_bridged(
    harness: Harness, sim: MarketStage, method: str, target: str
) -> None:
    """It would pass the journal by."""
    reply = await harness.request(method, target, body=ORDER.body)

    assert (reply.status, reply.code) == (404, "not_bridged")
    assert [call for call in sim.gateway_calls() if call.method == method and target in call.target] == []


async def test_a_question_that_could_not_be_confirmed_is_declined_in_time(
    open_harness: Open, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IBKR took so long to ask that the yes would have come after its caller's time."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.5)
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.3", IBKR_GATEWAY_TIMEOUT="5")
    sim.faults.add("delay", path=ORDERS, times=1, seconds=2.6)

    asked = await place(harness, FAR, X_Bridge_Confirm="o163")

    assert order_of(asked)[1] == "question"
    assert await harness.wait_until_settled(order_of(asked)[0]) == "not_placed"


def asking(harness: Harness) -> socket.socket:
    """A caller who has just sent an order."""
    body = json.dumps(ORDER.body).encode()
    lines = f"Host: localhost\r\nX-Bridge-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    caller = socket.create_connection(("127.0.0.1", harness.port))
    caller.sendall(f"POST {ORDER.target} HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body)
    return caller


async def test_an_answer_that_was_never_read_was_never_heard(harness: Harness, sim: MarketStage) -> None:
    """The caller gave up in the very moment it came, and sends the order again at once: before the loop hears of it."""
    hasty = asking(harness)
    await harness.wait_for_events(events.RequestServed)

    hasty.close()  # with the answer unread: a reset
    again = asking(harness)
    await harness.wait_for_events(events.RequestServed, 2)

    assert len(sent(sim)) == 1
    again.close()


async def test_who_hangs_up_just_before_the_answer_is_written_has_not_heard_it(
    harness: Harness, sim: MarketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look at the connection and the first byte: the answer meets a closed door."""
    hasty = asking(harness)
    is_connected = delivery.is_connected

    def is_still_there(request: Any) -> bool:
        there = is_connected(request)
        hasty.close()
        return there

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "is_connected", is_still_there)
        (gone,) = await harness.wait_for_events(events.OrderResponseUndelivered)
    again = asking(harness)
    await harness.wait_for_events(events.RequestServed, 2)

    assert gone.order  # type: ignore[attr-defined]
    assert len(sent(sim)) == 1
    again.close()
