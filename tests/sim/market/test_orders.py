"""Placing, confirming, changing, cancelling, and what IBKR remembers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.quotes import Quotes
from ibkr_bridge.sim.market.tickets import BadTicketError, questions, read_ticket
from tests.clocks import ManualClock
from tests.sim.wire import Got, Wire

API = "/v1/api/iserver"
PLACE = f"{API}/account/DU1234567/orders"
AAPL = 265598


def ticket(sim: Simulator, off: str = "-1", **changed: Any) -> dict[str, Any]:
    """A limit order to buy, `off` dollars from the market."""
    price = float(sim.market.world.quotes.last(AAPL, sim.clock.now()) + Decimal(off))
    return {"conid": AAPL, "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": price} | changed


async def place(wire: Wire, *tickets: dict[str, Any]) -> Any:
    return (await wire.call("POST", PLACE, {"orders": list(tickets)})).json()


async def reply(wire: Wire, question: Any, confirmed: bool = True) -> Got:
    return await wire.call("POST", f"{API}/reply/{question[0]['id']}", {"confirmed": confirmed})


async def live(wire: Wire) -> list[dict[str, Any]]:
    await wire.call("GET", f"{API}/account/orders")
    return list((await wire.call("GET", f"{API}/account/orders")).json()["orders"])


async def test_a_plain_order_is_placed_at_once(sim: Simulator, wire: Wire) -> None:
    """And found again by its own name."""
    [placed] = await place(wire, ticket(sim, cOID="mine"))

    [row] = await live(wire)
    assert placed["order_status"] == "Submitted"
    assert (str(row["orderId"]), row["order_ref"], row["status"]) == (placed["order_id"], "mine", "Submitted")


async def test_the_first_list_of_a_session_is_empty_and_no_snapshot(sim: Simulator, wire: Wire) -> None:
    """And so is every forced one."""
    await place(wire, ticket(sim))
    path = f"{API}/account/orders"

    said = [(await wire.call("GET", path + query)).json() for query in ("", "", "?force=true", "")]

    assert [(len(each["orders"]), each["snapshot"]) for each in said] == [(0, False), (1, True), (0, False), (1, True)]


async def test_filters_are_in_snake_case_or_a_server_error(sim: Simulator, wire: Wire) -> None:
    """CamelCase is not understood."""
    await place(wire, ticket(sim))
    await live(wire)

    assert (await wire.call("GET", f"{API}/account/orders?filters=Submitted")).status == 500
    assert len((await wire.call("GET", f"{API}/account/orders?filters=submitted")).json()["orders"]) == 1
    assert (await wire.call("GET", f"{API}/account/orders?filters=filled")).json()["orders"] == []


async def test_questions_follow_one_another(sim: Simulator, wire: Wire) -> None:
    """Price first, then size; nothing is placed before the last is confirmed."""
    first = await place(wire, ticket(sim, off="-50", quantity=600))
    assert await live(wire) == []
    second = (await reply(wire, first)).json()
    done = (await reply(wire, second)).json()

    assert (first[0]["messageIds"], second[0]["messageIds"]) == (["o163"], ["o383"])
    assert first[0]["id"] != second[0]["id"]
    assert done[0]["order_status"] == "Submitted"


async def test_a_declined_order_is_not_placed(sim: Simulator, wire: Wire) -> None:
    """An error inside a 200."""
    question = await place(wire, ticket(sim, quantity=600))

    said = await reply(wire, question, confirmed=False)

    assert (said.status, said.json()) == (200, {"error": "Order not confirmed "})
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
async def test_any_other_order_call_kills_the_question(
    sim: Simulator, wire: Wire, method: str, path: str, body: object
) -> None:
    """The reply id is not found any more."""
    question = await place(wire, ticket(sim, quantity=600))
    await wire.call(method, API + path, body)

    said = await reply(wire, question)

    assert (said.status, said.json()) == (400, {"error": f"reply id not found: '{question[0]['id']}'"})


async def test_a_reading_call_leaves_the_question_alone(sim: Simulator, wire: Wire) -> None:
    """Only order calls kill it."""
    question = await place(wire, ticket(sim, quantity=600))
    await live(wire)

    assert (await reply(wire, question)).json()[0]["order_status"] == "Submitted"


async def test_suppressed_questions_are_not_asked(sim: Simulator, wire: Wire) -> None:
    """For this brokerage session, until reset."""
    await wire.call("POST", f"{API}/questions/suppress", {"messageIds": ["o383"]})
    quiet = await place(wire, ticket(sim, quantity=600))
    await wire.call("POST", f"{API}/questions/suppress/reset")
    asked = await place(wire, ticket(sim, quantity=600))

    assert "order_id" in quiet[0]
    assert asked[0]["messageIds"] == ["o383"]


async def test_a_name_is_taken_once(sim: Simulator, wire: Wire) -> None:
    """The only protection against an order sent twice."""
    await place(wire, ticket(sim, cOID="mine"))

    said = await place(wire, ticket(sim, cOID="mine"))

    assert said == {"error": "Order couldn't be submitted: Local order ID=mine is already registered."}


@pytest.mark.parametrize("broken", [{"conid": 1}, {"side": "buy"}, {"price": None}, {"quantity": 0}, {"price": "x"}])
async def test_a_malformed_ticket_is_a_server_error(sim: Simulator, wire: Wire, broken: dict[str, Any]) -> None:
    """Not 400."""
    said = await wire.call("POST", PLACE, {"orders": [ticket(sim) | broken]})

    assert said.status == 500


async def test_an_order_is_changed_as_a_whole(sim: Simulator, wire: Wire) -> None:
    """One object, no wrapper."""
    [placed] = await place(wire, ticket(sim, cOID="mine"))

    await wire.call("POST", f"{API}/account/DU1234567/order/{placed['order_id']}", ticket(sim, quantity=7))

    [row] = await live(wire)
    assert (row["totalSize"], row["order_ref"]) == (7, "mine")


async def test_a_cancel_says_it_was_requested(sim: Simulator, wire: Wire) -> None:
    """Twice is an error inside a 200."""
    [placed] = await place(wire, ticket(sim))
    path = f"{API}/account/DU1234567/order/{placed['order_id']}"

    assert (await wire.call("DELETE", path)).json()["msg"] == "Request was submitted"
    assert [row["status"] for row in await live(wire)] == ["Cancelled"]
    assert (await wire.call("DELETE", path)).json() == {"error": f"OrderID {placed['order_id']} doesn't exist"}


async def test_minus_one_cancels_everything(sim: Simulator, wire: Wire) -> None:
    """Of the account."""
    await place(wire, ticket(sim))
    await place(wire, ticket(sim))

    await wire.call("DELETE", f"{API}/account/DU1234567/order/-1")

    assert {row["status"] for row in await live(wire)} == {"Cancelled"}


async def test_a_bracket_wakes_its_children_when_the_parent_fills(sim: Simulator, wire: Wire) -> None:
    """Of the two one fills, the other is cancelled."""
    parent = ticket(sim, off="1", cOID="parent")
    profit = ticket(sim, off="-1", side="SELL", parentId="parent")
    loss = ticket(sim, off="-5", side="SELL", parentId="parent")

    await place(wire, parent, profit, loss)

    assert sorted(row["status"] for row in await live(wire)) == ["Cancelled", "Filled", "Filled"]


async def test_a_price_that_comes_fills_the_order(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """Positions and trades follow."""
    await place(wire, ticket(sim, off="-0.50", cOID="mine"))
    assert (await wire.call("GET", f"{API}/account/trades")).json() == []
    limit = sim.market.world.quotes.last(AAPL, clock.now()) - Decimal("0.50")
    while sim.market.world.quotes.ask(AAPL, clock.now()) > limit:
        clock.advance(1.0)

    [trade] = (await wire.call("GET", f"{API}/account/trades")).json()

    assert (trade["order_ref"], trade["account"], trade["side"]) == ("mine", "DU1234567", "B")


async def test_an_order_nobody_knows_has_no_status(wire: Wire) -> None:
    """503, says IBKR."""
    assert (await wire.call("GET", f"{API}/account/order/status/1")).status == 503


async def test_a_preview_places_nothing(sim: Simulator, wire: Wire) -> None:
    """It only tells the cost."""
    said = (await wire.call("POST", f"{PLACE}/whatif", {"orders": [ticket(sim)]})).json()

    assert set(said) >= {"amount", "equity", "initial", "maintenance", "position", "warn", "error"}
    assert await live(wire) == []


VALUES = some.none() | some.text(max_size=8) | some.integers() | some.floats() | some.booleans() | some.just(AAPL)
NAMES = some.sampled_from(["conid", "conidex", "orderType", "side", "quantity", "price", "auxPrice", "cOID", "tif"])


@settings(deadline=None)
@given(some.dictionaries(NAMES, VALUES))
def test_no_ticket_confuses_the_desk(made: dict[str, Any]) -> None:
    """It is read, or refused in one way."""
    quotes = Quotes(1)
    base = {"conid": AAPL, "orderType": "LMT", "side": "BUY", "quantity": 1, "price": 190}
    for each in (made, base | made):
        try:
            order: Order = read_ticket(each, "DU1234567", quotes, 0.0)
        except BadTicketError:
            continue
        questions(order, quotes.last(order.conid, 0.0))
