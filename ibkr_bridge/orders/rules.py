"""What may be changed at IBKR, and what is refused before a byte leaves. Pure: facts in, a verdict out.

`Asked` says what the caller wants, `Standing` what holds now; `judge` goes through RULES, and the first refusal counts.
A rule in doubt refuses: an account is live until it is known to be paper, a size or a value that cannot be bounded is
too large. Getting out is always possible: cancelling an order and declining a question obey the first three rules only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl

from ibkr_bridge import errors
from ibkr_bridge.ibkr.bodies import as_object
from ibkr_bridge.ibkr.catalogue import FA_GROUP, account_in
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint, Order
from ibkr_bridge.orders.mentions import Mentions, mentions
from ibkr_bridge.redaction import ACCOUNT

PAPER_ACCOUNT = re.compile(r"D[A-Z]{1,2}\d+", re.ASCII)  # IBKR's paper accounts: DU, DF, DI, DUM … and a number
ORDER_ID = "{orderId}"
ONE_ORDER = re.compile(r"[1-9]\d*", re.ASCII)  # IBKR takes -1 for all of an account; and who knows what else
NO_RULES = (Effect.READ, Effect.SESSION)  # nothing of such a call is judged, so nothing is looked for in it
CANCEL_ALL = "cancel-all"
UNBOUNDED_HINT = (
    "IBKR_MAX_ORDER_VALUE is set: name a size and a price; a limit order to buy needs no more, others a quote in "
    "real time; combinations, bonds and groups of accounts have no value that is known beforehand"
)


@dataclass(frozen=True)
class Asked:
    """A call that changes something, as far as the rules care."""

    effect: Effect
    order: Order | None
    accounts: frozenset[str] = frozenset()
    """Accounts named in path, query and body."""
    sizes: tuple[Decimal | None, ...] = ()
    """Sizes named in query and body; None for one that is no plain number of shares."""
    worth: tuple[Decimal | None, ...] | None = None
    """What each of its tickets is worth at most, in the account's base currency; None for what cannot be bounded."""
    beyond: bool = False
    """Whether it may concern accounts that are not named: an allocation group, an order or an unknown call without."""
    declines: bool = False
    """Whether it says no to a question, and so places nothing."""
    everything: bool = False
    """Whether it may cancel more than one order."""
    confirmed: frozenset[str] = frozenset()
    """What its caller said beforehand is meant: the words of X-Bridge-Confirm."""


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
    """What IBKR says of the brokerage session (`isPaper`); None while it has not said."""
    login_is_paper: bool | None = None
    """What IBKR says of the login (`LOGIN_TYPE`); None while it has not said."""


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
    concerned = asked.accounts | (standing.session_accounts if asked.beyond or not asked.accounts else frozenset())
    if concerned and all(_is_paper(account, standing) for account in concerned):
        return None
    return Refuse(errors.PaperOnly, "paper mode, and the account is not known to be a paper account")


def _is_paper(account: str, standing: Standing) -> bool:
    """Whether its id looks like paper and nothing says live; that IBKR calls a login paper makes no other id one."""
    says_live = False in (standing.session_is_paper, standing.login_is_paper)
    return not says_live and PAPER_ACCOUNT.fullmatch(account) is not None


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
    worth = asked.worth or (None,)
    bounded = [each for each in worth if each is not None]
    if len(bounded) < len(worth):
        return Refuse(errors.OrderLimit, "the order's value cannot be bounded", UNBOUNDED_HINT)
    if max(bounded) <= standing.max_value:
        return None
    hint = "IBKR_MAX_ORDER_VALUE is the largest value of one order, in the base currency of its account"
    return Refuse(errors.OrderLimit, f"the order's value may be larger than {standing.max_value}", hint)


def _has_size(asked: Asked) -> bool:
    """Whether a call can place or enlarge an order: those we know, and whatever unknown one names a size."""
    return asked.order in (Order.PLACE, Order.MODIFY, Order.REPLY) or bool(asked.sizes)


