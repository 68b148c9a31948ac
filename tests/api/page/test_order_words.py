"""Orders in plain words."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ibkr_bridge.api.page.order_words import KIND_WORDS, STATE_WORDS, STATUS_WORDS, TYPE_WORDS, order_in_words
from ibkr_bridge.models.orders import Order, OrderKind, OrderState, OrderStatus, OrderType

UNTIL = datetime(2026, 6, 17, 1, 43, 20, tzinfo=UTC)
EMPTY: dict[str, Any] = {
    **dict.fromkeys(Order.__struct_fields__),
    **{"id": "19ed", "kind": "place", "state": "placed", "origin": "bridge", "order_ids": [], "warnings": []},
}
LIMIT = {"side": "buy", "quantity": "1", "symbol": "AAPL", "type": "limit", "limit_price": "10.00"}


def words(searched_until: datetime | None = None, **members: Any) -> str:
    """The words for an order with these members."""
    return order_in_words(msgspec.convert({**EMPTY, **members}, Order, strict=False), searched_until)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (LIMIT, "BUY 1 AAPL LMT 10, placed"),
        ({**LIMIT, "status": "working"}, "BUY 1 AAPL LMT 10, working"),
        ({**LIMIT, "state": "question"}, "BUY 1 AAPL LMT 10, IBKR asks something first"),
        ({**LIMIT, "type": "market", "limit_price": None, "side": "sell"}, "SELL 1 AAPL MKT, placed"),
        (
            {**LIMIT, "type": "stop_limit", "stop_price": "9.5"},
            "BUY 1 AAPL STP LMT 10 stop 9.5, placed",
        ),
        (
            {**LIMIT, "quantity": None, "cash_amount": "250", "currency": "USD"},
            "BUY 250 USD AAPL LMT 10, placed",
        ),
        ({**LIMIT, "symbol": None, "conid": 265598}, "BUY 1 conid 265598 LMT 10, placed"),
        ({**LIMIT, "kind": "cancel"}, "cancel BUY 1 AAPL LMT 10, placed"),
        ({"kind": "cancel", "order_id": "77"}, "cancel order 77, placed"),
        (
            {**LIMIT, "quantity": "10", "status": "working", "filled": "4", "remaining": "6", "average_price": "9.90"},
            "BUY 10 AAPL LMT 10, working, filled 4 of 10 at 9.9",
        ),
        (
            {**LIMIT, "status": "filled", "filled": "1", "remaining": "0", "average_price": "9.90"},
            "BUY 1 AAPL LMT 10, filled at 9.9",
        ),
    ],
)
def test_an_order_is_one_line(members: dict[str, Any], text: str) -> None:
    """The words that traders use."""
    assert words(**members) == text


def test_an_unknown_order_says_until_when_it_is_searched_for() -> None:
    """After that nobody searches any more."""
    unknown: dict[str, Any] = {**LIMIT, "state": "unknown"}

    assert words(UNTIL, **unknown) == "BUY 1 AAPL LMT 10, looked for until 01:43:20"
    assert words(None, **unknown) == "BUY 1 AAPL LMT 10, sent, its answer was lost"


def test_every_word_of_the_model_has_words() -> None:
    """A new state cannot be forgotten."""
    assert set(STATE_WORDS) == set(OrderState)
    assert set(STATUS_WORDS) == set(OrderStatus)
    assert set(TYPE_WORDS) == set(OrderType)
    assert set(KIND_WORDS) == set(OrderKind) - {OrderKind.PLACE}


def test_large_and_small_numbers_have_no_exponent() -> None:
    """A person reads them."""
    members: dict[str, Any] = {**LIMIT, "quantity": Decimal("1E+6"), "limit_price": "0.00000100"}

    assert words(**members).startswith("BUY 1000000 AAPL LMT 0.000001")
