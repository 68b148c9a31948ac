"""The rules: what may be changed at IBKR, and what is refused before a byte is sent. Pure: facts in, a refusal out.

`RequestFacts` says what the caller wants, `RuleContext` what applies now. `first_refusal` goes through the rules of the
call, and the first refusal counts. A rule in doubt refuses: an account is live until it is known to be paper, and a
size or a value that cannot be bounded is too large. A caller can always get out: a cancel and a decline of a question
have to pass the first three rules only (and a cancel of all orders the confirmation).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ibkr_bridge import errors
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.redaction import mask_account

PAPER_ACCOUNT = re.compile(r"D[A-Z]{1,2}\d+[A-Z]?", re.ASCII)
"""IBKR's paper accounts: DU, DF, DI, DUM … and a number, to which a letter may be added."""
CANCEL_ALL = "cancel-all"
MAX_ACCOUNTS_IN_HINT = 10
UNBOUNDED_HINT = (
    "IBKR_MAX_ORDER_VALUE is set: send a size and a price; a limit order to buy needs no more, other orders need a "
    "real-time quote; combinations, bonds and groups of accounts have no value that is known beforehand"
)


@dataclass(frozen=True)
class RuleContext:
    """The settings and states that the rules depend on."""

    read_only: bool = False
    paper_mode: bool = True
    paused: bool = False
    allowed: frozenset[str] = frozenset()
    max_quantity: Decimal | None = None
    max_value: Decimal | None = None
    paid_snapshots: bool = False
    session_accounts: frozenset[str] = frozenset()
    """The accounts of the login that may trade; empty while they are unknown."""
    session_groups: frozenset[str] = frozenset()
    """Names that stand for accounts of the login, such as `All`."""
    login_accounts: frozenset[str] = frozenset()
    """Every account and group that the login has; empty if that is not known completely."""
    session_is_paper: bool | None = None
    """What IBKR says of the brokerage session (`isPaper`); None while it is unknown."""
    login_is_paper: bool | None = None
    """What IBKR says of the login (`LOGIN_TYPE`); None while it is unknown."""


@dataclass(frozen=True)
class Refusal:
    """Why a call is refused, and as which error."""

    error: type[errors.BridgeError]
    detail: str
    hint: str | None = None

    def as_error(self) -> errors.BridgeError:
        """The error that the caller gets."""
        return self.error(self.detail, hint=self.hint)


Rule = Callable[[RequestFacts, RuleContext], Refusal | None]


