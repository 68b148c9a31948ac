"""What may be changed at IBKR, and what is refused before a byte leaves. Pure: facts in, a verdict out.

`Asked` says what the caller wants, `Standing` what holds now; `judge` goes through RULES, and the first refusal counts.
A rule in doubt refuses: an account is live until it is known to be paper, a size that cannot be bounded is too large.
Cancelling obeys the first three rules only, so that getting out is always possible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import chain
from urllib.parse import parse_qsl

from ibkr_bridge import errors
from ibkr_bridge.catalogue import FA_GROUP, account_in
from ibkr_bridge.endpoint import Effect, Endpoint, Order
from ibkr_bridge.masking import ACCOUNT

ACCOUNT_KEYS = frozenset(
    {
        *("acct", "acctid", "acctids", "account", "accounts", "accountid", "accountids", "accountlist"),
        *("account_id", "accountno", "accountnumber"),
    }
)
SIZE_KEYS = frozenset({"quantity", "qty", "size", "totalsize"})
MONEY_KEYS = frozenset({"cashqty", "fxqty"})  # sizes in money: no count of shares follows from them
PAPER_ACCOUNT = re.compile(r"D[A-Z]{1,2}\d+")  # IBKR's paper accounts: DU, DF, DI, DUM … and a number


@dataclass(frozen=True)
class Asked:
    """A call that changes something, as far as the rules care."""

    effect: Effect
    order: Order | None
    accounts: frozenset[str] = frozenset()
    """Accounts named in path, query and body."""
    sizes: tuple[Decimal | None, ...] = ()
    """Sizes named in query and body; None for one that is no plain number of shares."""
    declines: bool = False
    beyond: bool = False
    """Whether it may concern accounts that are not named: an allocation group, an order or an unknown call without."""


@dataclass(frozen=True)
class Standing:
    """What holds now."""

    read_only: bool = False
    paper_mode: bool = True
    paused: bool = False
    allowed: frozenset[str] = frozenset()
    max_quantity: Decimal | None = None
    max_value: Decimal | None = None
    paid_snapshots: bool = False
    session_accounts: frozenset[str] = frozenset()
    session_is_paper: bool | None = None
    """What IBKR says of the login; None while it has not said."""


@dataclass(frozen=True)
class Refuse:
    """No, by which rule and why."""

    error: type[errors.BridgeError]
    detail: str
    hint: str | None = None

    def raised(self) -> errors.BridgeError:
        """The refusal as the caller will see it."""
        return self.error(self.detail, hint=self.hint)


Rule = Callable[[Asked, Standing], Refuse | None]


def _read_only(_: Asked, standing: Standing) -> Refuse | None:
    return Refuse(errors.ReadOnly, "this bridge is set to change nothing") if standing.read_only else None


def _paper_only(asked: Asked, standing: Standing) -> Refuse | None:
    if not standing.paper_mode:
        return None
    concerned = asked.accounts or standing.session_accounts
    if concerned and all(_is_paper(account, standing) for account in concerned):
        return None
    return Refuse(errors.PaperOnly, "paper mode, and the account is not known to be a paper account")


def _is_paper(account: str, standing: Standing) -> bool:
    if standing.session_is_paper is False:
        return False
    listed = standing.session_is_paper is True and account in standing.session_accounts
    return listed or PAPER_ACCOUNT.fullmatch(account) is not None


def _account_allowed(asked: Asked, standing: Standing) -> Refuse | None:
    if not standing.allowed or (asked.accounts <= standing.allowed and not asked.beyond):
        return None
    return Refuse(errors.AccountNotAllowed, "an account named in this call is not among the allowed ones")


def _paused(_: Asked, standing: Standing) -> Refuse | None:
    return Refuse(errors.Paused, "trading is paused; only cancels pass") if standing.paused else None


def _quantity(asked: Asked, standing: Standing) -> Refuse | None:
    if standing.max_quantity is None or not _has_size(asked):
        return None
    if asked.sizes and all(size is not None and size <= standing.max_quantity for size in asked.sizes):
        return None
    return Refuse(errors.OrderLimit, f"the order's size is not known to be within {standing.max_quantity}")


def _value(asked: Asked, standing: Standing) -> Refuse | None:
    if standing.max_value is None or not _has_size(asked):
        return None
    hint = "this version cannot yet bound an order's value; take IBKR_MAX_ORDER_VALUE out to trade without that cap"
    return Refuse(errors.OrderLimit, "the order's value cannot be bounded", hint)


def _has_size(asked: Asked) -> bool:
    """Whether a call can place or enlarge an order: those we know, and whatever unknown one names a size."""
    return asked.order in (Order.PLACE, Order.MODIFY) or bool(asked.sizes)


def _paid(asked: Asked, standing: Standing) -> Refuse | None:
    if standing.paid_snapshots:
        return None
    return Refuse(
        errors.WrongScope, "IBKR charges for every such call", "set IBKR_ALLOW_PAID_SNAPSHOTS=yes to allow it"
    )


ALWAYS: tuple[Rule, ...] = (_read_only, _paper_only, _account_allowed)
RULES: dict[Effect, tuple[Rule, ...]] = {
    Effect.READ: (),
    Effect.SESSION: (),
    Effect.COSTS_MONEY: (_paid,),
    Effect.TRADE: (*ALWAYS, _paused, _quantity, _value),
}


def applying(asked: Asked) -> tuple[Rule, ...]:
    """The rules a call has to pass; none for a plain read."""
    return ALWAYS if asked.order is Order.CANCEL else RULES[asked.effect]


def judge(asked: Asked, standing: Standing) -> Refuse | None:
    """The first refusal among the rules that apply; None where the call may pass."""
    for rule in applying(asked):
        refusal = rule(asked, standing)
        if refusal is not None:
            return refusal
    return None


@dataclass
class _Mentions:
    accounts: set[str] = field(default_factory=set)
    sizes: list[Decimal | None] = field(default_factory=list)


def read_call(
    row: Endpoint, segments: tuple[str, ...], query: str, body: bytes, *, confirmed: frozenset[str] = frozenset()
) -> Asked:
    """What a call asks for, from all the places where it can name an account or a size; of a read only that it is one.

    Every occurrence counts, repeated names included: nobody knows which of two IBKR takes.

    Raises:
        BadRequest: the body of a call that changes something is not JSON, so the rules cannot see into it.
    """
    if not RULES[row.effect]:
        return Asked(row.effect, row.order)
    found = _Mentions()
    named = account_in(row, segments)
    if named is not None:
        found.accounts.add(named)
    pairs = _pairs(body) if row.effect is Effect.TRADE else iter(())
    for name, value in chain(parse_qsl(query.replace(";", "&")), pairs):
        _note(name.lower(), value, found)
    if row.known:
        beyond = FA_GROUP in row.segments or (row.order is Order.PLACE and not found.accounts)
    else:
        found.accounts.update(segment for segment in segments if ACCOUNT.fullmatch(segment))
        beyond = row.effect is Effect.TRADE and not found.accounts
    return Asked(row.effect, row.order, frozenset(found.accounts), tuple(found.sizes), beyond)


def _note(name: str, value: object, found: _Mentions) -> None:
    if name in ACCOUNT_KEYS:
        listed = value if isinstance(value, list) else [value]
        found.accounts.update(str(item.get("name") if isinstance(item, dict) else item) for item in listed if item)
    elif name in SIZE_KEYS:
        found.sizes.append(_size(value))
    elif name in MONEY_KEYS:
        found.sizes.append(None)


def _size(value: object) -> Decimal | None:
    try:
        size = Decimal(str(value))
    except InvalidOperation:
        return None
    return size if size.is_finite() and size >= 0 else None


def _pairs(body: bytes) -> Iterator[tuple[str, object]]:
    """Every name and value of a JSON text, at any depth, repeated names included."""
    pairs: list[tuple[str, object]] = []

    def keep(members: list[tuple[str, object]]) -> dict[str, object]:
        pairs.extend(members)
        return dict(members)

    if not body.strip():
        return iter(())
    try:
        json.loads(body, object_pairs_hook=keep, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as exc:  # Decimal takes no exponent of twenty digits
        raise errors.BadRequest(
            "the body is not JSON", hint="calls that change something need a JSON body, so that the rules can read it"
        ) from exc
    return iter(pairs)
