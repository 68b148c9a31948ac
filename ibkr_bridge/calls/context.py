"""The call context: one call on its way through the stages.

`server/request_parsing.py` and `orders/service.py` make one for each call. A stage reads it, appends its preconditions
and its callbacks to it, and records what it learned. A stage that sends a call more than once sends a copy each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from ibkr_bridge.calls.facts import RequestFacts, facts_without_rules
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response
from ibkr_bridge.ibkr.endpoint import Endpoint, OrderOperation

HOOK_LISTS = ("preconditions", "on_sent", "on_released", "on_given_up")
"""The members of a context to which stages append; each copy has lists of its own."""


class CallerGone(Exception):
    """The caller disconnected before its call was sent. The call is never sent."""


ContextHook = Callable[["CallContext"], None]
"""What a stage appends to a context. It gets the context as its argument: a closure over the context would be a
reference cycle, and the garbage collector instead of the last reference would free every call (15 % of its time).
"""


class SharedRead(Protocol):
    """A call that several callers wait for, as far as the stages need it."""

    def on_estimate(self, seconds: float) -> None:
        """It will probably be admitted in so many seconds."""
        ...


SENT_OPERATIONS = frozenset(OrderOperation) - {OrderOperation.PREVIEW}
"""Operations whose calls change something at IBKR; a preview is a read."""


@dataclass
class CallTiming:
    """Seconds that a caller's call took so far, with all calls that were sent for it."""

    waited_s: float = 0.0
    """For the session and for admission."""
    upstream_s: float = 0.0
    """At the upstream, until the heads of responses came."""


@dataclass(eq=False)
class FirstByteHook:
    """What must be on disk before the first byte of a call, and whether that byte has left."""

    write_entry: Callable[[], Awaitable[None]]
    """Awaited when the connection is open. If it raises, nothing is sent."""
    has_left: bool = False
    """Whether the first byte may have left."""


@dataclass
class CallContext:
    """One call, its caller, and its state."""

    call: Call
    endpoint: Endpoint
    facts: RequestFacts
    key_label: str = ""
    """Which key the call came with. Admission alternates between keys."""
    wait_s: float | None = None
    """Seconds the caller wants to wait for the session and for admission; None if the request does not say."""
    max_wait_s: float = 0.0
    """Seconds to wait for admission if the request does not say."""
    extra_wait_s: float = 0.0
    """Seconds to wait for admission beyond that, for a call that the bridge itself sends once more."""
    has_reduced_share: bool = False
    """Whether its key or token takes part of what callers share only within the reduced share."""
    serves_order: bool = False
    """Whether it is a read that the bridge makes for an order: it has the priority of orders."""
    is_connected: Callable[[], bool] = lambda: True
    is_stopping: Callable[[], bool] = lambda: False
    """Whether the bridge is ending, so that waiting for the session makes no sense."""
    max_age_s: float | None = None
    """Seconds that a cached response may be old, if the caller says so; 0 fetches anew."""
    shared_call: SharedRead | None = None
    """The shared call that this is, if several callers wait for it."""
    needs_complete_body: bool = False
    """Whether a stage reads the body, so that it must come complete and not compressed."""
    timing: CallTiming = field(default_factory=CallTiming)
    source: str = "gateway"
    age_s: float | None = None
    is_sent: bool = False
    """Whether the bytes of the call may have left."""
    deadline: float | None = None
    """Monotonic seconds after which an order must not leave; None for a read, which does no harm late."""
    preconditions: list[ContextHook] = field(default_factory=list)
    """What must hold between "connected" and "first byte", from the outermost stage in. Each raises if it does not."""
    before_first_byte: FirstByteHook | None = None
    on_sent: list[ContextHook] = field(default_factory=list)
    """Called in the step in which the first byte leaves; cannot fail."""
    on_released: list[ContextHook] = field(default_factory=list)
    """Called when the upstream no longer works on the call, however it ended."""
    on_given_up: list[ContextHook] = field(default_factory=list)
    """Called when the call passes its deadline and the upstream may still work on it."""
    on_late_response: OnLateResponse | None = None
    execute: Callable[[CallContext], Awaitable[Response]] | None = None
    """Sends another call for this one, through all stages; set by the pipeline."""

    def remaining_wait(self) -> float:
        """Seconds that are left for waiting."""
        wait_s = self.max_wait_s if self.wait_s is None else self.wait_s
        return max(0.0, wait_s - self.timing.waited_s) + self.extra_wait_s

    def merge_part(self, part: CallContext) -> None:
        """Take source and age of one part: a response made of several is as old as the oldest of them."""
        if part.age_s is not None:
            self.age_s, self.source = max(self.age_s or 0.0, part.age_s), part.source
        elif self.age_s is None:
            self.source = part.source

    def attempt(self, *, extra_wait_s: float = 0.0, needs_complete_body: bool = False) -> CallContext:
        """A copy for one sending of a read, with preconditions and callbacks of its own."""
        return self._copy(
            is_sent=False,
            extra_wait_s=extra_wait_s,
            needs_complete_body=self.needs_complete_body or needs_complete_body,
        )

    def part(self, call: Call, endpoint: Endpoint) -> CallContext:
        """A context for one of the calls that the response is made of."""
        return self._copy(call=call, endpoint=endpoint, source="gateway", age_s=None)

    def beside(self, call: Call, endpoint: Endpoint, *, max_age_s: float | None = None) -> CallContext:
        """A context for another read that this call needs first; without the parts that belong to an order."""
        return CallContext(
            call,
            endpoint,
            facts_without_rules(endpoint),
            key_label=self.key_label,
            has_reduced_share=self.has_reduced_share,
            serves_order=self.serves_order or self.endpoint.operation in SENT_OPERATIONS,
            wait_s=self.wait_s,
            max_wait_s=self.max_wait_s,
            is_connected=self.is_connected,
            is_stopping=self.is_stopping,
            max_age_s=max_age_s,
            timing=self.timing if self.endpoint.is_read else CallTiming(),
            execute=self.execute,
        )

    def _copy(self, **changes: object) -> CallContext:
        copied = object.__new__(CallContext)  # `dataclasses.replace` takes five times as long, and every read is copied
        values = self.__dict__ | changes
        for hooks in HOOK_LISTS:
            values[hooks] = values[hooks].copy()
        copied.__dict__ = values
        return copied
