"""One call that waits for admission, or is inside the Gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ibkr_bridge.ibkr.endpoint import Endpoint, Priority
from ibkr_bridge.limits.sliding_window import SlidingWindow


@dataclass(eq=False)
class QueuedCall:
    """One call that waits, or is inside."""

    endpoint: Endpoint
    priority: Priority
    key_label: str
    is_connected: Callable[[], bool] = lambda: True
    """Whether its caller still waits."""
    has_reduced_share: bool = False
    """Whether its caller takes a place in the queue only within the reduced share."""
    needs_slot: bool = True
    """Whether it waits for a slot. A cancel does not: it is tried in any case."""
    is_displaced: bool = False
    """Whether it lost its place in the queue: to a call of another key, or since nobody waits for it any more."""
    holds_slot: bool = False
    is_given_up: bool = False
    """Whether it passed its deadline: a ghost call."""
    overtaken: tuple[float, float] | None = None
    """When the first later call was sent that was answered before this one, and when it was answered."""
    is_cleared: bool = False
    """Whether its endpoint has answered a later call, so that it says nothing of the endpoint any more."""
    sent_at: float | None = None
    """When its first byte left."""
    window_entries: int = 0
    """How often it is counted in its windows: once, and once more if it had to be sent again."""
    open_entries: int = 0
    """How many of these have not ended yet."""
    admitted_at: float = 0.0
    """When it was admitted."""
    windows: tuple[SlidingWindow, ...] | None = None
    """The windows in which it is counted, once they have been looked up."""
