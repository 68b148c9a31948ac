"""The order book: fills against the moving price, parents and children, cOIDs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from ibkr_bridge.sim.market.book import COID_TTL_S, Book, Order
from ibkr_bridge.sim.market.quotes import Quotes

AAPL = 265598
QUOTES = Quotes(1)
ASK, BID = QUOTES.ask_price(AAPL, 0.0), QUOTES.bid_price(AAPL, 0.0)
FAR = Decimal(1)  # nobody sells for so little
MARKET = Order(0, "DU1", AAPL, "BUY", "MKT", Decimal(2), None, None, "DAY", "", "", "Submitted", 0.0)
RESTING = replace(MARKET, kind="LMT", price=FAR)


@pytest.fixture
def book() -> Book:
    """An empty book."""
    return Book(QUOTES)


def state(book: Book, order: Order) -> str:
    """The state of an order at time 0."""
    order_now = book.find(order.number, 0.0)
    assert order_now is not None
    return order_now.state


@pytest.mark.parametrize(("side", "price"), [("BUY", ASK), ("SELL", BID)])
def test_a_market_order_fills_completely_at_the_other_sides_price(book: Book, side: str, price: Decimal) -> None:
    """It fills at the next reading of the book, with one trade."""
    order = book.add(replace(MARKET, side=side))
    book.fill_orders(0.0)

    order_now = book.last_state(order.number)
    assert (order_now.state, order_now.filled, order_now.average) == ("Filled", Decimal(2), price)
    assert [(trade.order.number, trade.price) for trade in book.trades] == [(order.number, price)]


@pytest.mark.parametrize(
    ("order", "fills"),
    [
        (replace(MARKET, price=ASK), True),
        (replace(MARKET, price=BID), False),
        (replace(MARKET, side="SELL", price=BID), True),
        (replace(MARKET, side="SELL", price=ASK), False),
        (replace(MARKET, stop=ASK), True),
        (replace(MARKET, stop=ASK + 1), False),
        (replace(MARKET, side="SELL", stop=BID), True),
        (replace(MARKET, side="SELL", stop=BID - 1), False),
    ],
)
def test_limits_and_stops_fill_if_the_price_is_good_and_not_before(book: Book, order: Order, fills: bool) -> None:
    """The bounds are exact to the tick."""
    assert (state(book, book.add(order)) == "Filled") is fills


def test_numbers_are_given_once_and_the_newest_comes_first(book: Book) -> None:
    """An order keeps the number that was reserved for its prompt."""
    reserved = book.reserve_number()
    first, second = book.add(RESTING), book.add(replace(RESTING, number=reserved))

    assert second.number == reserved < first.number
    assert [order.number for order in book.orders(0.0)] == [first.number, reserved]


def test_an_unknown_number_is_no_order(book: Book) -> None:
    """It may be the number of an order of another day."""
    assert book.find(1, 0.0) is None


def test_a_coid_is_known_for_a_day_whatever_became_of_its_order(book: Book) -> None:
    """For that time IBKR refuses another order with it."""
    order = book.add(replace(RESTING, coid="mine"))
    book.cancel([order.number], 1.0)

    assert book.has_coid("mine", COID_TTL_S - 1)
    assert not book.has_coid("mine", COID_TTL_S)
    assert not book.has_coid("", 0.0)


def test_a_change_keeps_coid_and_parent(book: Book) -> None:
    """The ticket of a change may leave both out."""
    order = book.add(replace(RESTING, coid="mine", referrer="app"))

    changed = book.change(order.number, replace(RESTING, size=Decimal(9)))

    assert (changed.number, changed.coid, changed.referrer, changed.size) == (order.number, "mine", "app", Decimal(9))


def test_a_filled_order_cannot_be_cancelled(book: Book) -> None:
    """A cancel of it changes nothing."""
    order = book.add(MARKET)
    book.fill_orders(0.0)

    book.cancel([order.number], 1.0)

    assert state(book, order) == "Filled"


def test_a_child_waits_until_its_parent_has_filled_and_then_one_of_two_fills(book: Book) -> None:
    """The other child is cancelled."""
    parent = book.add(replace(RESTING, coid="parent"))
    taken = book.add(replace(MARKET, side="SELL", parent="parent", state="PreSubmitted"))
    other = book.add(replace(MARKET, side="SELL", parent="parent", stop=FAR, state="PreSubmitted"))
    asleep = [state(book, each) for each in (taken, other)]

    book.change(parent.number, MARKET)
    book.fill_orders(0.0)

    assert asleep == ["PreSubmitted", "PreSubmitted"]
    assert [state(book, each) for each in (parent, taken, other)] == ["Filled", "Filled", "Cancelled"]


def test_with_a_parent_its_children_are_cancelled(book: Book) -> None:
    """Other orders stay."""
    parent = book.add(replace(RESTING, coid="parent"))
    child, unrelated = book.add(replace(MARKET, parent="parent")), book.add(RESTING)

    book.cancel([parent.number], 1.0)

    assert [state(book, each) for each in (parent, child, unrelated)] == ["Cancelled", "Cancelled", "Submitted"]
