"""What IBKR allows for a contract, and the tickets that break it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ibkr_bridge.errors import ValidationFailed
from ibkr_bridge.models.base import Side
from ibkr_bridge.models.orders import Bracket, OrderChange, OrderTicket, OrderType, TimeInForce
from ibkr_bridge.translation.contract_rules import ContractRules, check_change, check_rules, read_rules

# From the example of IBKR's OpenAPI document, shortened.
STOCK: dict[str, Any] = {
    "canTradeAcctIds": ["DU1"],
    "error": None,
    "orderTypes": ["limit", "midprice", "market", "stop", "stop_limit", "trailing_stop", "marketonclose"],
    "fraqTypes": ["limit", "market"],
    "cqtTypes": ["limit", "market"],
    "orderTypesOutside": ["limit", "stop_limit"],
    "sizeIncrement": 100,
    "tifTypes": ["IOC/MARKET,LIMIT,a", "GTC/o,a", "GTD/o,a", "DAY/o,a"],
    "priceMagnifier": None,
    "incrementRules": [{"lowerEdge": 1.0, "increment": 0.01}, {"lowerEdge": 0.0, "increment": 0.0001}],
    "increment": 0.01,
}


def rules(**members: Any) -> ContractRules:
    """The rules of the stock, with other members."""
    found = read_rules(json.dumps(STOCK | members).encode())
    assert found is not None
    return found


def ticket(**members: Any) -> OrderTicket:
    """A market order for one share."""
    usual: dict[str, Any] = {"side": Side.BUY, "type": OrderType.MARKET, "symbol": "A", "quantity": Decimal(1)}
    return OrderTicket(**usual | members)


LIMIT = {"type": OrderType.LIMIT, "limit_price": Decimal("1.50")}


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"type": OrderType.LIMIT_ON_CLOSE, "limit_price": Decimal(1)}, "type"),
        ({"time_in_force": TimeInForce.OPG}, "time_in_force"),
        ({"type": OrderType.STOP, "stop_price": Decimal(2), "outside_hours": True}, "outside_hours"),
        ({"type": OrderType.STOP, "stop_price": Decimal(2), "quantity": Decimal("0.5")}, "quantity"),
        ({"type": OrderType.MIDPRICE, "quantity": None, "cash_amount": Decimal(100)}, "cash_amount"),
        ({**LIMIT, "limit_price": Decimal("1.505")}, "limit_price"),
        ({**LIMIT, "limit_price": Decimal("0.00005")}, "limit_price"),
        ({"type": OrderType.STOP, "stop_price": Decimal("2.001")}, "stop_price"),
        ({**LIMIT, "bracket": Bracket(take_profit=Decimal("2.005"))}, "bracket.take_profit"),
        ({**LIMIT, "bracket": Bracket(stop_loss=Decimal("1.333"))}, "bracket.stop_loss"),
    ],
)
def test_a_ticket_that_breaks_a_rule_names_its_field(members: dict[str, Any], field: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValidationFailed) as raised:
        check_rules(ticket(**members), "DU1", rules())

    assert raised.value.field == field


@pytest.mark.parametrize(
    "members",
    [
        {},
        LIMIT,
        {**LIMIT, "limit_price": Decimal("-1.50")},
        {**LIMIT, "limit_price": Decimal("0.0005")},
        {**LIMIT, "quantity": Decimal("0.5"), "outside_hours": True, "time_in_force": TimeInForce.IOC},
        {"quantity": Decimal(7)},  # `sizeIncrement` is a step of IBKR's own form, and no rule
        {"quantity": None, "cash_amount": Decimal(100)},
        {"time_in_force": TimeInForce.PAX},
    ],
)
def test_a_ticket_that_keeps_the_rules_is_sent(members: dict[str, Any]) -> None:
    """A rule that refuses a good order is worse than none."""
    check_rules(ticket(**members), "DU1", rules())


def test_an_account_without_the_permission_is_refused() -> None:
    """IBKR names those that have it."""
    with pytest.raises(ValidationFailed) as raised:
        check_rules(ticket(), "DU2", rules())

    assert (raised.value.field, raised.value.hint) == ("symbol", "ask IBKR for the trading permission")


def test_a_refusal_says_what_ibkr_offers() -> None:
    """In the words of the plain API."""
    with pytest.raises(ValidationFailed, match="no orders of type market") as raised:
        check_rules(ticket(), "DU1", rules(orderTypes=["limit", "lit", "trailing_stop"]))

    assert raised.value.hint == "use limit, trail"


def test_a_change_is_checked_for_what_it_sets() -> None:
    """The rest of the order was accepted before."""
    check_change(OrderChange(limit_price=Decimal("1.51")), rules())
    for change, field in (
        (OrderChange(limit_price=Decimal("1.515")), "limit_price"),
        (OrderChange(time_in_force=TimeInForce.OPG), "time_in_force"),
    ):
        with pytest.raises(ValidationFailed) as raised:
            check_change(change, rules())
        assert raised.value.field == field


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":"no"}', b"<html>", b'{"orderTypes":null}', b"3"])
def test_an_answer_without_rules_is_none(body: bytes) -> None:
    """IBKR says them with its second answer, or not at all."""
    assert read_rules(body) is None


def test_an_endless_answer_is_not_parsed() -> None:
    """It would hold the event loop, and all orders with it, for seconds."""
    assert read_rules(json.dumps({**STOCK, "orderTypes": ["limit"] * 100_000}).encode()) is None


def test_what_ibkr_does_not_say_is_not_checked() -> None:
    """An empty list of types would refuse every order."""
    few = read_rules(b'{"orderTypes": []}')

    assert few is not None
    check_rules(ticket(quantity=Decimal("0.5"), **LIMIT), "DU1", few)


def test_a_magnified_price_is_not_checked() -> None:
    """Its steps are those of another unit."""
    check_rules(ticket(**{**LIMIT, "limit_price": Decimal("1.555")}), "DU1", rules(priceMagnifier=100))


@pytest.mark.parametrize(
    ("increment", "good", "bad"),
    [
        (0.00390625, "109.00390625", "109.0039"),  # a two-year note: 1/8 of 1/32
        (0.0078125, "108.0078125", "108.0078"),
        (0.0000005, "0.0066815", "0.00668155"),  # a yen future
        (5e-05, "1.08005", "1.08001"),
        (0.009999999776482582, "1.51", "1.511"),  # a 32-bit float as a double
        (0.010000000000000002, "1.51", "1.511"),
        ("0.25", "5000.25", "5000.3"),
        (10, "1E+2", "105"),
    ],
)
def test_a_step_has_all_its_places(increment: float | str, good: str, bad: str) -> None:
    """A rounded step divides no price, and every order would be refused."""
    steps = rules(incrementRules=[{"lowerEdge": 0, "increment": increment}])
    check_change(OrderChange(limit_price=Decimal(good)), steps)
    check_change(OrderChange(limit_price=-Decimal(good)), steps)

    with pytest.raises(ValidationFailed):
        check_change(OrderChange(limit_price=Decimal(bad)), steps)


@pytest.mark.parametrize("step", [None, "?", 0, -0.01, 0.001953125 / 4, 1e30, [], {}])
def test_steps_that_cannot_all_be_read_are_not_checked(step: object) -> None:
    """Where one is missing, that of the prices below would be taken."""
    half = rules(incrementRules=[{"lowerEdge": 0, "increment": 0.03}, {"lowerEdge": 1, "increment": step}])

    check_rules(ticket(**LIMIT | {"limit_price": Decimal("1.505")}), "DU1", half)


@pytest.mark.parametrize(
    "members",
    [
        {"orderTypes": ["LMT", "MKT"]},
        {"orderTypes": [{"type": "limit"}, None, 3]},
        {"tifTypes": ["GoodToday/o"]},
        {"tifTypes": [{"name": "DAY"}]},
        {"canTradeAcctIds": [{"id": "DU1"}]},
    ],
)
def test_rules_in_other_words_refuse_nothing(members: dict[str, Any]) -> None:
    """They say nothing that is understood, and IBKR's answer to the order decides."""
    check_rules(ticket(**LIMIT), "DU1", rules(**members))


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(sorted(STOCK)), inner),
    max_leaves=8,
)


@given(some.dictionaries(some.sampled_from([*STOCK, "lowerEdge"]), JSON))
def test_no_answer_of_ibkrs_breaks_it(members: dict[str, Any]) -> None:
    """It is parsed, or it is none."""
    found = read_rules(json.dumps({"orderTypes": ["limit"], **members}).encode())

    if found is not None:
        try:
            check_rules(ticket(**LIMIT), "DU1", found)
        except ValidationFailed as refused:
            assert refused.field
