"""When the reconciler searches for an order whose response was lost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReconcileSchedule:
    """When to check, all in seconds.

    An order in the Gateway's queue can still be sent minutes after its caller got `order_unknown`. So an order counts
    as not placed only after `give_up_after_s`, and a few more checks follow after that.
    """

    give_up_after_s: float = 300.0
    """From the loss until the order counts as not placed."""
    first_delay_s: float = 2.0
    """From the loss to the first check."""
    interval_s: float = 20.0
    """Between two checks; each consists of calls that IBKR allows once in 5 s."""
    retry_s: float = 5.0
    """From lists that could not be fetched to the next try; the session's being ready starts one at once."""
    refresh_delay_s: float = 1.0
    """Between requesting a fresh list and reading it."""
    late_checks_s: tuple[float, ...] = (600.0, 1800.0, 3600.0)
    """From the loss to the checks after that, for orders that were only late."""
    startup_block_s: float = 60.0
    """How long new orders wait at most after a start, until those of the run before are settled."""
