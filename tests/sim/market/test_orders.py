"""Placing, confirming, changing and cancelling orders, and what IBKR remembers of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.book import COID_TTL_S, Order
from ibkr_bridge.sim.market.order_lists import MAX_ROWS
from ibkr_bridge.sim.market.quotes import Quotes
from ibkr_bridge.sim.market.tickets import BadTicketError, questions, read_ticket
from tests.clocks import ManualClock
from tests.sim.wire import Wire, WireResponse, connect

API = "/v1/api/iserver"
PLACE = f"{API}/account/DU1234567/orders"
AAPL = 265598


def ticket(sim: Simulator, off: str = "-1", **changed: Any) -> dict[str, Any]:
    """A limit order to buy, `off` dollars from the market."""
    price = float(sim.market.world.quotes.last_price(AAPL, sim.clock.now()) + Decimal(off))
    return {"conid": AAPL, "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": price} | changed


async def place(wire: Wire, *tickets: dict[str, Any]) -> Any:
    return (await wire.call("POST", PLACE, {"orders": list(tickets)})).json()


async def reply(wire: Wire, question: Any, confirmed: bool = True) -> WireResponse:
    return await wire.call("POST", f"{API}/reply/{question[0]['id']}", {"confirmed": confirmed})


async def live(wire: Wire) -> list[dict[str, Any]]:
    await wire.call("GET", f"{API}/account/orders")
    return list((await wire.call("GET", f"{API}/account/orders")).json()["orders"])


async def test_a_plain_order_is_placed_at_once(sim: Simulator, wire: Wire) -> None:
    """The live list shows it with its cOID."""
    [placed] = await place(wire, ticket(sim, cOID="mine"))

    [row] = await live(wire)
    assert placed["order_status"] == "Submitted"
    assert (str(row["orderId"]), row["order_ref"], row["status"]) == (placed["order_id"], "mine", "Submitted")


async def test_an_order_beyond_the_funds_is_refused(sim: Simulator, wire: Wire) -> None:
    """With status 200, as IBKR refuses an order. It is in no list, and neither is a change that needs too much."""
    refused = await place(wire, ticket(sim, quantity=100_000))
    [placed] = await place(wire, ticket(sim))
    change = (
        await wire.call("POST", f"{API}/account/DU1234567/order/{placed['order_id']}", ticket(sim, quantity=9e5))
    ).json()

    assert refused["error"].startswith("YOUR ORDER IS NOT ACCEPTED") and change["error"].startswith("YOUR ORDER IS NOT")
    assert [row["totalSize"] for row in await live(wire)] == [1]


async def test_the_first_list_of_a_session_is_empty_and_no_snapshot(sim: Simulator, wire: Wire) -> None:
    """So is every forced list."""
    await place(wire, ticket(sim))
    path = f"{API}/account/orders"

    lists = [(await wire.call("GET", path + query)).json() for query in ("", "", "?force=true", "")]

    assert [(len(each["orders"]), each["snapshot"]) for each in lists] == [(0, False), (1, True), (0, False), (1, True)]


async def test_the_list_can_be_out_of_date_until_it_is_cleared(clock: ManualClock) -> None:
    """After that it is empty for a moment."""
    async with Simulator(clock=clock, list_lag_s=60.0, list_load_delay_s=1.0) as sim:
        wire, path = await connect(sim), f"{API}/account/orders"

        async def fetch_list(query: str = "", after: float = 0.0) -> tuple[int, bool]:
            clock.advance(after)
            body = (await wire.call("GET", path + query)).json()
            return len(body["orders"]), body["snapshot"]

        before = [await fetch_list(), await fetch_list(), await fetch_list(after=1.0)]
        await place(wire, ticket(sim))
        after = [
            await fetch_list(),
            await fetch_list("?force=true"),
            await fetch_list(after=0.5),
            await fetch_list(after=0.5),
        ]
        wire.abort()

    assert before == [(0, False), (0, False), (0, True)]
    assert after == [(0, True), (0, False), (0, False), (1, True)]


async def test_the_list_has_at_most_a_thousand_orders_and_filters_by_account(sim: Simulator, wire: Wire) -> None:
    """The newest orders come first."""
    order = read_ticket(ticket(sim, cOID="old"), "DU7654321", sim.market.world.quotes, sim.clock.now())
    for number in range(MAX_ROWS + 1):
        sim.market.world.book.add(replace(order, coid=f"{number}"))
    await place(wire, ticket(sim))

    everything = await live(wire)
    other = (await wire.call("GET", f"{API}/account/orders?accountId=DU7654321")).json()["orders"]
    mine = (await wire.call("GET", f"{API}/account/orders?accountId=DU1234567")).json()["orders"]

    assert (len(everything), everything[1]["order_ref"]) == (MAX_ROWS, f"{MAX_ROWS}")
    assert (len(other), len(mine)) == (MAX_ROWS, 1)


async def test_filters_are_in_snake_case_or_a_server_error(sim: Simulator, wire: Wire) -> None:
    """IBKR does not accept CamelCase."""
    await place(wire, ticket(sim))
    await live(wire)

    assert (await wire.call("GET", f"{API}/account/orders?filters=Submitted")).status == 500
    assert len((await wire.call("GET", f"{API}/account/orders?filters=submitted")).json()["orders"]) == 1
    assert (await wire.call("GET", f"{API}/account/orders?filters=filled")).json()["orders"] == []


async def test_questions_follow_one_another(sim: Simulator, wire: Wire) -> None:
    """The price is first, then the size. Nothing is placed before the last one is confirmed."""
    first = await place(wire, ticket(sim, off="-50", quantity=600))
    assert await live(wire) == []
    second = (await reply(wire, first)).json()
    placed = (await reply(wire, second)).json()

    assert (first[0]["messageIds"], second[0]["messageIds"]) == (["o163"], ["o383"])
    assert first[0]["id"] != second[0]["id"]
    assert placed[0]["order_status"] == "Submitted"


async def test_several_messages_may_come_in_one_question(sim: Simulator, wire: Wire) -> None:
    """One reply answers them all; a bracket has one question for all its tickets."""
    sim.market.world.questions.asks_together = True
    question = await place(wire, ticket(sim, off="-50", quantity=600))
    placed = (await reply(wire, question)).json()

    assert [(len(each["message"]), each["messageIds"]) for each in question] == [(2, ["o163", "o383"])]
    assert placed[0]["order_status"] == "Submitted"


async def test_a_declined_order_is_not_placed(sim: Simulator, wire: Wire) -> None:
    """The response is an error inside a 200."""
    question = await place(wire, ticket(sim, quantity=600))

    response = await reply(wire, question, confirmed=False)

    assert (response.status, response.json()) == (200, {"error": "Order not confirmed "})
    assert await live(wire) == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/account/DU1234567/orders", {"orders": []}),
        ("POST", "/account/DU1234567/orders/whatif", {"orders": []}),
        ("POST", "/account/DU1234567/order/1", {}),
        ("DELETE", "/account/DU1234567/order/1", None),
        ("POST", "/reply/nonsense", {"confirmed": True}),
    ],
)
async def test_any_other_order_call_cancels_the_question(
    sim: Simulator, wire: Wire, method: str, path: str, body: object
) -> None:
    """The reply id is then not found."""
    question = await place(wire, ticket(sim, quantity=600))
    await wire.call(method, API + path, body)

    response = await reply(wire, question)

    assert (response.status, response.json()) == (400, {"error": f"reply id not found: '{question[0]['id']}'"})


async def test_a_read_leaves_the_question_open(sim: Simulator, wire: Wire) -> None:
    """Only order calls cancel it."""
    question = await place(wire, ticket(sim, quantity=600))
    await live(wire)

    assert (await reply(wire, question)).json()[0]["order_status"] == "Submitted"


async def test_a_question_ends_with_its_brokerage_session(sim: Simulator, wire: Wire) -> None:
    """The next session does not know the reply id."""
    question = await place(wire, ticket(sim, quantity=600))
    sim.log_in()

    response = await reply(wire, question)

    assert (response.status, "reply id not found" in response.json()["error"]) == (400, True)


async def test_suppressed_questions_are_not_asked(sim: Simulator, wire: Wire) -> None:
    """This holds for the brokerage session, until a reset."""
    await wire.call("POST", f"{API}/questions/suppress", {"messageIds": ["o383"]})
    quiet = await place(wire, ticket(sim, quantity=600))
    await wire.call("POST", f"{API}/questions/suppress/reset")
    question = await place(wire, ticket(sim, quantity=600))

    assert "order_id" in quiet[0]
    assert question[0]["messageIds"] == ["o383"]


async def test_a_coid_is_accepted_once(sim: Simulator, wire: Wire) -> None:
    """This is IBKR's only protection against an order that is sent twice."""
    await place(wire, ticket(sim, cOID="mine"))

    body = await place(wire, ticket(sim, cOID="mine"))

    assert body == {"error": "Order couldn't be submitted: Local order ID=mine is already registered."}


