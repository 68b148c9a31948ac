"""One caller's call on its way through a line, and what is found out about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge.cache.singleflight import Flight
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.calls.messages import Answer, Call
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.request import Departure

__all__ = ["CallerGone", "Spent", "Trip"]


@dataclass
class Spent:
    """Seconds a caller's call took so far, all that was asked for it together."""

    waited: float = 0.0
    """For session and turns."""
    at_gateway: float = 0.0
    """Inside the Gateway, until heads of answers came."""


@dataclass
class Trip:
    """One call, and how it goes."""

    call: Call
    row: Endpoint
    asked: Asked
    key: str = ""
    """Whose it is; keys take turns."""
    wait: float | None = None
    """Seconds the caller would wait for session and turns; None for the bridge's own limit."""
    still_there: Callable[[], bool] = lambda: True
    stopping: Callable[[], bool] = lambda: False
    """Whether the bridge is ending, so that waiting for the session makes no sense."""
    max_age: float | None = None
    """Seconds an answer may be old, where the caller says so; 0 asks anew."""
    flight: Flight | None = None
    """Whose call it is, where several wait for it."""
    spent: Spent = field(default_factory=Spent)
    source: str = "gateway"
    age: float | None = None
    sent: bool = False
    """Whether its bytes may have left."""
    until: float | None = None
    """Monotonic seconds after which it must not leave any more; None for a read, which does no harm late."""
    leaving: Departure | None = None
    """What has to be done before its first byte; None where there is nothing."""
    late: Callable[[Answer], None] | None = None
    """Is told an answer that comes when nobody waits for it any more."""
    order: Record | None = None
    """The order it is about, where it is about one."""

    def note_part(self, part: Trip) -> None:
        """An answer made of several is as old as the oldest of them, and from memory where one of them is."""
        if part.age is not None:
            self.age, self.source = max(self.age or 0.0, part.age), part.source
        elif self.age is None:
            self.source = part.source


class CallerGone(Exception):
    """The caller hung up before its call was sent; it never will be."""
