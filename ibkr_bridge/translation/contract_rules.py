"""What IBKR allows for a contract: types of orders, times in force, prices, accounts. Pure.

IBKR answers an order that breaks these rules with a sentence for people, some only after the order was accepted. The
rules are IBKR's (`POST /iserver/contract/rules`); what they do not say is not checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ibkr_bridge.errors import ValidationFailed
from ibkr_bridge.models.orders import Bracket, OrderChange, OrderTicket, OrderType, TimeInForce
from ibkr_bridge.translation.numbers import object_of, parse_body, rows_of, to_decimal, to_exact

RULE_WORDS: Mapping[OrderType, str] = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP: "stop",
    OrderType.STOP_LIMIT: "stop_limit",
    OrderType.TRAIL: "trailing_stop",
    OrderType.TRAIL_LIMIT: "trailing_stop_limit",
    OrderType.MARKET_ON_CLOSE: "marketonclose",
    OrderType.LIMIT_ON_CLOSE: "limitonclose",
    OrderType.MIDPRICE: "midprice",
}
MAX_BYTES = 256 * 1024  # IBKR's have some thousand; parsing 16 MB would hold the event loop for seconds
MIN_STEP, MAX_STEP = Decimal("0.00000001"), Decimal(10) ** 6
STEP_TOLERANCE = Decimal("0.000001")  # of a step that is written as a double, with its noise
CHECKED_TIMES = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.OPG})
"""PAX is a word of some exchanges that IBKR's documented list does not have."""
KNOWN_TYPES = frozenset(RULE_WORDS.values())
KNOWN_TIMES = frozenset(each.value.upper() for each in TimeInForce)
"""A list without any of these words is in other words than those that are known, and says nothing."""


@dataclass(frozen=True)
class ContractRules:
    """What IBKR allows for one side of a contract. An empty set means that IBKR did not say."""

    types: frozenset[str] = frozenset()
    types_outside_hours: frozenset[str] = frozenset()
    types_of_fractions: frozenset[str] | None = None
    """For quantities that are not whole; None if IBKR did not say, empty if there are none."""
    types_of_amounts: frozenset[str] | None = None
    """For amounts of money in place of a quantity; the same."""
    times: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    increments: tuple[tuple[Decimal, Decimal], ...] = ()
    """From which price on which step: the lowest price first."""


def read_rules(body: bytes) -> ContractRules | None:
    """IBKR's answer; None if it is none."""
    if len(body) > MAX_BYTES:
        return None
    answer = object_of(parse_body(body))
    if not isinstance(answer.get("orderTypes"), list):
        return None
    times = frozenset(word.partition("/")[0] for word in _words(answer.get("tifTypes")))
    types = _words(answer["orderTypes"])
    return ContractRules(
        types=types if types & KNOWN_TYPES else frozenset(),
        types_outside_hours=_words(answer.get("orderTypesOutside")),
        types_of_fractions=_words_if_given(answer.get("fraqTypes")),
        types_of_amounts=_words_if_given(answer.get("cqtTypes")),
        times=times if times & KNOWN_TIMES else frozenset(),
        accounts=_words(answer.get("canTradeAcctIds")),
        increments=() if answer.get("priceMagnifier") else tuple(_increments(answer)),
    )


def _words(value: object) -> frozenset[str]:
    return frozenset(word for word in value if isinstance(word, str)) if isinstance(value, list) else frozenset()


def _words_if_given(value: object) -> frozenset[str] | None:
    return _words(value) if isinstance(value, list) else None


def _increments(answer: Mapping[str, object]) -> Iterator[tuple[Decimal, Decimal]]:
    """The steps of prices; none if one of them cannot be read: those of the row below would not hold there."""
    pairs = [(to_decimal(row.get("lowerEdge")), _step(row.get("increment"))) for row in _increment_rows(answer)]
    readable = [(edge, step) for edge, step in pairs if edge is not None and step is not None]
    yield from sorted(readable) if len(readable) == len(pairs) else ()


def _step(value: object) -> Decimal | None:
    """A step of prices; None if it is none, or has more places than a price can have."""
    step = to_exact(value)
    rounded = step.quantize(MIN_STEP) if step is not None and step < MAX_STEP else None
    if step is None or not rounded or rounded < MIN_STEP or abs(rounded - step) > step * STEP_TOLERANCE:
        return None
    return rounded.normalize()