async def test_a_coid_is_accepted_once_in_one_request(sim: Simulator, wire: Wire) -> None:
    """Either all tickets of a request are placed or none."""
    body = await place(wire, ticket(sim, cOID="mine"), ticket(sim, cOID="mine"))

    assert body == {"error": "Order couldn't be submitted: Local order ID=mine is already registered."}
    assert await live(wire) == []


async def test_a_coid_stays_registered_whatever_becomes_of_its_order(
    sim: Simulator, wire: Wire, clock: ManualClock
) -> None:
    """It stays registered for a day, even if its order was changed or cancelled."""
    [placed] = await place(wire, ticket(sim, cOID="mine"))
    path = f"{API}/account/DU1234567/order/{placed['order_id']}"
    await wire.call("POST", path, ticket(sim, cOID="another"))
    await wire.call("DELETE", path)

    assert "already registered" in (await place(wire, ticket(sim, cOID="mine")))["error"]
    clock.advance(COID_TTL_S)
    sim.log_in()
    assert "order_id" in (await place(wire, ticket(sim, cOID="mine")))[0]


async def test_a_coid_that_was_registered_while_a_prompt_was_open_is_refused(sim: Simulator, wire: Wire) -> None:
    """Other orders do not close a prompt, so its order is checked again."""
    sim.faults.add("prompt", times=1)
    prompt = await place(wire, ticket(sim, cOID="mine"))
    await place(wire, ticket(sim, cOID="mine"))

    await notify(wire, prompt, "Use on this order")

    assert len(await live(wire)) == 1


