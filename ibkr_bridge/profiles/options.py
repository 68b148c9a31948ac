"""Options of a profile for benchmarks and tests. An operator cannot set them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.clock import Clock
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule


@dataclass(frozen=True)
class ProfileOptions:
    """The limits of admission, the cache, and the schedule of reconciliation."""

    limits: Limits | None = None
    """None means those of the upstream."""
    cached_reads: Callable[[Clock, Callable[[float], bool]], CachedReads] = CachedReads
    """Makes the stage that caches reads."""
    reconcile_schedule: ReconcileSchedule = field(default_factory=ReconcileSchedule)
    """When the bridge searches for orders whose response was lost."""
