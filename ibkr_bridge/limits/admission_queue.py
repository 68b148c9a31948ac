"""The admission queue: which call is next, and how long it waits. Pure; the time is passed in.

Three things must be free at once: a slot in the Gateway, room in the windows of all calls and of this priority, and
room in the window of the call's endpoint. An unanswered call keeps its slot here, as it may keep one in the Gateway,
until answers to other calls show that it does not (`on_prompt_answer`). Among the calls that could go, the higher
priority goes first; calls of one key keep their order, and keys alternate. The window of each priority leaves a part of
the limit to the others: no order waits for reads to leave their window, and orders never stop the reads completely.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ibkr_bridge.calls.shares import has_room, reduced_capacity
from ibkr_bridge.calls.upstream_port import UpstreamTraits
from ibkr_bridge.errors import Busy
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority, RateLimit
from ibkr_bridge.limits.queued_call import QueuedCall
from ibkr_bridge.limits.sliding_window import SlidingWindow, WindowForecast
from ibkr_bridge.limits.unanswered_calls import UnansweredCalls

RETRY_AFTER_S = 1.0  # seconds
UNLIMITED_SLOTS = 1000  # for an upstream that has no limit of its own
SMOOTHING = 0.3  # weight of the latest call in the mean duration


@dataclass(frozen=True)
class Limits:
    """How much is sent to one upstream, and to IBKR through it."""

    slots: int
    """Calls inside the upstream at a time."""
    slots_for_orders: int
    """Slots that no read may take."""
    total: RateLimit | None
    """The limit of all calls together; None for none."""
    by_priority: Mapping[Priority, RateLimit]
    """The share of each kind of call."""
    of_endpoint: Callable[[Endpoint], RateLimit | None]
    """IBKR's limit for one endpoint; None for none."""
    max_queued: int = 128
    """Calls of one priority that may wait; behind more no call is served within a reasonable time."""

    @classmethod
    def of(cls, traits: UpstreamTraits) -> Limits:
        """The limits of one kind of upstream."""
        slots = UNLIMITED_SLOTS if traits.slots is None else traits.slots
        return cls(slots, traits.slots_for_orders, traits.total, traits.by_priority, traits.limit)


