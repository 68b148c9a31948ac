"""What an order ticket is worth at most, in its account's base currency. Pure: a ticket and facts in, an amount out.

It is size times price times multiplier times exchange rate, each taken where it is largest; for options that is the
premium, for futures the notional amount. A limit to buy bounds its price by itself. Whatever else may be filled at a
better or a worse price than it names, so the highest price it names and a fresh quote count, whichever is larger.

What is missing, or is not understood, bounds nothing: the answer is None then, and a cap on values refuses. So it is
with combinations, whose price is a difference, and bonds, whose price is a percentage. Where prices are told in
hundredths of the currency (pence, cents), the estimate is a hundred times too high: it errs on the side of refusing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal

MAX_QUOTE_AGE_S = 60.0  # seconds; IBKR renews an open stream twice a second, so an older quote is of a market at rest
ROUND_UP_CONTEXT = Context(prec=28, rounding=ROUND_UP)  # an estimate is never rounded below what it stands for
ONE, HUNDRED = Decimal(1), Decimal(100)
NUMBER_PATTERN = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)  # as text; IBKR itself takes JSON numbers
CONTRACT_PATTERN = re.compile(r"\d{1,12}", re.ASCII)
LIMIT, BUY, SIDES, CASH = "LMT", "BUY", ("BUY", "SELL"), "CASH"
PRICES, TRAILING = ("price", "auxprice"), ("trailingamt", "trailingtype")
REQUIRED_MEMBERS: Mapping[
    str, tuple[str, ...]
] = {  # what an order of a type cannot do without (SW2, on its order request)
    "LMT": ("price",),
    "STP": ("price",),
    "STOP_LIMIT": PRICES,
    "TRAIL": TRAILING,
    "TRAILLMT": TRAILING,
}
PRICED_BY_UNIT: Mapping[str, Decimal | None] = {  # asset classes whose price is that of one unit, and its multiplier:
    **{"STK": ONE, CASH: ONE},  # IBKR tells 0.0 or null here (OAS, /trsrv/secdef)
    **dict.fromkeys(("OPT", "FOP", "FUT", "WAR", "IOPT", "CFD", "CRYPTO")),  # only where IBKR tells it
}
STRATEGY_PARAMETERS = "strategyparameters"  # of an algorithm; it changes when an order is filled, not how much of it

TicketMembers = Mapping[str, object]


@dataclass(frozen=True)
class Quote:
    """The highest of last, bid and ask in real time; `age` in seconds."""

    price: Decimal
    age: float


@dataclass(frozen=True)
class InstrumentFacts:
    """What is known of a ticket's instrument; whatever could not be had is None."""

    kind: str = ""
    """Its asset class."""
    multiplier: Decimal | None = None
    exchange_rate: Decimal | None = None
    """One unit of its currency in the base currency of the account."""
    quote: Quote | None = None


class _UnboundedError(ValueError):
    """There is no telling."""


def estimate_value(ticket: TicketMembers, facts: InstrumentFacts) -> Decimal | None:
    """The most a ticket is worth in the account's base currency; None where it cannot be bounded."""
    try:
        plain = _lower_case_members(ticket)
        amounts = [
            way(plain, facts, _parse_number(plain[name]))
            for name, way in SIZE_FIELDS.items()
            if _has_value(plain, name)
        ]
        return ROUND_UP_CONTEXT.multiply(max(amounts), _require_positive(facts.exchange_rate))
    except (ValueError, ArithmeticError):  # no size at all, too; or numbers beyond all reason
        return None


def contract_id_of(ticket: TicketMembers) -> str | None:
    """The contract id; None where there is none, or two, or a combination."""
    try:
        plain = _lower_case_members(ticket)
        named = {str(plain[name]).partition("@")[0] for name in ("conid", "conidex") if _has_value(plain, name)}
    except ValueError:
        return None
    kind = str(plain.get("sectype") or "")
    named |= {kind.partition(":")[0]} if ":" in kind else set()  # `265598:STK` names one as well
    return named.pop() if len(named) == 1 and all(map(CONTRACT_PATTERN.fullmatch, named)) else None


