"""How patiently an order whose answer was lost is looked for. Pure figures for `reconciler.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReconcileSchedule:
    """When to look, all in seconds.

    An order that waited in the Gateway's queue can still go out minutes after its caller was told that its fate is
    unknown, so `not there` is believed only after `within`; and it is looked for a few times more after that.
    """

    give_up_after_s: float = 300.0
    """From the loss to the verdict that it does not exist."""
    first_delay_s: float = 2.0
    """From the loss to the first look."""
    interval_s: float = 20.0
    """Between two looks; each is two calls that IBKR takes once in five seconds."""
    refresh_delay_s: float = 1.0
    """Between asking for a fresh list and reading it."""
    late_checks_s: tuple[float, ...] = (600.0, 1800.0, 3600.0)
    """From the loss to looks after the verdict, for what was only late."""
    startup_block_s: float = 60.0
    """How long new orders wait at most after a start, until those of the run before have been found."""