@pytest.mark.parametrize("broken", [{"conid": 1}, {"side": "buy"}, {"price": None}, {"quantity": 0}, {"price": "x"}])
async def test_a_malformed_ticket_is_a_server_error(sim: Simulator, wire: Wire, broken: dict[str, Any]) -> None:
    """The status is not 400."""
    response = await wire.call("POST", PLACE, {"orders": [ticket(sim) | broken]})

    assert response.status == 500


async def test_an_order_is_changed_by_a_complete_ticket(sim: Simulator, wire: Wire) -> None:
    """The body is one object without a wrapper."""
    [placed] = await place(wire, ticket(sim, cOID="mine"))

    await wire.call("POST", f"{API}/account/DU1234567/order/{placed['order_id']}", ticket(sim, quantity=7))

    [row] = await live(wire)
    assert (row["totalSize"], row["order_ref"]) == (7, "mine")


async def test_a_large_change_of_size_leads_to_a_question(sim: Simulator, wire: Wire) -> None:
    """A change can lead to questions like a new order, and is applied only after they are answered."""
    [placed] = await place(wire, ticket(sim, cOID="mine"))
    path = f"{API}/account/DU1234567/order/{placed['order_id']}"

    question = (await wire.call("POST", path, ticket(sim, quantity=300))).json()
    before = (await live(wire))[0]["totalSize"]
    await reply(wire, question)

    assert question[0]["messageIds"] == ["o10138"]
    assert (before, (await live(wire))[0]["totalSize"]) == (1, 300)


