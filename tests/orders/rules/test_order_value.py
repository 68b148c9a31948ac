"""The largest value that an order can have. If it is not known, the result is None."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge.orders.rules.order_value import (
    MAX_QUOTE_AGE_S,
    InstrumentFacts,
    Quote,
    contract_id_of,
    estimate_value,
    needs_quote,
)

QUOTE = Quote(Decimal(200), 1.0)
STOCK = InstrumentFacts("STK", None, Decimal(1), QUOTE)
FUTURE = InstrumentFacts("FUT", Decimal(50), Decimal("0.9"), Quote(Decimal(5000), 1.0))
PAIR = InstrumentFacts("CASH", None, Decimal("0.9"), Quote(Decimal("1.1"), 1.0))

AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=4)
TYPES = ["LMT", "MKT", "STP", "STOP_LIMIT", "TRAIL", "TRAILLMT", "MIDPRICE", "MOC", "REL", "lmt", "", None, 1]
VALUES = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(max_size=8)),
        st.sampled_from(
            ["1", "1.5", "", "-1", "NaN", "Infinity", "1e5", "1,000", "BUY", "SELL", "LMT", "MKT", "amt", "%"]
        ),
        st.integers(10**4000, 10**5000),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)
NAMES = [
    *("quantity", "Quantity", "qty", "size", "totalSize", "cashQty", "fxQty", "price", "auxPrice", "trailingAmt"),
    *("trailingType", "orderType", "side", "conid", "conidex", "secType", "isCcyConv", "strategyParameters"),
]
TICKETS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), VALUES, max_size=10)
DECIMALS = st.none() | st.decimals()
FACTS = st.builds(
    InstrumentFacts,
    kind=st.sampled_from(["STK", "CASH", "OPT", "FUT", "BOND", "BAG", "", "None"]),
    multiplier=DECIMALS,
    exchange_rate=DECIMALS,
    quote=st.none() | st.builds(Quote, price=st.decimals(), age=st.floats()),
)


def ticket(order: str = "LMT", side: str = "BUY", quantity: Any = 10, **more: Any) -> dict[str, Any]:
    """An order; it has a price only if `more` has one."""
    return {"conid": 265598, "orderType": order, "side": side, "quantity": quantity, **more}


def estimate(one: dict[str, Any], facts: InstrumentFacts = STOCK) -> Decimal | None:
    """The estimate for a ticket as the parser of the body returns it."""
    return estimate_value(json.loads(json.dumps(one, default=float), parse_float=Decimal), facts)


# -- the price


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (ticket(price=190), 1900),
        (ticket(price=190.5), 1905),
        (ticket(price="190.5"), 1905),
        (ticket(price=300), 3000),
        (ticket(price=190, auxPrice=0), 1900),
        (ticket(price=190, auxPrice=""), 1900),
        (ticket(price=190, auxPrice=None), 1900),
        (ticket(price=190, auxPrice=195), 1950),
        (ticket(side="SELL", price=190), 2000),
        (ticket(side="SELL", price=210), 2100),
        (ticket("MKT"), 2000),
        (ticket("MKT", "SELL"), 2000),
        (ticket("MKT", price=0), 2000),
        (ticket("MKT", price=250), 2500),
        (ticket("STP", price=190), 2000),
        (ticket("STP", price=210), 2100),
        (ticket("STP", "SELL", price=190), 2000),
        (ticket("STOP_LIMIT", price=220, auxPrice=210), 2200),
        (ticket("STOP_LIMIT", price=210, auxPrice=220), 2200),
        (ticket("STOP_LIMIT", price=150, auxPrice=150), 2000),
        (ticket("TRAIL", trailingAmt=5, trailingType="amt"), 2050),
        (ticket("TRAIL", trailingAmt=10, trailingType="%"), 2200),
        (ticket("TRAILLMT", trailingAmt=5, trailingType="amt", price=300, auxPrice=1), 3000),
        (ticket("MIDPRICE"), 2000),
        (ticket("MIDPRICE", price=210), 2100),
        (ticket("MOC"), 2000),
        (ticket("lmt", price=190), 2000),
        (ticket("LIMIT", price=190), 2000),
        (ticket("MKT", strategy="Vwap", strategyParameters={"MaxPctVol": "0.1"}), 2000),
        (ticket("MKT", quantity=0), 0),
        (ticket("MKT", quantity="10"), 2000),
        (ticket("MKT", quantity="0.5"), 100),
        (ticket("MKT", quantity=10, size=20), 4000),
    ],
)
def test_the_highest_possible_price_counts(one: dict[str, Any], value: int) -> None:
    """A limit to buy bounds the price. For other orders the quote and every price that they name count too."""
    assert estimate(one) == value


def test_a_limit_to_buy_needs_no_quote() -> None:
    """The limit bounds the price, whatever the market does."""
    assert estimate(ticket(price=190), replace(STOCK, quote=None)) == 1900


@pytest.mark.parametrize(
    "quote",
    [
        None,
        Quote(Decimal(200), MAX_QUOTE_AGE_S + 0.1),
        Quote(Decimal(200), -MAX_QUOTE_AGE_S - 0.1),
        Quote(Decimal(200), float("nan")),
        Quote(Decimal(200), float("inf")),
        Quote(Decimal(0), 1.0),
        Quote(Decimal(-5), 1.0),
        Quote(Decimal("NaN"), 1.0),
        Quote(Decimal("Infinity"), 1.0),
    ],
)
@pytest.mark.parametrize("order", ["MKT", "STP", "STOP_LIMIT", "TRAIL", "TRAILLMT", "MIDPRICE", "SELL", "whatever"])
def test_all_other_orders_need_a_fresh_quote(order: str, quote: Quote | None) -> None:
    """An old quote does not show the price that the market has now."""
    one = ticket(order, price=190, auxPrice=190, trailingAmt=1, trailingType="amt")
    one |= {"orderType": "LMT", "side": "SELL"} if order == "SELL" else {}

    assert estimate(one) is not None
    assert estimate(one, replace(STOCK, quote=quote)) is None


# -- size, multiplier, currency


@pytest.mark.parametrize(
    ("facts", "value"),
    [
        (STOCK, 1000),
        (replace(STOCK, multiplier=Decimal(1)), 1000),
        (replace(STOCK, multiplier=Decimal(0)), 1000),
        (replace(STOCK, multiplier=Decimal(100)), 100_000),
        (replace(STOCK, exchange_rate=Decimal("0.9")), 900),
        (FUTURE, 45_000),
        (PAIR, 900),
        (replace(STOCK, kind="OPT", multiplier=Decimal(100)), 100_000),
        (replace(STOCK, kind="WAR", multiplier=Decimal("0.1")), 100),
        (replace(STOCK, kind="OPT"), None),
        (replace(STOCK, kind="OPT", multiplier=Decimal(0)), None),
        (replace(STOCK, kind="OPT", multiplier=Decimal(-100)), None),
        (replace(STOCK, kind="FUT", multiplier=Decimal("NaN")), None),
        (replace(STOCK, kind="FUT", multiplier=Decimal("Infinity")), None),
        (replace(STOCK, kind="CRYPTO"), None),
        (replace(STOCK, kind="BOND", multiplier=Decimal(1000)), None),
        (replace(STOCK, kind="BAG", multiplier=Decimal(1)), None),
        (replace(STOCK, kind="", multiplier=Decimal(1)), None),
        (replace(STOCK, exchange_rate=None), None),
        (replace(STOCK, exchange_rate=Decimal(0)), None),
        (replace(STOCK, exchange_rate=Decimal(-1)), None),
        (replace(STOCK, exchange_rate=Decimal("NaN")), None),
        (InstrumentFacts(), None),
    ],
)
def test_multiplier_and_exchange_rate_must_be_known(facts: InstrumentFacts, value: int | None) -> None:
    """A stock has the multiplier one. IBKR must name that of others, and the price of a bond is a percentage."""
    assert estimate(ticket(price=100), facts) == value


@pytest.mark.parametrize(
    ("size", "facts", "value"),
    [
        ({"cashQty": 500}, STOCK, 500),
        ({"cashQty": 500}, replace(STOCK, quote=None, exchange_rate=Decimal("0.9")), 450),
        ({"cashQty": "500.5"}, STOCK, Decimal("500.5")),
        ({"cashQty": 500}, replace(STOCK, exchange_rate=None), None),
        ({"cashQty": 500}, replace(STOCK, kind="BAG"), None),
        ({"cashQty": 500}, PAIR, None),
        ({"cashQty": 500, "quantity": 1}, STOCK, 500),
        ({"cashQty": 500, "quantity": 10}, STOCK, 2000),
        ({"cashQty": 500, "quantity": 10}, replace(STOCK, quote=None), None),
        ({"cashQty": -1}, STOCK, None),
        ({"cashQty": ""}, STOCK, None),
        ({"fxQty": 500, "isCcyConv": True}, PAIR, 450),
        ({"FXQTY": 500, "isCcyConv": True}, PAIR, 450),
        ({"fxQty": 500}, PAIR, None),
        ({"fxQty": 500, "isCcyConv": "true"}, PAIR, None),
        ({"fxQty": 500, "isCcyConv": True, "side": "SELL"}, PAIR, None),
        ({"fxQty": 500, "isCcyConv": True}, STOCK, None),
        ({"fxQty": 500, "isCcyConv": True}, replace(PAIR, exchange_rate=None), None),
        ({"quantity": 500, "isCcyConv": True}, PAIR, 495),
    ],
)
def test_a_size_in_money_counts_if_its_currency_is_known(
    size: dict[str, Any], facts: InstrumentFacts, value: Decimal | int | None
) -> None:
    """The amount is in the currency of the instrument. For a pair the ticket must show which of its two is meant."""
    one = {"conid": 1, "orderType": "MKT", "side": "BUY", **size}

    assert estimate(one, facts) == value


# -- missing or invalid members


GOOD = ticket(price=190)


@pytest.mark.parametrize("missing", ["quantity", "price", "orderType", "side"])
@pytest.mark.parametrize("how", ["left out", None, "", "nonsense", -1, True, [], {}])
def test_an_order_with_a_missing_member_has_no_known_value(missing: str, how: Any) -> None:
    """A change without a size, or a limit without a price, has no known value."""
    one = {name: value for name, value in GOOD.items() if name != missing}
    one |= {} if how == "left out" else {missing: how}

    assert estimate(GOOD) == 1900
    assert estimate(one, replace(STOCK, quote=None)) is None


@pytest.mark.parametrize(
    "order",
    [
        {"orderType": "LMT"},
        {"orderType": "LMT", "side": "SELL"},
        {"orderType": "LMT", "price": 0},
        {"orderType": "STP"},
        {"orderType": "STOP_LIMIT", "price": 1},
        {"orderType": "STOP_LIMIT", "auxPrice": 1},
        {"orderType": "TRAIL"},
        {"orderType": "TRAIL", "trailingAmt": 1},
        {"orderType": "TRAIL", "trailingAmt": 1, "trailingType": "pct"},
        {"orderType": "TRAIL", "trailingType": "amt"},
        {"orderType": "TRAILLMT", "price": 1, "auxPrice": 1},
        {"orderType": "MKT", "side": "buy"},
        {"orderType": "MKT", "side": None},
        {"orderType": 1},
    ],
)
def test_an_order_without_a_price_of_its_type_has_no_known_value(order: dict[str, Any]) -> None:
    """A quote does not replace a price that the type of the order needs."""
    assert estimate({**ticket("MKT"), **order}) is None


@pytest.mark.parametrize("name", ["quantity", "price", "auxPrice", "cashQty", "qty"])
@pytest.mark.parametrize(
    "value",
    ["1,000", "1e3", "-1", "+1", "0x1", "1_000", "\u0661", "1.", ".5", "NaN", "Infinity", "ten", -1, -0.5, True, 1e999],
)
def test_an_order_with_an_invalid_number_has_no_known_value(name: str, value: Any) -> None:
    """It is not known which number IBKR would read in it."""
    assert estimate_value({**GOOD, name: value}, STOCK) is None


@pytest.mark.parametrize(
    "more",
    [
        {"Quantity": 1000},
        {"PRICE": 1},
        {"ordertype": "MKT"},
        {"legs": [{"quantity": 11}]},
        {"child": {"quantity": 11}},
        {"orders": [{"quantity": 11}]},
        {"price": [1]},
    ],
)
def test_an_ambiguous_order_has_no_known_value(more: dict[str, Any]) -> None:
    """A second size in other letters and orders within an order are ambiguous."""
    assert estimate({**GOOD, **more}) is None


# -- the instrument, and whether a quote is needed


@pytest.mark.parametrize(
    ("one", "conid"),
    [
        ({"conid": 265598}, "265598"),
        ({"conid": "265598"}, "265598"),
        ({"conidex": "265598@SMART"}, "265598"),
        ({"conidex": "265598"}, "265598"),
        ({"conid": 265598, "conidex": "265598@SMART"}, "265598"),
        ({"conid": 265598, "conidex": ""}, "265598"),
        ({"conid": 265598, "secType": "265598:STK"}, "265598"),
        ({"conid": 265598, "secType": "STK"}, "265598"),
        ({"secType": "265598:STK"}, "265598"),
        ({"conid": 265598, "secType": "8314:STK"}, None),
        ({"conid": 265598, "conidex": "8314@SMART"}, None),
        ({"conid": 265598, "CONID": 8314}, None),
        ({"conidex": "28812380;;;265598/1,8314/-1"}, None),
        ({"conid": 265598, "conidex": "28812380;;;265598/1,8314/-1"}, None),
        ({"conid": -1}, None),
        ({"conid": 1.5}, None),
        ({"conid": True}, None),
        ({"conid": [265598]}, None),
        ({}, None),
    ],
)
def test_a_combination_has_no_single_instrument(one: dict[str, Any], conid: str | None) -> None:
    """The price of a combination is a difference, which may have any value."""
    assert contract_id_of(one) == conid


@pytest.mark.parametrize(
    ("one", "needed"),
    [
        (ticket(price=1), False),
        (ticket(side="SELL", price=1), True),
        (ticket("MKT"), True),
        (ticket("MKT", quantity=None, cashQty=5), False),
        (ticket("MKT", quantity=5, cashQty=5), True),
        (ticket("MKT", quantity=None), False),
        (ticket("MKT", Quantity=5), False),
    ],
)
def test_a_quote_is_fetched_only_if_it_counts(one: dict[str, Any], needed: bool) -> None:
    """Each quote takes time and one of the hundred market data lines of IBKR."""
    assert needs_quote(one) is needed


# -- any ticket


@given(TICKETS, FACTS)
@example({"quantity": 10**5000, "orderType": "MKT", "side": "BUY"}, STOCK)
@example({"conid": 10**5000}, STOCK)
@example({"quantity": Decimal("1e999999"), "price": Decimal("1e999999"), "orderType": "LMT", "side": "BUY"}, STOCK)
@example({"quantity": Decimal("sNaN"), "orderType": "MKT", "side": "BUY"}, STOCK)
@example({"quantity": 1, "orderType": "MKT", "side": "BUY"}, InstrumentFacts("STK", Decimal("sNaN"), Decimal(1), QUOTE))
@example({"quantity": 1, "orderType": ["LMT"], "side": {}}, STOCK)
def test_no_ticket_raises(one: dict[str, Any], facts: InstrumentFacts) -> None:
    """The result is a finite amount or None."""
    value = estimate_value(one, facts)

    assert value is None or (value.is_finite() and value >= 0)
    assert needs_quote(one) in (True, False)
    assert (contract_id_of(one) or "1").isdecimal()


ORDERS = st.fixed_dictionaries(
    {
        "orderType": st.sampled_from(["LMT", "MKT", "STP", "STOP_LIMIT", "TRAIL", "TRAILLMT", "MIDPRICE", "REL"]),
        "side": st.sampled_from(["BUY", "SELL"]),
        "quantity": AMOUNTS,
        "price": AMOUNTS,
        "auxPrice": AMOUNTS,
        "trailingAmt": AMOUNTS,
        "trailingType": st.sampled_from(["amt", "%"]),
    }
)


@given(ORDERS, st.sampled_from([STOCK, FUTURE, PAIR]), st.data())
def test_an_estimate_never_falls_when_a_size_or_a_price_rises(
    one: dict[str, Any], facts: InstrumentFacts, data: Any
) -> None:
    """This holds for every type of order, with rounding."""
    name = data.draw(st.sampled_from(["quantity", "price", "auxPrice", "trailingAmt"]))
    larger = {**one, name: one[name] + data.draw(AMOUNTS)}

    before, after = estimate_value(one, facts), estimate_value(larger, facts)

    assert before is None or (after is not None and after >= before)


@given(ORDERS, AMOUNTS, st.decimals("0.0001", 10**6, places=4), st.decimals("0.0001", 10**6, places=4))
def test_an_estimate_never_falls_when_the_market_or_a_rate_rises(
    one: dict[str, Any], more: Decimal, price: Decimal, rate: Decimal
) -> None:
    """This holds for the quote, the exchange rate and the multiplier."""
    facts = InstrumentFacts("FUT", Decimal(50), rate, Quote(price, 0.0))
    dearer = (
        replace(facts, quote=Quote(price + more, 0.0)),
        replace(facts, exchange_rate=rate + more),
        replace(facts, multiplier=Decimal(50) + more),
    )
    before = estimate_value(one, facts)

    assert before is None or all(
        (after := estimate_value(one, each)) is not None and after >= before for each in dearer
    )


@given(AMOUNTS, st.decimals("0.0001", 10**9, places=4), st.decimals("0.0001", 10**6, places=12))
def test_an_estimate_is_never_rounded_down(size: Decimal, price: Decimal, rate: Decimal) -> None:
    """An estimate that is rounded down could pass the limit."""
    value = estimate_value(ticket(quantity=size, price=price), replace(STOCK, exchange_rate=rate))

    assert value is not None
    assert Fraction(value) >= Fraction(size) * Fraction(price) * Fraction(rate)


@given(ORDERS, st.sampled_from(["quantity", "orderType", "side"]), st.sampled_from([STOCK, FUTURE, PAIR]))
def test_an_order_without_a_necessary_fact_has_no_known_value(
    one: dict[str, Any], left_out: str, facts: InstrumentFacts
) -> None:
    """Every order needs size, type, side and rate; all but stocks and pairs need the multiplier too."""
    without = {name: value for name, value in one.items() if name != left_out}

    assert estimate_value(without, facts) is None
    assert estimate_value(one, replace(facts, exchange_rate=None)) is None
    assert estimate_value(one, replace(facts, kind="FUT", multiplier=None)) is None
    assert estimate_value(one, replace(facts, quote=None)) is None or (one["orderType"], one["side"]) == ("LMT", "BUY")