class AdmissionQueue:
    """The queue of one Gateway."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._unanswered = UnansweredCalls(limits.slots - limits.slots_for_orders)
        self._queues: dict[Priority, dict[str, deque[QueuedCall]]] = {each: {} for each in Priority}
        self._total = SlidingWindow(limits.total) if limits.total else None
        self._shares = {each: SlidingWindow(limit) for each, limit in limits.by_priority.items()}
        self._endpoint_windows: dict[str, SlidingWindow] = {}
        self._mean_service_s = 0.1  # seconds that a call is inside, as a moving average

    def __repr__(self) -> str:
        return f"<AdmissionQueue {self._taken}/{self._limits.slots} taken, {sum(self.waiting().values())} waiting>"

    @property
    def slots_taken(self) -> int:
        """The bridge's calls inside the Gateway, ghost calls included."""
        return self._taken

    def waiting(self) -> Counter[Priority]:
        """How many calls wait, by priority."""
        return Counter({each: sum(map(len, self._queues[each].values())) for each in Priority})

    def budget_used(self, now: float) -> int:
        """How much of the limit of all calls is used."""
        return self._total.used(now) if self._total else 0

    def enqueue(self, queued_call: QueuedCall) -> QueuedCall | None:
        """Add a call to the queue. Returns the call that lost its place to it, if any: the latest of the key that has
        the most, so that no key fills the queue alone.

        Raises:
            Busy: too many of this priority wait already, or too many whose share is reduced.
        """
        if not self._has_place(queued_call):
            self._drop_disconnected(queued_call.priority)
        displaced = None
        # Each priority has a limit of its own: reads must not keep a cancel out.
        if not self._has_place(queued_call):
            displaced = self._find_displaced(queued_call)
            if displaced is None:
                raise Busy("too many calls are waiting already", retry_after=RETRY_AFTER_S)
            self.remove(displaced)
        self._queues[queued_call.priority].setdefault(queued_call.key_label, deque()).append(queued_call)
        return displaced

    def try_admit(self, queued_call: QueuedCall, now: float) -> bool:
        """Admit a call at once if no other waits and everything is free. Returns whether it was admitted."""
        if any(self._queues.values()) or not self._has_slot(queued_call, now):
            return False
        if not self._windows_have_room(queued_call, now):
            return False
        self._admit(queued_call, now)
        return True

    def remove(self, queued_call: QueuedCall) -> bool:
        """Remove a call from the queue. Returns whether it was in the queue."""
        queue = self._queues[queued_call.priority].get(queued_call.key_label)
        if queue is None or queued_call not in queue:
            return False
        queue.remove(queued_call)
        if not queue:
            del self._queues[queued_call.priority][queued_call.key_label]
        return True

    def admit_next(self, now: float) -> QueuedCall | None:
        """Admit and return the next call; call this until it returns None."""
        if self._total and self._unanswered.is_answering and not self._total.has_room(now):
            return None  # at once, as many may wait
        for queued_call in self._admissible_in_order(now):
            self.remove(queued_call)
            keys = self._queues[queued_call.priority]
            if queued_call.key_label in keys:  # the other keys are next
                keys[queued_call.key_label] = keys.pop(queued_call.key_label)
            self._admit(queued_call, now)
            return queued_call
        return None

    def readmit(self, queued_call: QueuedCall, now: float) -> bool:
        """Returns whether an admitted call may be sent once more, and counts it if so."""
        if not self._windows_have_room(queued_call, now):
            return False
        self._enter_windows(queued_call)
        return True

    def release(self, queued_call: QueuedCall, now: float, *, sent: bool) -> None:
        """The Gateway no longer works on a call."""
        self._unanswered.remove(queued_call)
        if sent and not queued_call.is_given_up:
            self._mean_service_s += SMOOTHING * (now - queued_call.admitted_at - self._mean_service_s)
        self._free_slot(queued_call)
        self.on_answered(queued_call, now, sent=sent)

    # -- ghost calls

    def on_given_up(self, queued_call: QueuedCall) -> None:
        """A call passed its deadline: it may occupy its slot in the Gateway until it is released."""
        self._unanswered.on_given_up(queued_call)

    def on_silence(self) -> None:
        """A check of the session was not answered: nothing shows any more that the Gateway has a free slot."""
        self._unanswered.is_answering = False

    def on_answer(self, queued_call: QueuedCall, now: float) -> None:
        """A call was answered, however late: its endpoint works."""
        self._unanswered.on_answer(queued_call, now)

    def on_prompt_answer(self, sent_at: float, now: float) -> None:
        """A call was answered promptly, which shows two things about the unanswered calls that were sent before it.

        The Gateway had a free slot: one of them gives its own back. (If IBKR refuses or resets a connection, the
        Gateway frees the slot at once and never answers.) And the Gateway's queue is first in, first out, so none of
        them is still in it: what IBKR has received it has counted by now, and the windows end accordingly.
        """
        earlier = self._unanswered.on_prompt_answer(sent_at, now)
        for unanswered in earlier:
            self.on_answered(unanswered, now)
        if held := next((each for each in earlier if each.holds_slot), None):
            self._free_slot(held)

    def is_overtaken(self, sent_at: float, now: float) -> bool:
        """See `UnansweredCalls`."""
        return self._unanswered.is_overtaken(sent_at, now)

    def admit_out_of_band(self, endpoint: Endpoint, now: float) -> QueuedCall | None:
        """Count a call that needs no slot and does not wait. None if the endpoint's window is full."""
        queued_call = QueuedCall(endpoint, Priority.SESSION, "")
        if not self._endpoint_has_room(queued_call, now):
            return None
        self._enter_windows(queued_call)
        return queued_call

    def occupy(self, endpoint: Endpoint, until: float) -> None:
        """Mark one place of an endpoint's limit as used until a time."""
        window = self._endpoint_window(endpoint)
        if window is not None:
            window.occupy(until)

    def on_answered(self, queued_call: QueuedCall, now: float, *, sent: bool = True) -> None:
        """End the call in its windows; if it was sent, it counts for the windows' length after that."""
        entries, queued_call.open_entries = queued_call.open_entries, 0
        for window in self._windows(queued_call):
            for _ in range(entries):
                window.end_call(now, sent=sent)

    def next_change_at(self, now: float) -> float | None:
        """When a call may be admitted without a response; None if none waits, or a response is needed first."""
        waiting = [each for keys in self._queues.values() for queue in keys.values() for each in queue]
        if not waiting:
            return None
        times = [self._unanswered.next_late_at(now), *(self._earliest_start(each, now) for each in waiting)]
        return min((at for at in times if at is not None and at > now), default=None)

    def estimate_wait(self, queued_call: QueuedCall, now: float) -> float:
        """Seconds until a call is admitted, if responses take as long as lately and no higher priority comes."""
        plans: dict[SlidingWindow, WindowForecast] = {}
        start = now
        for each in (*self._queued_before(queued_call), queued_call):
            windows = self._windows(each)
            plans.update(
                {window: window.forecast(now, self._mean_service_s) for window in windows if window not in plans}
            )
            start = max((plans[window].first_start for window in windows), default=now)
            for window in windows:
                plans[window].reserve(start)
        return start - now

    # -- internals

    def _has_place(self, queued_call: QueuedCall) -> bool:
        holders = [each.has_reduced_share for queue in self._queues[queued_call.priority].values() for each in queue]
        return has_room(self._limits.max_queued, holders, has_reduced_share=queued_call.has_reduced_share)

    def _find_displaced(self, queued_call: QueuedCall) -> QueuedCall | None:
        """The call that a new one of another key may displace; None if its own key has about as many. Where the reduced
        share is used up, that is a call within it.
        """
        by_key = self._queues[queued_call.priority]
        reduced = [queue for queue in by_key.values() if queue[0].has_reduced_share]
        is_share_full = sum(map(len, reduced)) >= reduced_capacity(self._limits.max_queued)
        candidates = reduced if queued_call.has_reduced_share and is_share_full else by_key.values()
        longest_queue = max(candidates, key=len, default=deque[QueuedCall]())
        own_count = len(by_key.get(queued_call.key_label, ()))
        return longest_queue[-1] if len(longest_queue) > own_count + 1 else None

    def _drop_disconnected(self, priority: Priority) -> None:
        """Drop waiting calls whose caller has disconnected."""
        for queued_call in [
            each for queue in self._queues[priority].values() for each in queue if not each.is_connected()
        ]:
            self.remove(queued_call)

    def _admissible_in_order(self, now: float) -> Iterator[QueuedCall]:
        """The calls that could be admitted now, in order."""
        for priority, keys in self._queues.items():
            share = self._shares.get(priority)
            if share and self._unanswered.is_answering and not share.has_room(now):
                continue
            for queue in list(keys.values()):
                yield from (
                    queued_call
                    for queued_call in list(queue)
                    if self._has_slot(queued_call, now)
                    and self._windows_have_room(queued_call, now)
                    and queued_call.is_connected()
                )

    def _has_slot(self, queued_call: QueuedCall, now: float) -> bool:
        """Whether there is a slot. While the Gateway answers, one call at a time is admitted although unanswered calls
        hold the slots.
        """
        if not queued_call.needs_slot:
            return True
        if queued_call.priority is not Priority.ORDERS and not self._unanswered.may_enter(queued_call, now):
            return False
        reserved = 0 if queued_call.priority is Priority.ORDERS else self._limits.slots_for_orders
        if self._taken < self._limits.slots - reserved:
            return True
        held = sum(each.holds_slot for each in self._unanswered.unanswered(now))
        return self._unanswered.is_answering and self._taken == held

    def _free_slot(self, queued_call: QueuedCall) -> None:
        self._taken -= queued_call.holds_slot
        queued_call.holds_slot = False

    def _windows_have_room(self, queued_call: QueuedCall, now: float) -> bool:
        """Whether every window has a place. While the Gateway is silent, a few cancels do not wait for the places of
        calls that it does not answer.
        """
        is_urgent = not queued_call.needs_slot and self._unanswered.may_be_urgent
        return all(window.has_room(now, answered_only=is_urgent) for window in self._windows(queued_call))

    def _endpoint_has_room(self, queued_call: QueuedCall, now: float) -> bool:
        window = self._endpoint_window(queued_call.endpoint)
        return window is None or window.has_room(now)

    def _endpoint_window(self, endpoint: Endpoint) -> SlidingWindow | None:
        if (limit := self._limits.of_endpoint(endpoint)) is None:
            return None
        # GET and POST of one path have one limit.
        return self._endpoint_windows.setdefault(endpoint.path, SlidingWindow(limit))

    def _windows(self, queued_call: QueuedCall) -> tuple[SlidingWindow, ...]:
        if queued_call.windows is None:
            windows = (
                self._total,
                self._shares.get(queued_call.priority),
                self._endpoint_window(queued_call.endpoint),
            )
            queued_call.windows = tuple(window for window in windows if window is not None)
        return queued_call.windows

    def _admit(self, queued_call: QueuedCall, now: float) -> None:
        queued_call.holds_slot = queued_call.needs_slot
        self._taken += queued_call.holds_slot
        queued_call.admitted_at = now
        self._unanswered.add(queued_call)
        self._enter_windows(queued_call)

    def _enter_windows(self, queued_call: QueuedCall) -> None:
        queued_call.window_entries += 1
        queued_call.open_entries += 1
        for window in self._windows(queued_call):
            window.begin_call()

    def _earliest_start(self, queued_call: QueuedCall, now: float) -> float | None:
        times = [window.next_free_at(now) for window in self._windows(queued_call)]
        return None if None in times else max((at for at in times if at is not None), default=now)

    def _queued_before(self, queued_call: QueuedCall) -> Iterator[QueuedCall]:
        """The calls that go before another: those of higher priority, and of each other key as many as of its own."""
        for priority in Priority:
            if priority < queued_call.priority:
                yield from (other for queue in self._queues[priority].values() for other in queue)
        keys = self._queues[queued_call.priority]
        same_key = list(keys.get(queued_call.key_label, ()))
        position = same_key.index(queued_call) if queued_call in same_key else len(same_key)
        yield from same_key[:position]
        for key_label, queue in keys.items():
            if key_label != queued_call.key_label:
                yield from list(queue)[: position + 1]
