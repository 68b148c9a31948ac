"""The order lock of a profile: one placement or modification at a time, until its last question is answered.

IBKR keeps one question for each user, and any order call in between cancels it. So a call that places or modifies an
order holds the lock until it is finished. Other such calls wait, each as long as its caller allows. A cancel does not
need the lock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import noop
from ibkr_bridge.calls.shares import has_room
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import Busy, OrderInProgress
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.response import Question

MAX_WAITING_PREVIEWS = 4  # each takes a second or more, and previews must not fill the time that callers wait
REPLY_TIMEOUT_S = 60.0  # seconds that a question waits for its reply; then the bridge declines it
MIN_RETRY_AFTER_S = 1.0  # seconds


@dataclass(eq=False)
class PendingQuestion:
    """A question that waits for its reply."""

    record: OrderRecord
    question: Question
    facts: RequestFacts
    """The facts that the rules check."""
    expires_at: float
    """Time of the clock at which it is declined."""
    is_answered: bool = False
    """Whether a reply is being sent."""
    is_over: bool = False
    """Whether its time is over; the lock is released after the decline, not before."""


@dataclass(eq=False)
class _Waiter:
    holder: object
    is_connected: Callable[[], bool]
    granted: asyncio.Event
    has_reduced_share: bool = False


class OrderLock:
    """The lock that placements and modifications of one profile hold, first come, first served.

    Previews need it too, as any order call ends IBKR's question. They wait behind all placements, and few may wait.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holder: object | None = None
        self._waiting: deque[_Waiter] = deque()
        self._waiting_previews: deque[_Waiter] = deque()
        self.pending: PendingQuestion | None = None
        self.on_question: Callable[[], None] = noop
        """Called when a question is opened: its time begins to run."""

    def __repr__(self) -> str:
        return f"<OrderLock held by {self._holder!r}, {len(self._waiting)} waiting>"

    async def acquire(self, holder: object, wait: float, is_connected: Callable[[], bool]) -> None:
        """Wait for the lock, in the order of arrival.

        Args:
            holder: identifies the holder, such as the record of an order.
            wait: seconds at most.

        Raises:
            OrderInProgress: it took longer; nothing was done.
            CallerGone: no caller waits any more.
        """
        if not self.try_acquire(holder):
            await self._wait(self._waiting, _Waiter(holder, is_connected, asyncio.Event()), wait)

    async def acquire_for_preview(
        self, holder: object, wait: float, is_connected: Callable[[], bool], *, has_reduced_share: bool
    ) -> None:
        """Wait for the lock behind all placements and modifications.

        Raises:
            Busy: too many previews wait already.
            OrderInProgress, CallerGone: see `acquire`.
        """
        if self.try_acquire(holder):
            return
        holders = [waiter.has_reduced_share for waiter in self._waiting_previews]
        if not has_room(MAX_WAITING_PREVIEWS, holders, has_reduced_share=has_reduced_share):
            raise Busy("too many previews wait for the order lock already", retry_after=MIN_RETRY_AFTER_S)
        waiter = _Waiter(holder, is_connected, asyncio.Event(), has_reduced_share)
        await self._wait(self._waiting_previews, waiter, wait)

    async def _wait(self, queue: deque[_Waiter], waiter: _Waiter, wait: float) -> None:
        queue.append(waiter)
        try:
            await self._clock.wait(waiter.granted, wait)
        except BaseException:
            self._cancel(waiter)
            raise
        if self._holder is not waiter.holder:
            self._cancel(waiter)
            raise self._in_progress_error() if waiter.is_connected() else CallerGone

    def try_acquire(self, holder: object) -> bool:
        """Take the lock if it is free. Returns whether the holder has it now."""
        if self._holder is None and not self._waiting and not self._waiting_previews:
            self._holder = holder
        return self._holder is holder

    def _cancel(self, waiter: _Waiter) -> None:
        """Stop waiting; a lock that was granted in the meantime goes to the next."""
        for queue in (self._waiting, self._waiting_previews):
            if waiter in queue:
                queue.remove(waiter)
        self.release(waiter.holder)

    def release(self, holder: object) -> None:
        """Give the lock back; a call for another holder changes nothing."""
        if self._holder is not holder:
            return
        self._holder = self.pending = None
        while (queue := self._waiting or self._waiting_previews) and self._holder is None:
            next_waiter = queue.popleft()
            if next_waiter.is_connected():
                self._holder = next_waiter.holder
            next_waiter.granted.set()  # a waiter whose caller has gone wakes up too

    def hold_for_question(self, record: OrderRecord, question: Question, facts: RequestFacts) -> PendingQuestion:
        """Keep the lock for a question that was passed to the caller, until it is answered."""
        self.pending = PendingQuestion(record, question, facts, self._clock.now() + REPLY_TIMEOUT_S)
        self.on_question()
        return self.pending

    def _in_progress_error(self) -> OrderInProgress:
        if self.pending is not None:
            remaining_s = max(MIN_RETRY_AFTER_S, self.pending.expires_at - self._clock.now())
            return OrderInProgress(
                f"order {self.pending.record.id} waits for the reply to a question", retry_after=remaining_s
            )
        return OrderInProgress("another order is being sent", retry_after=MIN_RETRY_AFTER_S)
