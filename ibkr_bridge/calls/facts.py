"""The facts that the rules check: accounts, sizes, and the effect of a call. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl

from ibkr_bridge.calls.body_scan import ScannedFields, scan_fields
from ibkr_bridge.calls.order_tickets import NO_TICKETS, OrderTickets
from ibkr_bridge.ibkr.catalogue import FA_GROUP, account_from_path
from ibkr_bridge.ibkr.endpoint import Concern, Effect, Endpoint, OrderOperation
from ibkr_bridge.redaction import ACCOUNT_PATTERN

ORDER_ID = "{orderId}"
SINGLE_ORDER_ID = re.compile(r"[1-9]\d*", re.ASCII)
"""IBKR reads -1 as all orders of an account; other values are undocumented."""
NO_RULES = (Effect.READ, Effect.SESSION)  # no rule applies to such a call, so it is not scanned


@dataclass(frozen=True)
class RequestFacts:
    """The facts of a call for the rules."""

    effect: Effect
    operation: OrderOperation | None
    accounts: frozenset[str] = frozenset()
    """Accounts named in path, query and body."""
    sizes: tuple[Decimal | None, ...] = ()
    """Sizes named in query and body, of a combination that of its most traded contract; None for a value that is not a
    plain number of shares.
    """
    order_values: tuple[Decimal | None, ...] | None = None
    """The largest value of each ticket in the account's base currency; None if it cannot be bounded."""
    may_concern_other_accounts: bool = False
    """Whether it may concern accounts that it does not name: an allocation group, or a call that trades and names no
    account.
    """
    concerns_login: bool = False
    """Whether it names no account and concerns every account of the login."""
    is_declining: bool = False
    """Whether it declines a question, and so places nothing."""
    may_cancel_several: bool = False
    """Whether it may cancel more than one order."""
    confirmations: frozenset[str] = frozenset()
    """What its caller confirmed beforehand: the words of X-Bridge-Confirm."""


READ_FACTS = RequestFacts(Effect.READ, None)
"""The facts of nearly every call."""


def facts_without_rules(endpoint: Endpoint) -> RequestFacts:
    """The facts of a call to which no rule applies."""
    is_plain_read = endpoint.effect is Effect.READ and endpoint.operation is None
    return READ_FACTS if is_plain_read else RequestFacts(endpoint.effect, endpoint.operation)


def facts_of_call(
    endpoint: Endpoint,
    segments: tuple[str, ...],
    query: str,
    tickets: OrderTickets,
    *,
    confirmations: frozenset[str] = frozenset(),
) -> RequestFacts:
    """Read the facts from all places where a call can name an account or a size; for a read only its effect.

    Every occurrence counts, repeated names included: it is unknown which of two IBKR uses.

    Args:
        segments: the path below `/v1/api`, decoded.
        confirmations: the words of X-Bridge-Confirm.

    Raises:
        BadRequest: the body of a call that changes something is not JSON, so the rules cannot check it.
    """
    if endpoint.effect in NO_RULES:
        return facts_without_rules(endpoint)
    scanned = scan_fields(query, tickets if endpoint.effect in (Effect.CHANGE, Effect.TRADE) else NO_TICKETS)
    path_account = account_from_path(endpoint, segments)
    if path_account is not None:
        scanned.accounts.add(path_account)
    if not endpoint.is_listed:
        scanned.accounts.update(segment for segment in segments if ACCOUNT_PATTERN.fullmatch(segment))
    concern = endpoint.concern if endpoint.effect is Effect.TRADE and not scanned.accounts else None
    return RequestFacts(
        *(endpoint.effect, endpoint.operation, frozenset(scanned.accounts), tuple(scanned.sizes)),
        may_concern_other_accounts=FA_GROUP in endpoint.segments or concern is Concern.ANY_ACCOUNT,
        concerns_login=concern is Concern.LOGIN,
        is_declining=endpoint.operation is OrderOperation.REPLY and _is_declining(tickets, scanned),
        may_cancel_several=endpoint.operation is OrderOperation.CANCEL
        and not _names_one_order(endpoint, segments, query),
        confirmations=confirmations,
    )


def _is_declining(tickets: OrderTickets, scanned: ScannedFields) -> bool:
    """Whether a reply declines, whichever of several answers in it IBKR takes."""
    return tickets.top.get("confirmed") is False and all(answer is False for answer in scanned.answers)


def _names_one_order(endpoint: Endpoint, segments: tuple[str, ...], query: str) -> bool:
    """Whether the id in the path, or in the query if the path has none, is the id of a single order."""
    ids = [value for name, value in zip(endpoint.segments, segments, strict=False) if name == ORDER_ID]
    if ORDER_ID not in endpoint.segments:
        ids = [value for name, value in parse_qsl(query.replace(";", "&")) if name.lower() == "id"]
    return bool(ids) and all(map(SINGLE_ORDER_ID.fullmatch, ids))
