"""What the rules must know of a call: accounts, sizes, and what it does at worst. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl

from ibkr_bridge.calls.body_scan import Mentions, mentions
from ibkr_bridge.ibkr.bodies import as_object
from ibkr_bridge.ibkr.catalogue import FA_GROUP, account_in
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint, Order
from ibkr_bridge.redaction import ACCOUNT

ORDER_ID = "{orderId}"
ONE_ORDER = re.compile(r"[1-9]\d*", re.ASCII)  # IBKR takes -1 for all of an account; and who knows what else
NO_RULES = (Effect.READ, Effect.SESSION)  # nothing of such a call is judged, so nothing is looked for in it


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
