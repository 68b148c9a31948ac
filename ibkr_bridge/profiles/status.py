"""The status of one profile, which `Profile.status` joins: for the route, the command line and the documentation.

The metadata of every field has its meaning (`doc`) and its unit (`unit`); the documentation is generated from them. The
names of the fields are the names of the members in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any

from ibkr_bridge.cache.cached_reads import CacheStatus
from ibkr_bridge.clock import utc_text
from ibkr_bridge.conditions.condition import Condition
from ibkr_bridge.limits.admission import BudgetStatus, SlotsStatus, WaitingStatus
from ibkr_bridge.limits.penalty_box import PenaltyStatus
from ibkr_bridge.orders.rules.rules import PAPER_ACCOUNT
from ibkr_bridge.orders.rules.trading_pause import PauseStatus
from ibkr_bridge.orders.service import JournalStatus
from ibkr_bridge.redaction import mask_account
from ibkr_bridge.session.opener import OpeningReport
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.session_status import KeeperStatus
from ibkr_bridge.streaming.service import StreamStatus

JOINED = "joined"
"""Metadata of a field whose members are written into the outer object instead of an object of their own."""
KINDS = {True: "paper", False: "live", None: "unknown"}


@dataclass(frozen=True)
class FlagsStatus:
    """What settings and people allow, and whether the bridge drains."""

    mode: str = field(metadata={"doc": "`paper` or `live`, as IBKR_TRADING_MODE says."})
    read_only: bool = field(metadata={"doc": "Whether the bridge refuses every change."})
    paused: PauseStatus | None = field(metadata={"doc": "The trading pause; null if there is none."})
    maintenance_until: datetime | None = field(
        metadata={"doc": "End of the current maintenance window of IBKR; null outside of one."}
    )
    draining: bool = field(metadata={"doc": "Whether the bridge is stopping and accepts no new calls."})
    gateway: str = field(metadata={"doc": "Address of the Gateway, or of IBKR's Web API without one."})
    restart_needed: tuple[str, ...] = field(
        default=(), metadata={"doc": "Settings that the last reload has read and that only a restart applies."}
    )


@dataclass(frozen=True)
class AccountStatus:
    """One account of the login."""

    account: str = field(metadata={"doc": "The masked account number."})
    kind: str = field(metadata={"doc": "`paper`, `live` or `unknown`."})


@dataclass(frozen=True)
class ProfileStatus:
    """Everything the bridge knows of one profile."""

    session: KeeperStatus = field(metadata={JOINED: True})
    conditions: tuple[Condition, ...] = field(
        metadata={"doc": "What a person may have to know now, the most important first."}
    )
    flags: FlagsStatus = field(metadata={JOINED: True})
    accounts: tuple[AccountStatus, ...] = field(metadata={"doc": "The accounts of the login."})
    slots: SlotsStatus = field(metadata={"doc": "The calls inside the Gateway."})
    waiting: WaitingStatus = field(metadata={"doc": "The calls that wait for admission, by priority."})
    budget: BudgetStatus | None = field(
        metadata={"doc": "The rate limit of all calls together; null if there is none."}
    )
    penalty: PenaltyStatus = field(metadata={"doc": "What IBKR refuses now."})
    cache: CacheStatus = field(metadata={"doc": "The cache of reads."})
    journal: JournalStatus = field(metadata={"doc": "The journal of orders."})
    stream: StreamStatus = field(metadata={"doc": "The feed from IBKR and its subscribers."})

    def as_json(self) -> dict[str, Any]:
        """The status as `GET /gateway/status` sends it."""
        members: dict[str, Any] = to_json(self)
        return members


@dataclass(frozen=True)
class ReconnectStatus:
    """The session after a request to reopen it."""

    session: KeeperStatus = field(metadata={JOINED: True})
    reopening: OpeningReport = field(metadata={"doc": "What the request led to."})


def account_statuses(accounts: Accounts) -> tuple[AccountStatus, ...]:
    """The accounts of a login, in the order of their numbers, which are masked."""
    return tuple(
        AccountStatus(mask_account(number), account_kind(number, accounts.paper)) for number in sorted(accounts.numbers)
    )


def account_kind(number: str, is_paper: bool | None) -> str:
    """The kind of an account. IBKR's flag of the login decides; without it the form of the number shows paper only."""
    if is_paper is None and PAPER_ACCOUNT.fullmatch(number):
        return KINDS[True]
    return KINDS[is_paper]


def to_json(value: object) -> Any:
    """Convert a status or a part of one for JSON. Times become UTC text; the order of the fields stays."""
    if is_dataclass(value) and not isinstance(value, type):
        members: dict[str, Any] = {}
        for declared in fields(value):
            part = to_json(getattr(value, declared.name))
            members |= part if declared.metadata.get(JOINED) else {declared.name: part}
        return members
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Mapping):
        return {name: to_json(each) for name, each in value.items()}
    return [to_json(each) for each in value] if isinstance(value, tuple) else value
