"""How politely a line behaves; a bench or a test may choose otherwise, an operator may not."""

from __future__ import annotations

from dataclasses import dataclass, field

from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule


@dataclass(frozen=True)
class ProfileOptions:
    """What is asked of IBKR at most, whether answers are shared and remembered, how lost orders are looked for."""

    limits: Limits = field(default_factory=Limits)
    shares: bool = True
    reconcile_schedule: ReconcileSchedule = field(default_factory=ReconcileSchedule)
    """When orders whose answer was lost are looked for."""


UNHURRIED = ProfileOptions(Limits(total=None, by_priority={}, by_endpoint=False), shares=False)
"""As if IBKR had no limits, and every call asked it anew; the Gateway's places are few all the same."""