def needs_quote(ticket: TicketMembers) -> bool:
    """Whether nothing in a ticket bounds its price: it has a size in units, and is no limit to buy."""
    try:
        plain = _lower_case_members(ticket)
    except ValueError:
        return False
    return not _is_bounded(plain) and any(
        way is _value_of_units and _has_value(plain, name) for name, way in SIZE_FIELDS.items()
    )


# -- the ways a size is told


def _value_of_units(ticket: TicketMembers, facts: InstrumentFacts, size: Decimal) -> Decimal:
    """So many shares, contracts, units of a currency."""
    return ROUND_UP_CONTEXT.multiply(ROUND_UP_CONTEXT.multiply(size, _highest_price(ticket, facts)), _multiplier(facts))


def _value_of_money(_: TicketMembers, facts: InstrumentFacts, amount: Decimal) -> Decimal:
    """So much money, in the instrument's currency; IBKR gives no guarantee that it spends no more (SW2, cashQty)."""
    if facts.kind not in PRICED_BY_UNIT or facts.kind == CASH:  # of two currencies nobody says which one it is in
        raise _UnboundedError
    return amount


def _value_of_exchange(ticket: TicketMembers, facts: InstrumentFacts, amount: Decimal) -> Decimal:
    """So much of a currency to be given for another: when buying a pair, of its second one (IBKR's page on conversion).

    In other orders IBKR takes no such size, and of a sale nobody says which of the two it is.
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
    """The highest at which a unit may change hands."""
    named = {name: number for name in PRICES if _has_value(ticket, name) and (number := _parse_number(ticket[name]))}
    given = {
        *named,
        *(name for name in TRAILING if _has_value(ticket, name)),
    }  # a price of 0 is how clients leave one out
    if not given.issuperset(REQUIRED_MEMBERS.get(_order_type(ticket), ())) or ticket.get("side") not in SIDES:
        raise _UnboundedError
    own = named.values()
    return max(own) if _is_bounded(ticket) else max([*own, _trailing_distance(ticket, _fresh_price(facts.quote))])


def _is_bounded(ticket: TicketMembers) -> bool:
    return ticket.get("ordertype") == LIMIT and ticket.get("side") == BUY


def _order_type(ticket: TicketMembers) -> str:
    told = ticket.get("ordertype")
    if not isinstance(told, str) or not told:
        raise _UnboundedError
    return told


def _fresh_price(quote: Quote | None) -> Decimal:
    if quote is None or not abs(quote.age) <= MAX_QUOTE_AGE_S:  # the other clock may be a little ahead of ours
        raise _UnboundedError
    return _require_positive(quote.price)


def _trailing_distance(ticket: TicketMembers, quote: Decimal) -> Decimal:
    """How far the market has to go until an order that trails it goes out: an amount, or a percentage."""
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
    own = PRICED_BY_UNIT[facts.kind]
    return max(own, facts.multiplier or own) if own is not None else _require_positive(facts.multiplier)


# -- what stands in a ticket


def _lower_case_members(ticket: TicketMembers) -> TicketMembers:
    """A ticket by names in small letters: should IBKR not mind the case, two of the same would be one too many."""
    plain = {str(name).lower(): value for name, value in ticket.items()}
    nested = any(isinstance(value, dict | list) for name, value in plain.items() if name != STRATEGY_PARAMETERS)
    if nested or len(plain) < len(ticket):
        raise _UnboundedError
    return plain


def _has_value(ticket: TicketMembers, name: str) -> bool:
    """Whether something is given; clients write null or an empty text for what they leave out."""
    return ticket.get(name) not in (None, "")


def _parse_number(value: object) -> Decimal:
    """A number as it stands in a ticket: none that is negative, endless, or written in a way one could read in two."""
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
