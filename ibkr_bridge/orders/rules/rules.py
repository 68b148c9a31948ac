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

from ibkr_bridge import errors
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.ibkr.endpoint import Effect, Order

PAPER_ACCOUNT = re.compile(r"D[A-Z]{1,2}\d+", re.ASCII)  # IBKR's paper accounts: DU, DF, DI, DUM … and a number
CANCEL_ALL = "cancel-all"
UNBOUNDED_HINT = (
    "IBKR_MAX_ORDER_VALUE is set: name a size and a price; a limit order to buy needs no more, others a quote in "
    "real time; combinations, bonds and groups of accounts have no value that is known beforehand"
)


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