def _read_only(_: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    return Refusal(errors.ReadOnly, "this bridge is set to read only") if rule_context.read_only else None


def _paper_only(facts: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    if not rule_context.paper_mode:
        return None
    named = facts.accounts - rule_context.session_groups
    concerns_more = facts.may_concern_other_accounts or named != facts.accounts or not named
    if concerns_more and not rule_context.session_accounts:
        return Refusal(errors.PaperOnly, "paper mode, and the accounts of the login are not known")
    concerned = named | (rule_context.session_accounts if concerns_more else frozenset())
    if all(_is_paper(account, rule_context) for account in concerned):
        return None
    return Refusal(errors.PaperOnly, "paper mode, and the account is not known to be a paper account")


def _is_paper(account: str, rule_context: RuleContext) -> bool:
    """Whether its id looks like paper and neither session nor login is live; a paper login alone does not make an id
    paper.
    """
    says_live = False in (rule_context.session_is_paper, rule_context.login_is_paper)
    return not says_live and PAPER_ACCOUNT.fullmatch(account) is not None


def _account_allowed(facts: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    if not rule_context.allowed:
        return None
    if facts.may_concern_other_accounts or (facts.concerns_login and not rule_context.session_accounts):
        detail = "this call may concern accounts that it does not name, and IBKR_ALLOWED_ACCOUNTS is set"
        return Refusal(errors.AccountNotAllowed, detail, "name the account in the call")
    concerned = facts.accounts | (rule_context.session_accounts if facts.concerns_login else frozenset())
    if concerned <= rule_context.allowed:
        return None
    whose = "the login" if facts.concerns_login else "this call"
    return Refusal(errors.AccountNotAllowed, f"an account of {whose} is not in IBKR_ALLOWED_ACCOUNTS")


def _has_account(facts: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    if not rule_context.login_accounts or facts.operation not in (OrderOperation.PLACE, OrderOperation.MODIFY):
        return None
    if facts.accounts <= rule_context.login_accounts:
        return None
    masked = sorted(mask_account(account) for account in rule_context.session_accounts)
    more = ", …" if len(masked) > MAX_ACCOUNTS_IN_HINT else ""
    hint = f"it has {', '.join(masked[:MAX_ACCOUNTS_IN_HINT])}{more}; GET /iserver/accounts lists them"
    return Refusal(errors.AccountNotAllowed, "the login does not have an account that this call names", hint)


def _not_paused(_: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    return Refusal(errors.TradingPaused, "trading is paused; only cancels are sent") if rule_context.paused else None


def _quantity_allowed(facts: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    if rule_context.max_quantity is None or not _has_size(facts):
        return None
    if facts.sizes and all(size is not None and size <= rule_context.max_quantity for size in facts.sizes):
        return None
    return Refusal(errors.OrderLimitExceeded, f"the order's size is unknown or larger than {rule_context.max_quantity}")


def _value_allowed(facts: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    if rule_context.max_value is None or not _has_size(facts):
        return None
    values = facts.order_values or (None,)
    bounded = [each for each in values if each is not None]
    if len(bounded) < len(values):
        return Refusal(errors.OrderLimitExceeded, "the order's value cannot be bounded", UNBOUNDED_HINT)
    if max(bounded) <= rule_context.max_value:
        return None
    hint = "IBKR_MAX_ORDER_VALUE is the largest value of one order, in the base currency of its account"
    return Refusal(errors.OrderLimitExceeded, f"the order's value may be larger than {rule_context.max_value}", hint)


def _has_size(facts: RequestFacts) -> bool:
    """Whether a call can place or enlarge an order: the known operations, and any unlisted call that contains a
    size.
    """
    return facts.operation in (OrderOperation.PLACE, OrderOperation.MODIFY, OrderOperation.REPLY) or bool(facts.sizes)


def _is_confirmed(facts: RequestFacts, _: RuleContext) -> Refusal | None:
    if not facts.may_cancel_several or CANCEL_ALL in facts.confirmations:
        return None
    return Refusal(
        errors.ConfirmationRequired,
        "the order id must be a positive number; with any other id IBKR may cancel all orders",
    )


def _paid_allowed(facts: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    if rule_context.paid_snapshots:
        return None
    return Refusal(
        errors.InsufficientScope, "IBKR charges for every such call", "set IBKR_ALLOW_PAID_SNAPSHOTS=yes to allow it"
    )


ALWAYS_APPLY: tuple[Rule, ...] = (_read_only, _paper_only, _account_allowed)
RULES_BY_EFFECT: Mapping[Effect, tuple[Rule, ...]] = {
    Effect.READ: (),
    Effect.SESSION: (),
    Effect.MANAGE: (),
    Effect.COSTS_MONEY: (_paid_allowed,),
    Effect.CHANGE: ALWAYS_APPLY,
    Effect.TRADE: (*ALWAYS_APPLY, _has_account, _not_paused, _quantity_allowed, _value_allowed),
}
RULES_BY_OPERATION: Mapping[
    OrderOperation | None, tuple[Rule, ...]
] = {  # operations whose rules differ from those of their effect
    OrderOperation.CANCEL: (*ALWAYS_APPLY, _is_confirmed),
    OrderOperation.ANSWER: (
        *ALWAYS_APPLY,
        _not_paused,
    ),  # it contains no size; the order that it is about was checked when it was placed
}


def rules_for(facts: RequestFacts) -> tuple[Rule, ...]:
    """The rules that a call has to pass; none for a plain read."""
    if facts.operation is OrderOperation.REPLY and facts.is_declining:
        return ALWAYS_APPLY
    return RULES_BY_OPERATION.get(facts.operation) or RULES_BY_EFFECT[facts.effect]


def first_refusal(facts: RequestFacts, rule_context: RuleContext) -> Refusal | None:
    """The first refusal among the rules that apply; None if the call may pass."""
    for rule in rules_for(facts):
        refusal = rule(facts, rule_context)
        if refusal is not None:
            return refusal
    return None
