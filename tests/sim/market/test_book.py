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


LARGE = replace(MARKET, size=Decimal(1500))


def fill_until(book: Book, order: Order, seconds: int) -> list[Order]:
    """The order as it is at each second."""
    return [found for second in range(seconds) if (found := book.find(order.number, float(second))) is not None]


def test_a_large_order_fills_in_parts_of_what_the_market_shows(book: Book) -> None:
    """It is `Submitted` until its last part, and there is a trade for each."""
    order = book.add(LARGE)

    states = fill_until(book, order, 4)

    shown = [QUOTES.shown_size(AAPL, "BUY", float(second)) for second in range(2)]
    assert [each.filled for each in states] == [shown[0], sum(shown), 1500, 1500]
    assert [each.state for each in states] == ["Submitted", "Submitted", "Filled", "Filled"]
    assert [trade.size for trade in book.trades] == [*shown, 1500 - sum(shown)]
    assert [trade.at for trade in book.trades] == [0.0, 1.0, 2.0]


def test_the_average_price_and_the_commission_are_those_of_all_parts(book: Book) -> None:
    """The minimum commission applies once."""
    order = book.add(LARGE)
    book.fill_orders(0.0)
    book.fill_orders(9.0)

    filled, value = book.last_state(order.number), sum(trade.size * trade.price for trade in book.trades)
    assert filled.average == round(value / 1500, 6)
    assert filled.commission == sum(trade.commission for trade in book.trades) == Decimal("7.50")


def test_parts_that_fell_due_between_two_readings_have_their_own_times_and_prices(book: Book) -> None:
    """Nobody has to read the book each second."""
    order = book.add(LARGE)
    book.fill_orders(0.0)
    book.fill_orders(60.0)

    assert book.last_state(order.number).state == "Filled"
    assert [(trade.at, trade.price) for trade in book.trades] == [
        (moment, QUOTES.ask_price(AAPL, moment)) for moment in (0.0, 1.0, 2.0)
    ]


def test_a_limit_order_waits_with_its_rest_while_the_price_is_too_high(book: Book) -> None:
    """A part fills only at a good price, also one that fell due long ago."""
    order = book.add(replace(LARGE, kind="LMT", price=ASK))
    moments = [float(second) for second in range(600)]
    for moment in moments:
        book.fill_orders(moment)

    good = [moment for moment in moments if QUOTES.ask_price(AAPL, moment) <= ASK]
    assert [trade.at for trade in book.trades] == good[:3]
    assert book.last_state(order.number).filled == 1500


def test_a_changed_limit_does_not_fill_in_the_past(book: Book) -> None:
    """The new price counts from now on."""
    order = book.add(LARGE)
    book.fill_orders(0.0)
    book.change(order.number, replace(LARGE, kind="LMT", price=FAR))
    book.fill_orders(100.0)
    book.change(order.number, LARGE)
    book.fill_orders(101.0)

    assert [trade.at for trade in book.trades] == [0.0, 101.0]


def test_a_change_to_less_than_what_has_filled_ends_the_order(book: Book) -> None:
    """What has filled cannot be taken back."""
    order = book.add(LARGE)
    book.fill_orders(0.0)

    changed = book.change(order.number, replace(LARGE, size=Decimal(1)))

    assert (changed.state, changed.size, changed.filled) == (
        "Filled",
        changed.filled,
        QUOTES.shown_size(AAPL, "BUY", 0),
    )


def test_a_cancel_keeps_what_has_filled(book: Book) -> None:
    """Only the rest is cancelled."""
    order = book.add(LARGE)
    book.fill_orders(0.0)
    book.cancel([order.number], 0.5)
    book.fill_orders(60.0)

    assert book.last_state(order.number).state == "Cancelled"
    assert book.last_state(order.number).filled == QUOTES.shown_size(AAPL, "BUY", 0)


def test_a_stop_that_was_triggered_fills_its_rest_at_any_price(book: Book) -> None:
    """It has become a market order."""
    order = book.add(replace(LARGE, stop=ASK, state="PreSubmitted"))
    states = fill_until(book, order, 60)

    assert [each.state for each in states[:2]] == ["Submitted", "Submitted"]
    assert states[-1].state == "Filled"
    assert [trade.at for trade in book.trades] == [0.0, 1.0, 2.0]


def test_children_wait_for_the_last_part_of_their_parent(book: Book) -> None:
    """Then one of them fills in parts, and the other gets smaller with each, and is cancelled with the last."""
    parent = book.add(replace(LARGE, coid="parent"))
    taken = book.add(replace(LARGE, side="SELL", parent="parent", state="PreSubmitted"))
    other = book.add(replace(LARGE, side="SELL", parent="parent", stop=FAR, state="PreSubmitted"))
    history = []
    for second in range(6):
        book.fill_orders(float(second))
        history.append([book.last_state(each.number) for each in (parent, taken, other)])

    first = QUOTES.shown_size(AAPL, "SELL", 2)
    assert [row[0].state for row in history] == ["Submitted", "Submitted", *["Filled"] * 4]
    assert [row[1].filled for row in history[:2]] == [0, 0]
    assert (history[2][1].filled, history[2][2].size) == (first, 1500 - first)
    assert [each.state for each in history[5]] == ["Filled", "Filled", "Cancelled"]
    assert sum(trade.size for trade in book.trades if trade.order.side == "SELL") == 1500