async def test_an_order_that_ended_while_the_question_was_open_is_not_changed(
    sim: Simulator, wire: Wire, clock: ManualClock
) -> None:
    """The order can no longer be changed."""
    [placed] = await place(wire, ticket(sim, off="-0.50"))
    path = f"{API}/account/DU1234567/order/{placed['order_id']}"
    question = (await wire.call("POST", path, ticket(sim, off="-0.50", quantity=300))).json()
    sim.market.world.book.cancel([int(placed["order_id"])], clock.now())

    assert (await reply(wire, question)).json() == {"error": f"OrderID {placed['order_id']} doesn't exist"}


async def test_a_cancel_says_it_was_requested(sim: Simulator, wire: Wire) -> None:
    """A second cancel gets an error inside a 200."""
    [placed] = await place(wire, ticket(sim))
    path = f"{API}/account/DU1234567/order/{placed['order_id']}"

    assert (await wire.call("DELETE", path)).json()["msg"] == "Request was submitted"
    assert [row["status"] for row in await live(wire)] == ["Cancelled"]
    assert (await wire.call("DELETE", path)).json() == {"error": f"OrderID {placed['order_id']} doesn't exist"}


async def test_minus_one_cancels_all_orders(sim: Simulator, wire: Wire) -> None:
    """The orders are those of the account."""
    await place(wire, ticket(sim))
    await place(wire, ticket(sim))

    await wire.call("DELETE", f"{API}/account/DU1234567/order/-1")

    assert {row["status"] for row in await live(wire)} == {"Cancelled"}


async def test_the_children_of_a_bracket_work_once_the_parent_has_filled(sim: Simulator, wire: Wire) -> None:
    """One of the two fills, and the other is cancelled."""
    parent = ticket(sim, off="1", cOID="parent")
    profit = ticket(sim, off="-1", side="SELL", parentId="parent")
    loss = ticket(sim, off="-5", side="SELL", parentId="parent")

    await place(wire, parent, profit, loss)

    assert sorted(row["status"] for row in await live(wire)) == ["Cancelled", "Filled", "Filled"]


async def test_a_bracket_is_placed_completely_or_not_at_all(sim: Simulator, wire: Wire) -> None:
    """One question, one unreadable ticket or one child without its parent stops all of it."""
    parent, child = ticket(sim, cOID="parent"), ticket(sim, off="1", side="SELL", parentId="parent")

    question = await place(wire, parent, child | {"quantity": 600})
    unreadable = await wire.call("POST", PLACE, {"orders": [parent, child | {"side": "sell"}]})
    orphan = await place(wire, parent, child | {"parentId": "unknown"})
    nothing = await live(wire)
    placed = await place(wire, parent, child)

    assert question[0]["messageIds"] == ["o383"]
    assert (unreadable.status, list(orphan), nothing) == (500, ["error"], [])
    assert len(placed) == 2


async def notify(wire: Wire, prompt: Any, text: str) -> Any:
    fetch_list = {"orderId": prompt["orderId"], "reqId": prompt["reqId"], "text": text}
    return (await wire.call("POST", f"{API}/notification", fetch_list)).json()


@pytest.mark.parametrize(("option", "orders"), [(0, 1), (1, 1), (2, 0)])
async def test_a_prompt_is_answered_by_a_notification(sim: Simulator, wire: Wire, option: int, orders: int) -> None:
    """The response does not show what becomes of the order."""
    sim.faults.add("prompt", times=1)
    prompt = await place(wire, ticket(sim, cOID="mine"))
    waiting = await live(wire)

    body = await notify(wire, prompt, prompt["options"][option])
    await notify(wire, prompt, prompt["options"][0])

    assert (prompt["prompt"], prompt["type"], waiting) == (True, "M", [])
    assert body == "Request was submitted"
    assert [row["orderId"] for row in await live(wire)] == [prompt["orderId"]] * orders


async def test_an_unknown_prompt_gets_the_same_response(sim: Simulator, wire: Wire) -> None:
    """The answer has no effect."""
    assert await notify(wire, {"orderId": 1, "reqId": "2"}, "Yes") == "Request was submitted"
    assert await live(wire) == []


