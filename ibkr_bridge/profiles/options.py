"""What a bench or a test may choose of a profile, and an operator may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.clock import Clock
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule


@dataclass(frozen=True)
class ProfileOptions:
    """How much is sent, how reads are cached, and how lost orders are searched for."""

    limits: Limits | None = None
    """None for those of the upstream."""
    cached_reads: Callable[[Clock], CachedReads] = CachedReads
    reconcile_schedule: ReconcileSchedule = field(default_factory=ReconcileSchedule)
    """When orders whose response was lost are searched for."""
