"""Admission: a call waits for a permit, or gets an error that says how long it would have to wait.

The rules are in `admission_queue.py`; here are the futures, the clock and the loop that admits calls as time passes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.messages import noop
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import Busy, GatewayProtocolError, RateLimited
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority
from ibkr_bridge.limits.admission_queue import RETRY_AFTER_S, AdmissionQueue, Limits
from ibkr_bridge.limits.queued_call import QueuedCall
from ibkr_bridge.limits.unanswered_calls import PROMPT_S

TOLERANCE = 1.05  # 5 % tolerance, so that a 5 s wait still fits a 1-per-5-s limit
OnEstimate = Callable[[float], None]


def no_second_call_error() -> GatewayProtocolError:
    """The error of a call that was cut off and cannot be sent again, as its windows are full."""
    return GatewayProtocolError(
        "the Gateway closed the connection before it answered, and IBKR's limits allow no second call now"
    )


@dataclass(frozen=True)
class SlotsStatus:
    """The calls inside the Gateway."""

    total: int = field(metadata={"doc": "How many calls of the bridge may be inside at a time.", "unit": "calls"})
    taken: int = field(metadata={"doc": "How many are inside, ghost calls included.", "unit": "calls"})
    waiting: int = field(metadata={"doc": "How many wait for a slot or for a limit.", "unit": "calls"})
    ghost_calls: int = field(
        metadata={"doc": "How many were given up by the bridge and may still occupy a slot.", "unit": "calls"}
    )


@dataclass(frozen=True)
class WaitingStatus:
    """The calls that wait, by priority."""

    session: int = field(metadata={"doc": "Calls that IBKR wants before others.", "unit": "calls"})
    orders: int = field(metadata={"doc": "Calls about orders.", "unit": "calls"})
    reads: int = field(metadata={"doc": "All others.", "unit": "calls"})


@dataclass(frozen=True)
class BudgetStatus:
    """The limit of all calls together."""

    used: int = field(metadata={"doc": "How many calls count against it now.", "unit": "calls"})
    limit: int = field(metadata={"doc": "How many may be sent in one period.", "unit": "calls"})
    period_s: float = field(metadata={"doc": "Length of the period.", "unit": "s"})


@dataclass(frozen=True)
class AdmissionStatus:
    """How many calls are inside, how many wait, and how many may still be sent."""

    slots: SlotsStatus = field(metadata={"doc": "The calls inside the Gateway."})
    waiting: WaitingStatus = field(metadata={"doc": "The calls that wait, by priority."})
    budget: BudgetStatus | None = field(metadata={"doc": "The limit of all calls together; null where there is none."})


class Permit:
    """The right to be inside the Gateway: held from admission until the Gateway no longer works on the call."""

    def __init__(self, admission: AdmissionController, queued_call: QueuedCall) -> None:
        self._admission = admission
        self._queued_call = queued_call
        self._is_released = False

    @property
    def is_sent(self) -> bool:
        """Whether its first byte may have been sent, so that IBKR may have counted it."""
        return self._queued_call.sent_at is not None

    def mark_sent(self) -> None:
        """Its first byte leaves now."""
        self._admission.mark_sent(self._queued_call)

    def on_given_up(self) -> None:
        """Its caller got an error, but the Gateway may still work on it."""
        if not self._is_released:
            self._admission.on_given_up(self._queued_call)

    def on_answered(self) -> None:
        """Its response has come."""
        self._admission.on_call_answered(self._queued_call)

    def readmit(self) -> bool:
        """Whether the call may be sent once more now; if so, it is counted twice."""
        return self._admission.readmit(self._queued_call)

    def release(self) -> None:
        """The Gateway no longer works on it; calling this twice does no harm."""
        if not self._is_released:
            self._is_released = True
            self._admission.release(self._queued_call, sent=self.is_sent)


class AdmissionController:
    """Grants permits for one Gateway.

    Args:
        limits: slots and rate limits.
        clock: the time for the windows.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._queue = AdmissionQueue(limits)
        self._clock = clock
        self._waiting: dict[QueuedCall, asyncio.Event] = {}
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<AdmissionController of {self._queue}>"

    @property
    def slots_taken(self) -> int:
        """The bridge's calls inside the Gateway, ghost calls included."""
        return self._queue.slots_taken

    @property
    def budget_used(self) -> int:
        """How much of the limit of all calls is used in this second."""
        return self._queue.budget_used(self._clock.now())

    def waiting(self) -> Counter[Priority]:
        """How many calls wait, by priority."""
        return self._queue.waiting()

    def status(self, ghost_calls: int) -> AdmissionStatus:
        """The numbers of calls inside and waiting; only the upstream knows how many are ghost calls."""
        waiting, total = self.waiting(), self.limits.total
        return AdmissionStatus(
            SlotsStatus(self.limits.slots, self.slots_taken, waiting.total(), ghost_calls),
            WaitingStatus(**{priority.name.lower(): count for priority, count in waiting.items()}),
            BudgetStatus(self.budget_used, total.calls, total.period_s) if total else None,
        )

    async def acquire(
        self,
        endpoint: Endpoint,
        priority: Priority,
        key_label: str,
        max_wait_s: float,
        *,
        has_reduced_share: bool = False,
        needs_slot: bool = True,
        on_estimate: OnEstimate = noop,
        is_connected: Callable[[], bool] = lambda: True,
    ) -> Permit:
        """Wait for a permit. A cancelled call leaves the queue.

        Args:
            endpoint: its rate limit applies.
            priority: the highest that waits is admitted first.
            key_label: which key the call came with; keys alternate.
            max_wait_s: seconds to wait, with a tolerance of 5 %.
            has_reduced_share: whether its caller waits only within the reduced share of the queue.
            needs_slot: whether it waits for a free slot.
            on_estimate: called with the expected seconds, if the call is not admitted at once.
            is_connected: whether the caller still waits; a call without a caller is not admitted.

        Raises:
            RateLimited: IBKR's limits make the wait longer; `retry_after` gives the seconds.
            Busy: too many calls wait already, or no slot became free in time.
            CallerGone: it was dropped after its callers had disconnected.
        """
        queued_call = QueuedCall(endpoint, priority, key_label, is_connected, has_reduced_share, needs_slot)
        if not self._queue.try_admit(queued_call, self._clock.now()):
            self._on_displaced(self._queue.enqueue(queued_call))
            self._admit_ready()
            if not queued_call.window_entries:
                await self._wait(queued_call, max_wait_s, on_estimate)
        return Permit(self, queued_call)

    async def _wait(self, queued_call: QueuedCall, max_wait_s: float, on_estimate: OnEstimate) -> None:
        max_wait_s *= TOLERANCE
        on_estimate(self._check_wait(queued_call, max_wait_s))
        admitted = self._waiting[queued_call] = asyncio.Event()
        self._changed.set()
        try:
            await self._clock.wait(admitted, max_wait_s)
        except asyncio.CancelledError:
            if not self._queue.remove(queued_call):  # it was admitted meanwhile: its slot goes to the next
                self.release(queued_call, sent=False)
            raise
        finally:
            del self._waiting[queued_call]
        if queued_call.is_displaced and not queued_call.is_connected():
            raise CallerGone
        if queued_call.is_displaced:
            raise Busy("calls of another key needed the place of this one in the queue", retry_after=RETRY_AFTER_S)
        if not queued_call.window_entries:
            self._queue.remove(queued_call)
            self._check_wait(queued_call, 0.0)
            raise Busy("no Gateway slot became free in time", retry_after=RETRY_AFTER_S)

    def drop_disconnected(self) -> None:
        """End the waits of calls whose callers have all disconnected: a bridge that ends does not wait for them."""
        for queued_call, event in self._waiting.items():
            if not queued_call.is_connected() and not queued_call.window_entries:
                self._queue.remove(queued_call)  # a full queue may have removed it already
                queued_call.is_displaced = True
                event.set()

    def _on_displaced(self, displaced: QueuedCall | None) -> None:
        """End the wait of a call that lost its place in the queue."""
        if displaced is not None and (event := self._waiting.get(displaced)) is not None:
            displaced.is_displaced = True
            event.set()

    def _check_wait(self, queued_call: QueuedCall, max_wait_s: float) -> float:
        expected = self._queue.estimate_wait(queued_call, self._clock.now())
        if expected > max_wait_s:
            self._queue.remove(queued_call)
            raise RateLimited("IBKR's rate limit for this call is used up", retry_after=expected)
        return expected

    def occupy(self, endpoint: Endpoint, seconds: float) -> None:
        """An endpoint was called by an earlier run; its limit is used up until then."""
        self._queue.occupy(endpoint, self._clock.now() + seconds)

    def admit_out_of_band(self, endpoint: Endpoint) -> Callable[[], None] | None:
        """Count a call that needs no slot and does not wait; None if the endpoint's limit is used up.

        Returns:
            The function to call when it has been answered.
        """
        queued_call = self._queue.admit_out_of_band(endpoint, self._clock.now())
        return (lambda: self._queue.on_answered(queued_call, self._clock.now())) if queued_call else None

    def readmit(self, queued_call: QueuedCall) -> bool:
        """See `Permit`."""
        return self._queue.readmit(queued_call, self._clock.now())

    def now(self) -> float:
        """The time of the windows, in seconds."""
        return self._clock.now()

    def mark_sent(self, queued_call: QueuedCall) -> None:
        """See `Permit`."""
        queued_call.sent_at = self._clock.now()

    def on_given_up(self, queued_call: QueuedCall) -> None:
        """See `Permit`."""
        self._queue.on_given_up(queued_call)
        self._admit_waiting()

    def on_call_answered(self, queued_call: QueuedCall) -> None:
        """See `Permit.on_answered`."""
        self._queue.on_answer(queued_call, self._clock.now())
        self.on_answer(queued_call.sent_at)

    def is_overtaken(self, sent_at: float) -> bool:
        """Whether a call that was sent then has waited for seconds although a later one was answered promptly."""
        return self._queue.is_overtaken(sent_at, self._clock.now())

    def on_answer(self, sent_at: float | None) -> None:
        """A call was answered; if promptly, it shows that the Gateway has a free slot."""
        now = self._clock.now()
        if sent_at is not None and now - sent_at <= PROMPT_S:
            self._queue.on_prompt_answer(sent_at, now)
            self._admit_waiting()

    def on_silence(self) -> None:
        """A check of the session was not answered."""
        self._queue.on_silence()

    def release(self, queued_call: QueuedCall, *, sent: bool) -> None:
        """See `Permit`."""
        self._queue.release(queued_call, self._clock.now(), sent=sent)
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        if self._waiting:
            self._admit_ready()
            self._changed.set()

    def _admit_ready(self) -> None:
        now = self._clock.now()
        while queued_call := self._queue.admit_next(now):
            if admitted := self._waiting.get(queued_call):
                admitted.set()

    async def run_loop(self) -> NoReturn:
        """Admit calls whose windows become free as time passes, until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            next_change_at = self._queue.next_change_at(now) if self._waiting else None
            if next_change_at is None:
                await self._changed.wait()
            else:
                await self._clock.wait(self._changed, max(0.0, next_change_at - now))
            self._admit_ready()
