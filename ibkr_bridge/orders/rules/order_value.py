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

FRESH_WITHIN = 60.0  # seconds; IBKR renews an open stream twice a second, so an older quote is of a market at rest
UP = Context(prec=28, rounding=ROUND_UP)  # an estimate is never rounded below what it stands for
ONE, HUNDRED = Decimal(1), Decimal(100)
NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)  # as text; IBKR itself takes JSON numbers
CONTRACT = re.compile(r"\d{1,12}", re.ASCII)
LIMIT, BUY, SIDES, CASH = "LMT", "BUY", ("BUY", "SELL"), "CASH"
PRICES, TRAILING = ("price", "auxprice"), ("trailingamt", "trailingtype")
NEEDED: Mapping[str, tuple[str, ...]] = {  # what an order of a type cannot do without (SW2, on its order request)
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
NESTED = "strategyparameters"  # of an algorithm; it changes when an order is filled, not how much of it

Ticket = Mapping[str, object]


@dataclass(frozen=True)
class Quote:
    """The highest of last, bid and ask in real time; `age` in seconds."""

    price: Decimal
    age: float


@dataclass(frozen=True)
class Facts:
    """What is known of a ticket's instrument; whatever could not be had is None."""

    kind: str = ""
    """Its asset class."""
    multiplier: Decimal | None = None
    rate: Decimal | None = None
    """One unit of its currency in the base currency of the account."""
    quote: Quote | None = None


class _UnboundedError(ValueError):
    """There is no telling."""


def estimate(ticket: Ticket, facts: Facts) -> Decimal | None:
    """The most a ticket is worth in the account's base currency; None where it cannot be bounded."""
    try:
        plain = _plain(ticket)
        amounts = [way(plain, facts, _number(plain[name])) for name, way in WAYS.items() if _names(plain, name)]
        return UP.multiply(max(amounts), _positive(facts.rate))
    except (ValueError, ArithmeticError):  # no size at all, too; or numbers beyond all reason
        return None


def instrument(ticket: Ticket) -> str | None:
    """The contract id; None where there is none, or two, or a combination."""
    try:
        plain = _plain(ticket)
        named = {str(plain[name]).partition("@")[0] for name in ("conid", "conidex") if _names(plain, name)}
    except ValueError:
        return None
    kind = str(plain.get("sectype") or "")
    named |= {kind.partition(":")[0]} if ":" in kind else set()  # `265598:STK` names one as well
    return named.pop() if len(named) == 1 and all(map(CONTRACT.fullmatch, named)) else None


def needs_quote(ticket: Ticket) -> bool:
    """Whether nothing in a ticket bounds its price: it has a size in units, and is no limit to buy."""
    try:
        plain = _plain(ticket)
    except ValueError:
        return False
    return not _is_bounded(plain) and any(way is _units and _names(plain, name) for name, way in WAYS.items())


# -- the ways a size is told


def _units(ticket: Ticket, facts: Facts, size: Decimal) -> Decimal:
    """So many shares, contracts, units of a currency."""
    return UP.multiply(UP.multiply(size, _price(ticket, facts)), _multiplier(facts))


def _money(_: Ticket, facts: Facts, amount: Decimal) -> Decimal:
    """So much money, in the instrument's currency; IBKR gives no guarantee that it spends no more (SW2, cashQty)."""
    if facts.kind not in PRICED_BY_UNIT or facts.kind == CASH:  # of two currencies nobody says which one it is in
        raise _UnboundedError
    return amount


def _exchanged(ticket: Ticket, facts: Facts, amount: Decimal) -> Decimal:
    """So much of a currency to be given for another: when buying a pair, of its second one (IBKR's page on conversion).

    In other orders IBKR takes no such size, and of a sale nobody says which of the two it is.
    """
    if facts.kind != CASH or ticket.get("isccyconv") is not True or ticket.get("side") != BUY:
        raise _UnboundedError
    return amount


WAYS: Mapping[str, Callable[[Ticket, Facts, Decimal], Decimal]] = {
    **dict.fromkeys(("quantity", "qty", "size", "totalsize"), _units),
    "cashqty": _money,
    "fxqty": _exchanged,
}


# -- price and multiplier


def _price(ticket: Ticket, facts: Facts) -> Decimal:
    """The highest at which a unit may change hands."""
    named = {name: number for name in PRICES if _names(ticket, name) and (number := _number(ticket[name]))}
    given = {*named, *(name for name in TRAILING if _names(ticket, name))}  # a price of 0 is how clients leave one out
    if not given.issuperset(NEEDED.get(_order_type(ticket), ())) or ticket.get("side") not in SIDES:
        raise _UnboundedError
    own = named.values()
    return max(own) if _is_bounded(ticket) else max([*own, _trailed(ticket, _fresh(facts.quote))])


def _is_bounded(ticket: Ticket) -> bool:
    return ticket.get("ordertype") == LIMIT and ticket.get("side") == BUY


def _order_type(ticket: Ticket) -> str:
    told = ticket.get("ordertype")
    if not isinstance(told, str) or not told:
        raise _UnboundedError
    return told


def _fresh(quote: Quote | None) -> Decimal:
    if quote is None or not abs(quote.age) <= FRESH_WITHIN:  # the other clock may be a little ahead of ours
        raise _UnboundedError
    return _positive(quote.price)


def _trailed(ticket: Ticket, quote: Decimal) -> Decimal:
    """How far the market has to go until an order that trails it goes out: an amount, or a percentage."""
    if not _names(ticket, "trailingamt"):
        return quote
    trail, kind = _number(ticket["trailingamt"]), ticket.get("trailingtype")
    if kind not in ("amt", "%"):
        raise _UnboundedError
    return UP.add(quote, trail if kind == "amt" else UP.divide(UP.multiply(quote, trail), HUNDRED))


def _multiplier(facts: Facts) -> Decimal:
    if facts.kind not in PRICED_BY_UNIT:
        raise _UnboundedError
    own = PRICED_BY_UNIT[facts.kind]
    return max(own, facts.multiplier or own) if own is not None else _positive(facts.multiplier)


# -- what stands in a ticket


def _plain(ticket: Ticket) -> Ticket:
    """A ticket by names in small letters: should IBKR not mind the case, two of the same would be one too many."""
    plain = {str(name).lower(): value for name, value in ticket.items()}
    nested = any(isinstance(value, dict | list) for name, value in plain.items() if name != NESTED)
    if nested or len(plain) < len(ticket):
        raise _UnboundedError
    return plain


def _names(ticket: Ticket, name: str) -> bool:
    """Whether something is given; clients write null or an empty text for what they leave out."""
    return ticket.get(name) not in (None, "")


def _number(value: object) -> Decimal:
    """A number as it stands in a ticket: none that is negative, endless, or written in a way one could read in two."""
    is_text = isinstance(value, str) and NUMBER.fullmatch(value.strip()) is not None
    if isinstance(value, bool) or not (is_text or isinstance(value, int | float | Decimal)):
        raise _UnboundedError
    number = Decimal(str(value).strip())
    if not number.is_finite() or number < 0:
        raise _UnboundedError
    return number


def _positive(number: Decimal | None) -> Decimal:
    if number is None or not number.is_finite() or number <= 0:
        raise _UnboundedError
    return number
