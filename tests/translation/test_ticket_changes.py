"""Changes of orders as IBKR's complete tickets."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from ibkr_bridge.errors import ValidationFailed
from ibkr_bridge.models.orders import OrderChange, Trail
from ibkr_bridge.translation.ticket_changes import changed_ticket
from ibkr_bridge.translation.tickets import encode_body

ROW = {
    "conid": 265598,
    "orderType": "Limit",
    "side": "BUY",
    "timeInForce": "GTC",
    "totalSize": Decimal(10),
    "price": "150.25",
    "outsideRTH": True,
}


def test_a_change_keeps_what_it_does_not_name() -> None:
    """IBKR wants the complete ticket."""
    assert json.loads(encode_body(changed_ticket(ROW, OrderChange(quantity=Decimal(5))))) == {
        "conid": 265598,
        "orderType": "LMT",
        "side": "BUY",
        "tif": "GTC",
        "quantity": 5,
        "price": 150.25,
        "outsideRTH": True,
    }


@pytest.mark.parametrize("price", ["0.0066815", "109.00390625", "108.0078125"])
def test_a_price_that_is_not_changed_keeps_all_its_places(price: str) -> None:
    """A yen future and two notes: a rounded price would be another order."""
    assert str(changed_ticket({**ROW, "price": price}, OrderChange(quantity=Decimal(5)))["price"]) == price


def test_a_price_may_be_changed_to_zero() -> None:
    """A combination may cost nothing; the old limit would be another order than the one that was meant."""
    assert changed_ticket(ROW, OrderChange(limit_price=Decimal(0)))["price"] == 0


@pytest.mark.parametrize(
    ("shown", "field"),
    [
        ({"orderType": "TRAIL", "auxPrice": "180"}, "trail"),
        ({"orderType": "TRAILLMT", "price": "179.5", "auxPrice": "180"}, "trail"),
        ({"orderType": "LMT", "price": ""}, "limit_price"),
        ({"orderType": "STOP_LIMIT", "price": "1", "auxPrice": ""}, "stop_price"),
    ],
)
def test_a_price_that_is_not_shown_must_be_sent(shown: dict[str, Any], field: str) -> None:
    """A stop taken for the distance of a trailing order would change what the caller did not name."""
    with pytest.raises(ValidationFailed) as caught:
        changed_ticket({**ROW, **shown}, OrderChange(quantity=Decimal(5)))

    assert caught.value.field == field


def test_a_trailing_order_is_changed_with_its_distance() -> None:
    """The stop that IBKR shows stays."""
    row = {**ROW, "orderType": "TRAILLMT", "price": "179.5", "auxPrice": "180"}
    changed = changed_ticket(row, OrderChange(quantity=Decimal(5), trail=Trail(Decimal(2))))

    assert (changed["trailingAmt"], changed["auxPrice"], changed["price"]) == (2, 180, Decimal("179.5"))


def test_the_stop_of_a_plain_stop_is_its_price() -> None:
    """IBKR shows it as the one or as the other."""
    row = {**ROW, "orderType": "Stop", "price": "", "auxPrice": "140"}

    assert changed_ticket(row, OrderChange(quantity=Decimal(5)))["price"] == 140
    assert changed_ticket(row, OrderChange(stop_price=Decimal(141)))["price"] == 141


@pytest.mark.parametrize("row", [{**ROW, "orderType": "REL"}, {**ROW, "conid": None}, {}])
def test_an_order_that_is_not_understood_is_not_changed(row: dict[str, Any]) -> None:
    """A part of it could get lost."""
    with pytest.raises(ValidationFailed):
        changed_ticket(row, OrderChange(quantity=Decimal(5)))


@pytest.mark.parametrize(
    ("missing", "field"),
    [("side", "side"), ("timeInForce", "time_in_force"), ("totalSize", "quantity"), ("outsideRTH", "outside_hours")],
)
def test_what_ibkr_does_not_show_is_not_guessed(missing: str, field: str) -> None:
    """An order good till cancelled would otherwise become one for the day."""
    row = {name: value for name, value in ROW.items() if name != missing}

    with pytest.raises(ValidationFailed) as caught:
        changed_ticket(row, OrderChange(limit_price=Decimal(151)))

    assert caught.value.field == field


def test_a_change_may_name_what_ibkr_does_not_show() -> None:
    """Then nothing has to be guessed."""
    row = {name: value for name, value in ROW.items() if name != "outsideRTH"}

    assert changed_ticket(row, OrderChange(limit_price=Decimal(151), outside_hours=False))["outsideRTH"] is False


def test_a_stop_made_elsewhere_keeps_working_outside_hours() -> None:
    """IBKR's own programs can make one; without the flag the change would let it sleep at night."""
    row = {**ROW, "orderType": "Stop"}

    assert changed_ticket(row, OrderChange(stop_price=Decimal(141)))["outsideRTH"] is True
    assert "outsideRTH" not in changed_ticket({**row, "outsideRTH": False}, OrderChange(stop_price=Decimal(141)))
    with pytest.raises(ValidationFailed) as caught:
        changed_ticket(row, OrderChange(outside_hours=True))
    assert caught.value.field == "outside_hours"


def test_ibkrs_word_for_an_order_of_the_day_is_not_sent_back() -> None:
    """Its list writes it in another way than its tickets."""
    assert changed_ticket({**ROW, "timeInForce": "CLOSE"}, OrderChange(quantity=Decimal(5)))["tif"] == "DAY"


@pytest.mark.parametrize("change", [OrderChange(limit_price=Decimal(151)), OrderChange(quantity=Decimal(5))])
def test_an_order_for_an_amount_of_money_is_not_changed(change: OrderChange) -> None:
    """IBKR shows no quantity that could be sent: a thousand dollars would become a thousand shares."""
    with pytest.raises(ValidationFailed):
        changed_ticket({**ROW, "totalCashSize": Decimal(1000), "totalSize": Decimal(1000)}, change)