def _confirmed(asked: Asked, _: Standing) -> Refuse | None:
    if not asked.everything or CANCEL_ALL in asked.confirmed:
        return None
    return Refuse(errors.ConfirmNeeded, "the id in this path is not that of one order; IBKR may cancel all of them")


def _paid(asked: Asked, standing: Standing) -> Refuse | None:
    if standing.paid_snapshots:
        return None
    return Refuse(
        errors.WrongScope, "IBKR charges for every such call", "set IBKR_ALLOW_PAID_SNAPSHOTS=yes to allow it"
    )


ALWAYS: tuple[Rule, ...] = (_read_only, _paper_only, _account_allowed)
RULES: Mapping[Effect, tuple[Rule, ...]] = {
    Effect.READ: (),
    Effect.SESSION: (),
    Effect.COSTS_MONEY: (_paid,),
    Effect.CHANGE: ALWAYS,
    Effect.TRADE: (*ALWAYS, _paused, _quantity, _value),
}
OF_ORDERS: Mapping[Order | None, tuple[Rule, ...]] = {  # where a part of an order's life obeys others than its effect
    Order.CANCEL: (*ALWAYS, _confirmed),
    Order.ANSWER: (*ALWAYS, _paused),  # it names no size; the order it is about was judged when it was placed
}


def applying(asked: Asked) -> tuple[Rule, ...]:
    """The rules a call has to pass; none for a plain read."""
    if asked.order is Order.REPLY and asked.declines:
        return ALWAYS
    return OF_ORDERS.get(asked.order) or RULES[asked.effect]


def judge(asked: Asked, standing: Standing) -> Refuse | None:
    """The first refusal among the rules that apply; None where the call may pass."""
    for rule in applying(asked):
        refusal = rule(asked, standing)
        if refusal is not None:
            return refusal
    return None


def read_call(
    row: Endpoint, segments: tuple[str, ...], query: str, body: bytes, *, confirmed: frozenset[str] = frozenset()
) -> Asked:
    """What a call asks for, from all the places where it can name an account or a size; of a read only that it is one.

    Every occurrence counts, repeated names included: nobody knows which of two IBKR takes.

    Args:
        segments: the path below `/v1/api`, decoded.
        confirmed: the words of X-Bridge-Confirm.

    Raises:
        BadRequest: the body of a call that changes something is not JSON, so the rules cannot see into it.
    """
    if row.effect in NO_RULES:
        return Asked(row.effect, row.order)
    found = mentions(query, body if row.effect in (Effect.CHANGE, Effect.TRADE) else b"")
    named = account_in(row, segments)
    if named is not None:
        found.accounts.add(named)
    if not row.known:
        found.accounts.update(segment for segment in segments if ACCOUNT.fullmatch(segment))
    return Asked(
        *(row.effect, row.order, frozenset(found.accounts), tuple(found.sizes)),
        beyond=FA_GROUP in row.segments or (_needs_account(row) and not found.accounts),
        declines=row.order is Order.REPLY and _says_no(body, found),
        everything=row.order is Order.CANCEL and not _is_one_order(row, segments, query),
        confirmed=confirmed,
    )


def _needs_account(row: Endpoint) -> bool:
    """Whether a call of this row concerns one account, or nobody knows which: an order, whatever is unknown."""
    return row.order in (Order.PLACE, Order.MODIFY, Order.CANCEL) or (row.effect is Effect.TRADE and not row.known)


def _says_no(body: bytes, found: Mentions) -> bool:
    """Whether a reply declines, whichever of several answers in it IBKR takes."""
    return as_object(body).get("confirmed") is False and all(answer is False for answer in found.answers)


def _is_one_order(row: Endpoint, segments: tuple[str, ...], query: str) -> bool:
    """Whether the id in the path, or in the query where the path has no room for one, is that of a single order."""
    ids = [have for want, have in zip(row.segments, segments, strict=False) if want == ORDER_ID]
    if ORDER_ID not in row.segments:
        ids = [value for name, value in parse_qsl(query.replace(";", "&")) if name.lower() == "id"]
    return bool(ids) and all(map(ONE_ORDER.fullmatch, ids))
