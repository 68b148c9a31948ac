"""What IBKR wants to be asked before anything else, and what its answers tell about the accounts. Pure.

Without `/iserver/accounts` orders, trades and quotes answer 500 "Please query /accounts first"; without
`/portfolio/accounts` the portfolio comes back empty. The first list of orders is empty as well, and the next one may be
had five seconds later: so it is asked for before anybody wants it. All must be asked again after every opening.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ibkr_bridge.catalogue import ACCOUNTS, ORDERS_LIST, PORTFOLIO_ACCOUNTS, target
from ibkr_bridge.telling import WANTS_ACCOUNTS

REPLAYED = (target(ACCOUNTS), target(PORTFOLIO_ACCOUNTS))
BEFOREHAND = target(ORDERS_LIST)


@dataclass(frozen=True)
class Accounts:
    """The accounts of the login; `paper` is what IBKR says of it, None where it does not say."""

    numbers: frozenset[str] = frozenset()
    paper: bool | None = None


def read_accounts(body: object) -> Accounts:
    """What `/iserver/accounts` tells; anything unexpected tells nothing."""
    if not isinstance(body, dict):
        return Accounts()
    paper = body.get("isPaper")
    numbers = body.get("accounts")
    listed = frozenset(str(number) for number in numbers) if isinstance(numbers, list) else frozenset()
    return Accounts(listed, paper if isinstance(paper, bool) else None)


LOST_SESSION = (WANTS_ACCOUNTS.decode(), "no bridge", "init session first", "no session", "not authenticated")


def doubts_session(status: int, beginning: bytes) -> bool:
    """Whether an answer to a caller is a reason to look at the session at once."""
    if status == 401:
        return True
    text = beginning[:300].decode("ascii", "replace").lower()
    return '"error"' in text and _has_any(text, LOST_SESSION)


def _has_any(text: str, phrases: Iterable[str]) -> bool:
    return any(phrase in text for phrase in phrases)