async def test_an_order_fills_when_its_price_is_reached(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """Positions and trades follow."""
    await place(wire, ticket(sim, off="-0.50", cOID="mine"))
    assert (await wire.call("GET", f"{API}/account/trades")).json() == []
    limit = sim.market.world.quotes.last_price(AAPL, clock.now()) - Decimal("0.50")
    while sim.market.world.quotes.ask_price(AAPL, clock.now()) > limit:
        clock.advance(1.0)

    [trade] = (await wire.call("GET", f"{API}/account/trades")).json()

    assert (trade["order_ref"], trade["account"], trade["side"]) == ("mine", "DU1234567", "B")


async def test_an_unknown_order_has_no_status(wire: Wire) -> None:
    """IBKR answers with 503."""
    assert (await wire.call("GET", f"{API}/account/order/status/1")).status == 503


async def test_suppressions_are_fifty_one_at_most_and_end_with_the_session(sim: Simulator, wire: Wire) -> None:
    """The next session asks again."""
    path = f"{API}/questions/suppress"
    much = await wire.call("POST", path, {"messageIds": [f"o{number}" for number in range(52)]})
    await wire.call("POST", path, {"messageIds": ["o383"]})
    sim.log_in()

    assert much.status == 400
    assert (await place(wire, ticket(sim, quantity=600)))[0]["messageIds"] == ["o383"]


async def test_the_referrer_of_an_order_stays_with_it(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """IBKR stores it and never shows it."""
    [placed] = await place(wire, ticket(sim, referrer="here"))

    order = sim.market.world.book.find(int(placed["order_id"]), clock.now())

    assert order is not None
    assert order.referrer == "here"


async def test_a_preview_places_nothing(sim: Simulator, wire: Wire) -> None:
    """It only returns the cost."""
    preview = (await wire.call("POST", f"{PLACE}/whatif", {"orders": [ticket(sim)]})).json()

    assert set(preview) >= {"amount", "equity", "initial", "maintenance", "position", "warn", "error"}
    assert await live(wire) == []


VALUES = some.none() | some.text(max_size=8) | some.integers() | some.floats() | some.booleans() | some.just(AAPL)
NAMES = some.sampled_from(["conid", "conidex", "orderType", "side", "quantity", "price", "auxPrice", "cOID", "tif"])


@given(some.dictionaries(NAMES, VALUES))
def test_no_ticket_confuses_the_reader(made: dict[str, Any]) -> None:
    """It is read, or refused with one kind of error."""
    quotes = Quotes(1)
    base = {"conid": AAPL, "orderType": "LMT", "side": "BUY", "quantity": 1, "price": 190}
    for each in (made, base | made):
        try:
            order: Order = read_ticket(each, "DU1234567", quotes, 0.0)
        except BadTicketError:
            continue
        questions(order, quotes.last_price(order.conid, 0.0))


async def test_a_large_order_is_shown_with_its_filled_and_remaining_size(
    sim: Simulator, wire: Wire, clock: ManualClock
) -> None:
    """In the list, in its status and in the trades."""
    question = await place(wire, ticket(sim, orderType="MKT", quantity=1500, cOID="large"))
    [placed] = (await reply(wire, question)).json()
    [before] = await live(wire)
    status = (await wire.call("GET", f"{API}/account/order/status/{placed['order_id']}")).json()
    clock.advance(10)
    [after] = (await wire.call("GET", f"{API}/account/orders")).json()["orders"]
    trades = (await wire.call("GET", f"{API}/account/trades")).json()

    filled = trades[0]["size"]
    assert (before["status"], before["filledQuantity"], before["remainingQuantity"]) == (
        "Submitted",
        filled,
        1500 - filled,
    )
    assert (before["avgPrice"], before["sizeAndFills"]) == (trades[0]["price"], f"{filled:.0f}/1500")
    assert (status["cum_fill"], status["size"], status["order_status"]) == (filled, 1500 - filled, "Submitted")
    assert (after["status"], after["filledQuantity"], after["remainingQuantity"]) == ("Filled", 1500, 0)
    assert {trade["order_ref"] for trade in trades} == {"large"}
    assert sum(trade["size"] for trade in trades) == 1500
    assert len({trade["execution_id"] for trade in trades}) == len(trades) == 3
