"""One caller's call on its way through a line, and what is found out about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge.cache.singleflight import SharedCall
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.request import Departure

__all__ = ["CallContext", "CallTiming", "CallerGone"]


@dataclass
class CallTiming:
    """Seconds a caller's call took so far, all that was asked for it together."""

    waited_s: float = 0.0
    """For session and turns."""
    upstream_s: float = 0.0
    """Inside the Gateway, until heads of answers came."""


@dataclass
class CallContext:
    """One call, and how it goes."""

    call: Call
    endpoint: Endpoint
    facts: RequestFacts
    key_label: str = ""
    """Whose it is; keys take turns."""
    wait_s: float | None = None
    """Seconds the caller would wait for session and turns; None for the bridge's own limit."""
    is_connected: Callable[[], bool] = lambda: True
    is_stopping: Callable[[], bool] = lambda: False
    """Whether the bridge is ending, so that waiting for the session makes no sense."""
    max_age_s: float | None = None
    """Seconds an answer may be old, where the caller says so; 0 asks anew."""
    shared_call: SharedCall | None = None
    """Whose call it is, where several wait for it."""
    timing: CallTiming = field(default_factory=CallTiming)
    source: str = "gateway"
    age_s: float | None = None
    is_sent: bool = False
    """Whether its bytes may have left."""
    deadline: float | None = None
    """Monotonic seconds after which it must not leave any more; None for a read, which does no harm late."""
    before_first_byte: Departure | None = None
    """What has to be done before its first byte; None where there is nothing."""
    on_late_response: Callable[[Response], None] | None = None
    """Is told an answer that comes when nobody waits for it any more."""
    order_record: OrderRecord | None = None
    """The order it is about, where it is about one."""

    def merge_part(self, part: CallContext) -> None:
        """An answer made of several is as old as the oldest of them, and from memory where one of them is."""
        if part.age_s is not None:
            self.age_s, self.source = max(self.age_s or 0.0, part.age_s), part.source
        elif self.age_s is None:
            self.source = part.source


class CallerGone(Exception):
    """The caller hung up before its call was sent; it never will be."""
