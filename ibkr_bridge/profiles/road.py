"""What a profile needs of one way to IBKR: an upstream, what it keeps over a restart, and the calls of its keeper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ibkr_bridge.calls.upstream_port import Upstream, UpstreamState
from ibkr_bridge.session.session_api import SessionApi, SessionUpstream
from ibkr_bridge.session.session_status import MAX_AGE_S, MAX_OVERDUE_S, OPENING_INTERVAL_S


@dataclass(frozen=True)
class Road:
    """What a profile needs of one kind of upstream."""

    upstream: Upstream
    state: UpstreamState
    session_api: Callable[[SessionUpstream], SessionApi]
    """Makes the keeper's calls, for an upstream that counts them in IBKR's limits."""
    address: str
    """Where it leads, for people."""
    check_interval_s: float
    """Seconds between two checks of the session."""
    max_age_s: float = MAX_AGE_S
    """An older status of the session is refreshed before it is returned."""
    opening_interval_s: float = OPENING_INTERVAL_S
    """Seconds between two checks while the session opens."""
    max_overdue_s: float = MAX_OVERDUE_S
    """How late a check may be before the keeper counts as stuck."""
    offers_brokerage: bool = True
    """Whether there is a brokerage session at all."""
