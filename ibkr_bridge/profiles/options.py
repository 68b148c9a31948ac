"""Options of a profile for benchmarks, tests and the demo. An operator cannot set them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.clock import Clock
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.oauth.handshake_ration import HandshakeRation
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule


@dataclass(frozen=True)
class ProfileOptions:
    """The limits of admission, the cache, the schedule of reconciliation, and how often IBKR is asked for access."""

    limits: Limits | None = None
    """None means those of the upstream."""
    cached_reads: Callable[[Clock, Callable[[float], bool]], CachedReads] = CachedReads
    """Makes the stage that caches reads."""
    reconcile_schedule: ReconcileSchedule = field(default_factory=ReconcileSchedule)
    """When the bridge searches for orders whose response was lost."""
    handshake_ration: Callable[[], HandshakeRation] = HandshakeRation
    """Says when IBKR may be asked for access, on a road without a Gateway."""
