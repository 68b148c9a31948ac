"""The largest value of an order ticket, in its account's base currency. Pure: a ticket and facts in, an amount out.

The value is size times price times multiplier times exchange rate, each at its largest; for options it is the premium,
for futures the notional amount. A limit to buy bounds its price by itself. All other orders may be filled at a better
or a worse price than the ticket names, so the larger of the highest named price and a fresh quote counts.

If something is missing or not understood, the result is None, and a limit on order values refuses the order. This
holds for combinations, whose price is a difference, and for bonds, whose price is a percentage. If prices are in
hundredths of the currency (pence, cents), the estimate is a hundred times too high: the order is then refused and not
allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal

MAX_QUOTE_AGE_S = 60.0
"""Seconds; IBKR updates an open stream twice a second, so an older quote is from a market without trading."""
ROUND_UP_CONTEXT = Context(prec=28, rounding=ROUND_UP)  # an estimate is never rounded down
ONE, HUNDRED = Decimal(1), Decimal(100)
NUMBER_PATTERN = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)  # as text; IBKR itself expects JSON numbers
CONTRACT_PATTERN = re.compile(r"\d{1,12}", re.ASCII)
LIMIT, BUY, SIDES, CASH = "LMT", "BUY", ("BUY", "SELL"), "CASH"
PRICES, TRAILING = ("price", "auxprice"), ("trailingamt", "trailingtype")
REQUIRED_MEMBERS: Mapping[
    str, tuple[str, ...]
] = {  # the members that an order type requires (SW2, on its order request)
    "LMT": ("price",),
    "STP": ("price",),
    "STOP_LIMIT": PRICES,
    "TRAIL": TRAILING,
    "TRAILLMT": TRAILING,
}
PRICED_BY_UNIT: Mapping[str, Decimal | None] = {  # asset classes whose price is that of one unit, and its multiplier:
    **{"STK": ONE, CASH: ONE},  # IBKR sends 0.0 or null here (OAS, /trsrv/secdef)
    **dict.fromkeys(("OPT", "FOP", "FUT", "WAR", "IOPT", "CFD", "CRYPTO")),  # only if IBKR sends it
}
STRATEGY_PARAMETERS = "strategyparameters"
"""Parameters of an algorithm; they change when an order is filled, not its size."""

TicketMembers = Mapping[str, object]


@dataclass(frozen=True)
class Quote:
    """The highest of last, bid and ask in real time; `age` in seconds."""

    price: Decimal
    age: float


@dataclass(frozen=True)
class InstrumentFacts:
    """What is known of a ticket's instrument; a fact that could not be fetched is None."""

    kind: str = ""
    """Its asset class."""
    multiplier: Decimal | None = None
    exchange_rate: Decimal | None = None
    """One unit of its currency in the base currency of the account."""
    quote: Quote | None = None


class _UnboundedError(ValueError):
    """The value cannot be bounded."""


def estimate_value(ticket: TicketMembers, facts: InstrumentFacts) -> Decimal | None:
    """The largest value of a ticket in the account's base currency; None if it cannot be bounded."""
    try:
        plain = _lower_case_members(ticket)
        amounts = [
            value_of(plain, facts, _parse_number(plain[name]))
            for name, value_of in SIZE_FIELDS.items()
            if _has_value(plain, name)
        ]
        return ROUND_UP_CONTEXT.multiply(max(amounts), _require_positive(facts.exchange_rate))
    except (ValueError, ArithmeticError):  # also if there is no size, or a number is too large to compute with
        return None


def contract_id_of(ticket: TicketMembers) -> str | None:
    """The contract id; None if there is none, if there are two, or for a combination."""
    try:
        plain = _lower_case_members(ticket)
        conids = {str(plain[name]).partition("@")[0] for name in ("conid", "conidex") if _has_value(plain, name)}
    except ValueError:
        return None
    kind = str(plain.get("sectype") or "")
    conids |= {kind.partition(":")[0]} if ":" in kind else set()  # `265598:STK` contains one as well
    return conids.pop() if len(conids) == 1 and all(map(CONTRACT_PATTERN.fullmatch, conids)) else None


def needs_quote(ticket: TicketMembers) -> bool:
    """Whether nothing in a ticket bounds its price: it has a size in units and is not a limit to buy."""
    try:
        plain = _lower_case_members(ticket)
    except ValueError:
        return False
    return not _is_bounded(plain) and any(
        value_of is _value_of_units and _has_value(plain, name) for name, value_of in SIZE_FIELDS.items()
    )


# -- the forms of a size


def _value_of_units(ticket: TicketMembers, facts: InstrumentFacts, size: Decimal) -> Decimal:
    """A number of shares, contracts or units of a currency."""
    return ROUND_UP_CONTEXT.multiply(ROUND_UP_CONTEXT.multiply(size, _highest_price(ticket, facts)), _multiplier(facts))