def _increment_rows(answer: Mapping[str, object]) -> list[dict[str, object]]:
    rows = answer.get("incrementRules")
    return [dict(row) for row in rows_of(rows)] or [{"lowerEdge": 0, "increment": answer.get("increment")}]


def check_rules(ticket: OrderTicket, account: str, rules: ContractRules) -> None:
    """Check a ticket against the rules of its contract.

    Raises:
        ValidationFailed: the first rule that it breaks, with the field.
    """
    for problem in _ticket_problems(ticket, account, rules):
        raise problem


def check_change(change: OrderChange, rules: ContractRules) -> None:
    """Check what a change sets against the rules of its contract.

    Raises:
        ValidationFailed: the first rule that it breaks, with the field.
    """
    prices = {"limit_price": change.limit_price, "stop_price": change.stop_price}
    for problem in (*_time_problems(change.time_in_force, rules), *_price_problems(prices, rules)):
        raise problem


def _ticket_problems(ticket: OrderTicket, account: str, rules: ContractRules) -> Iterator[ValidationFailed]:
    word = RULE_WORDS[ticket.type]
    if rules.types and word not in rules.types:
        offered = ", ".join(kind.value for kind, name in RULE_WORDS.items() if name in rules.types)
        yield ValidationFailed(
            f"IBKR has no orders of type {ticket.type.value} for this instrument", field="type", hint=f"use {offered}"
        )
    yield from _time_problems(ticket.time_in_force, rules)
    if ticket.outside_hours and rules.types_outside_hours and word not in rules.types_outside_hours:
        yield ValidationFailed("IBKR does not fill this type outside regular hours", field="outside_hours")
    if rules.accounts and account not in rules.accounts:
        yield ValidationFailed(
            "this account may not trade this instrument",
            field="conid" if ticket.conid else "symbol",
            hint="ask IBKR for the trading permission",
        )
    yield from _size_problems(ticket, word, rules)
    yield from _price_problems(_prices_of(ticket), rules)


def _time_problems(time: TimeInForce | None, rules: ContractRules) -> Iterator[ValidationFailed]:
    if rules.times and time in CHECKED_TIMES and time is not None and time.value.upper() not in rules.times:
        offered = ", ".join(each.value for each in TimeInForce if each.value.upper() in rules.times)
        yield ValidationFailed(
            f"IBKR has no {time.value} orders for this instrument", field="time_in_force", hint=f"use {offered}"
        )


def _size_problems(ticket: OrderTicket, word: str, rules: ContractRules) -> Iterator[ValidationFailed]:
    is_fraction = ticket.quantity is not None and ticket.quantity != ticket.quantity.to_integral_value()
    if is_fraction and rules.types_of_fractions is not None and word not in rules.types_of_fractions:
        yield ValidationFailed("IBKR wants a whole quantity for this instrument and type", field="quantity")
    if ticket.cash_amount is not None and rules.types_of_amounts is not None and word not in rules.types_of_amounts:
        yield ValidationFailed(
            "IBKR takes no amount of money for this instrument and type", field="cash_amount", hint="use quantity"
        )


def _prices_of(ticket: OrderTicket) -> Mapping[str, Decimal | None]:
    bracket = ticket.bracket or Bracket()
    return {
        "limit_price": ticket.limit_price,
        "stop_price": ticket.stop_price,
        "bracket.take_profit": bracket.take_profit,
        "bracket.stop_loss": bracket.stop_loss,
    }


def _price_problems(prices: Mapping[str, Decimal | None], rules: ContractRules) -> Iterator[ValidationFailed]:
    for field, price in prices.items():
        step = _step_at(price, rules) if price is not None else None
        if price is not None and step is not None and price % step:
            yield ValidationFailed(f"prices of this instrument are multiples of {step:f}", field=field)


def _step_at(price: Decimal, rules: ContractRules) -> Decimal | None:
    """The step of prices at a price; None if it is not known."""
    steps = [step for edge, step in rules.increments if edge <= abs(price)]
    return steps[-1] if steps else None
