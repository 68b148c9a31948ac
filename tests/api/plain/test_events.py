"""`GET /events`: one stream for a page, in the shapes of the plain API."""

from __future__ import annotations

import msgspec
import pytest

from ibkr_bridge.models.accounts import Account, PositionList, Trade
from ibkr_bridge.models.orders import Order
from ibkr_bridge.models.quotes import Quote
from ibkr_bridge.models.session import Session
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness
from tests.stream_clients import SseReader, StreamEvent, open_sse

ACCOUNT = "DU1234567"
MARKET = {"symbol": "MSFT", "side": "buy", "type": "market", "quantity": "2", "client_order_id": "mine"}
FAR_LIMIT = {"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "10", "limit_price": "150"}


async def order_in_state(reader: SseReader, state: str) -> Order:
    """The next event about an order in a state."""
    events = await reader.receive_until(lambda event: event.name == "orders" and event.data["state"] == state)
    return msgspec.convert(events[-1].data, Order, strict=False)


async def test_a_stream_begins_with_the_present_state(harness: Harness) -> None:
    """Each topic in its own shape."""
    shapes = {"session": Session, "account": Account, "positions": PositionList, "quotes": Quote}
    missing = set(shapes)

    async with open_sse(harness, "/events?topics=session,account,positions,quotes&symbols=AAPL") as reader:
        while missing:
            event = await reader.receive()
            msgspec.convert(event.data, shapes[event.name], strict=False)
            missing.discard(event.name)


async def test_a_quote_is_complete_in_each_event(harness: Harness) -> None:
    """IBKR sends only what has changed."""
    async with open_sse(harness, "/events?topics=quotes&symbols=AAPL&conids=8314") as reader:
        quotes = [msgspec.convert((await reader.receive("quotes")).data, Quote, strict=False) for _ in range(6)]

    assert {(quote.symbol, quote.currency) for quote in quotes} == {("AAPL", "USD"), ("IBM", "USD")}
    assert all(None not in (quote.last, quote.bid, quote.ask) for quote in quotes[2:])


async def test_an_order_is_followed_from_its_sending_to_its_fill(harness: Harness) -> None:
    """It has one id all the time, and the trade follows."""
    async with open_sse(harness, "/events?topics=orders,trades") as reader:
        placed = (await harness.post(f"/accounts/{ACCOUNT}/orders", MARKET)).json
        events = await reader.receive_until(lambda event: event.name == "trades")
        trade = msgspec.convert(events[-1].data, Trade, strict=False)
        orders = [event.data for event in events if event.name == "orders"]
        while not any(order["status"] == "filled" for order in orders):
            orders.append((await reader.receive("orders")).data)

    assert {order["id"] for order in orders} == {placed["id"]}
    assert orders[0]["state"] == "sending"
    assert (trade.client_order_id, trade.symbol) == ("mine", "MSFT")


async def test_a_question_and_its_answer_come_at_once(harness: Harness) -> None:
    """A page that is loaded while a question is open gets it first."""
    async with open_sse(harness, "/events?topics=orders") as reader:
        order = (await harness.post(f"/accounts/{ACCOUNT}/orders", FAR_LIMIT)).json
        asked = await order_in_state(reader, "question")
        async with open_sse(harness, "/events?topics=orders") as second:
            again = await order_in_state(second, "question")
        await harness.post(f"/orders/{order['id']}/answer", {"confirm": False})
        declined = await order_in_state(reader, "not_placed")

    assert asked.question is not None
    assert again.question is not None
    assert asked.question.texts == again.question.texts
    assert asked.id == again.id == declined.id == order["id"]


async def test_missed_orders_are_sent_again_after_a_reconnect(harness: Harness) -> None:
    """In the same shapes."""
    async with open_sse(harness, "/events?topics=trades") as reader:
        await harness.post(f"/accounts/{ACCOUNT}/orders", MARKET)
        last = await reader.receive("trades")
    await harness.post(f"/accounts/{ACCOUNT}/orders", {**MARKET, "client_order_id": "second"})

    async with open_sse(harness, "/events?topics=trades", Last_Event_ID=last.id) as reader:
        missed = await reader.receive("trades")

    assert (last.data["client_order_id"], missed.data["client_order_id"]) == ("mine", "second")


async def test_a_lost_session_is_an_event_and_makes_the_source_stale(harness: Harness) -> None:
    """With the sentence for the user."""
    async with open_sse(harness, "/events?topics=session,quotes&symbols=AAPL") as reader:
        await reader.receive("quotes")
        await harness.post("/gateway/logout")
        lost = await reader.receive_until(lambda event: event.name == "session" and not event.data["ready"])
        names = {event.name for event in lost}
        while "stale" not in names:
            names.add((await reader.receive()).name)

    assert lost[-1].data["action"]["kind"] == "sign_in"


async def test_what_is_fetched_is_stale_while_it_cannot_be(harness: Harness, sim: Simulator) -> None:
    """And fresh again when it can."""
    sim.faults.add("status", path="/portfolio/accounts", status=503)

    async with open_sse(harness, "/events?topics=positions") as reader:
        stale = (await reader.receive_until(lambda event: event.data.get("topic") == "positions"))[-1]
        sim.faults.clear()
        fresh = (await reader.receive_until(lambda event: event.data.get("topic") == "positions"))[-1]
        positions = await reader.receive()

    assert (stale.name, stale.data["topic"], stale.data["reason"]) == ("stale", "positions", "upstream_error")
    assert (fresh.name, fresh.data["topic"], positions.name) == ("fresh", "positions", "positions")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("topics=nonsense", "topics"),
        ("topics=quotes", "symbols"),
        ("topics=orders&symbols=AAPL", "symbols"),
        ("topics=quotes&symbols=%2E%2E", "symbols"),
        ("topics=quotes&conids=x", "conids"),
    ],
)
async def test_a_wrong_request_is_refused(harness: Harness, query: str, field: str) -> None:
    """Before the stream begins."""
    reply = await harness.get(f"/events?{query}")

    assert (reply.status, reply.code, reply.json["field"]) == (400, "bad_request", field)


async def test_an_unknown_symbol_is_not_found(harness: Harness) -> None:
    """A page with a wrong symbol must not wait for ever."""
    reply = await harness.get("/events?topics=quotes&symbols=NOPE")

    assert (reply.status, reply.code) == (404, "instrument_not_found")


async def test_the_session_of_a_read_only_key_cannot_trade(open_harness: OpenHarness) -> None:
    """Streams of both kinds of keys run beside each other."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    async with (
        open_sse(harness, "/events?topics=session") as full,
        open_sse(harness, "/events?topics=session", key=READONLY_KEY) as reading,
    ):
        events: list[StreamEvent] = [await full.receive("session"), await reading.receive("session")]

    assert [event.data["can_trade"] for event in events] == [True, False]


async def test_a_future_is_streamed_too(harness: Harness) -> None:
    """IBKR wants a search for its underlying first."""
    async with open_sse(harness, "/events?topics=quotes&symbols=ES@CME") as reader:
        quote = msgspec.convert((await reader.receive("quotes")).data, Quote, strict=False)

    assert (quote.symbol, quote.kind.value) == ("ES", "live")