def _value_of_money(_: TicketMembers, facts: InstrumentFacts, amount: Decimal) -> Decimal:
    """An amount in the instrument's currency; IBKR does not guarantee that it spends no more (SW2, cashQty)."""
    if (
        facts.kind not in PRICED_BY_UNIT or facts.kind == CASH
    ):  # for a pair it is not documented which of the two currencies it is in
        raise _UnboundedError
    return amount


def _value_of_exchange(ticket: TicketMembers, facts: InstrumentFacts, amount: Decimal) -> Decimal:
    """An amount of one currency to exchange for another: when buying a pair, of its second one (IBKR's page on
    conversion).

    Other orders do not accept such a size, and for a sale it is not documented which of the two currencies it means.
    """
    if facts.kind != CASH or ticket.get("isccyconv") is not True or ticket.get("side") != BUY:
        raise _UnboundedError
    return amount


SIZE_FIELDS: Mapping[str, Callable[[TicketMembers, InstrumentFacts, Decimal], Decimal]] = {
    **dict.fromkeys(("quantity", "qty", "size", "totalsize"), _value_of_units),
    "cashqty": _value_of_money,
    "fxqty": _value_of_exchange,
}


# -- price and multiplier


def _highest_price(ticket: TicketMembers, facts: InstrumentFacts) -> Decimal:
    """The highest price at which a unit may be traded."""
    prices = {name: number for name in PRICES if _has_value(ticket, name) and (number := _parse_number(ticket[name]))}
    # Clients send a price of 0 for one that they leave out.
    present = {*prices, *(name for name in TRAILING if _has_value(ticket, name))}
    if not present.issuperset(REQUIRED_MEMBERS.get(_order_type(ticket), ())) or ticket.get("side") not in SIDES:
        raise _UnboundedError
    ticket_prices = prices.values()
    return (
        max(ticket_prices)
        if _is_bounded(ticket)
        else max([*ticket_prices, _trailing_distance(ticket, _fresh_price(facts.quote))])
    )


def _is_bounded(ticket: TicketMembers) -> bool:
    return ticket.get("ordertype") == LIMIT and ticket.get("side") == BUY


def _order_type(ticket: TicketMembers) -> str:
    order_type = ticket.get("ordertype")
    if not isinstance(order_type, str) or not order_type:
        raise _UnboundedError
    return order_type


def _fresh_price(quote: Quote | None) -> Decimal:
    if quote is None or not abs(quote.age) <= MAX_QUOTE_AGE_S:  # the other clock may be a little ahead of ours
        raise _UnboundedError
    return _require_positive(quote.price)


def _trailing_distance(ticket: TicketMembers, quote: Decimal) -> Decimal:
    """The quote plus the trailing distance, which is an amount or a percentage."""
    if not _has_value(ticket, "trailingamt"):
        return quote
    trail, kind = _parse_number(ticket["trailingamt"]), ticket.get("trailingtype")
    if kind not in ("amt", "%"):
        raise _UnboundedError
    return ROUND_UP_CONTEXT.add(
        quote, trail if kind == "amt" else ROUND_UP_CONTEXT.divide(ROUND_UP_CONTEXT.multiply(quote, trail), HUNDRED)
    )


def _multiplier(facts: InstrumentFacts) -> Decimal:
    if facts.kind not in PRICED_BY_UNIT:
        raise _UnboundedError
    default = PRICED_BY_UNIT[facts.kind]
    return max(default, facts.multiplier or default) if default is not None else _require_positive(facts.multiplier)


# -- the members of a ticket


def _lower_case_members(ticket: TicketMembers) -> TicketMembers:
    """The ticket with lower-case member names; two names that differ in case only are refused, as IBKR may ignore the
    case.
    """
    plain = {str(name).lower(): value for name, value in ticket.items()}
    nested = any(isinstance(value, dict | list) for name, value in plain.items() if name != STRATEGY_PARAMETERS)
    if nested or len(plain) < len(ticket):
        raise _UnboundedError
    return plain


def _has_value(ticket: TicketMembers, name: str) -> bool:
    """Whether a member has a value; clients send null or an empty text for what they leave out."""
    return ticket.get(name) not in (None, "")


def _parse_number(value: object) -> Decimal:
    """A number of a ticket: finite, not negative, and written in a form that can be read in one way only."""
    is_text = isinstance(value, str) and NUMBER_PATTERN.fullmatch(value.strip()) is not None
    if isinstance(value, bool) or not (is_text or isinstance(value, int | float | Decimal)):
        raise _UnboundedError
    number = Decimal(str(value).strip())
    if not number.is_finite() or number < 0:
        raise _UnboundedError
    return number


def _require_positive(number: Decimal | None) -> Decimal:
    if number is None or not number.is_finite() or number <= 0:
        raise _UnboundedError
    return number
