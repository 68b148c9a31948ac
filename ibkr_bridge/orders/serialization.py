"""One at a time: placing, and the questions IBKR asks about it, belong together until the last of them is answered.

IBKR keeps one question for a user, and any order call in between kills it. So whoever places or changes an order has
the line to themselves until it is through; others wait their turn, as long as they would. A cancel waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import OrderInProgress
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.response import Question

REPLY_TIMEOUT_S = 60.0  # seconds a question waits for its reply; then it is declined
MIN_RETRY_AFTER_S = 1.0  # seconds


@dataclass(eq=False)
class PendingQuestion:
    """A question that waits for its reply."""

    record: OrderRecord
    question: Question
    facts: RequestFacts
    """What the rules judge the order by."""
    expires_at: float
    """By the clock: it is declined then."""
    is_answered: bool = False
    """Whether a reply is on its way."""
    is_over: bool = False
    """Whether its time is over: the line is free when it has been declined, not before."""


@dataclass(eq=False)
class _Waiter:
    holder: object
    is_connected: Callable[[], bool]
    granted: asyncio.Event


class OrderLock:
    """Whose turn it is at the order desk of one line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holder: object | None = None
        self._waiting: deque[_Waiter] = deque()
        self.pending: PendingQuestion | None = None
        self.on_question: Callable[[], None] = lambda: None
        """Called when a question begins to hang: from then on its time runs."""

    def __repr__(self) -> str:
        return f"<OrderLock held by {self._holder!r}, {len(self._waiting)} waiting>"

    async def acquire(self, holder: object, wait: float, is_connected: Callable[[], bool]) -> None:
        """Have the line to oneself, after those who came before.

        Args:
            what: who it is, an order's record for instance.
            wait: seconds, at most.

        Raises:
            OrderInProgress: it took longer; nothing was done.
            CallerGone: nobody waits any more.
        """
        if self.try_acquire(holder):
            return
        me = _Waiter(holder, is_connected, asyncio.Event())
        self._waiting.append(me)
        try:
            await self._clock.wait(me.granted, wait)
        except BaseException:
            self._cancel(me)
            raise
        if self._holder is not holder:
            self._cancel(me)
            raise self._in_progress_error() if is_connected() else CallerGone

    def try_acquire(self, holder: object) -> bool:
        """Have the line to oneself if nobody has it; says whether that is so."""
        if self._holder is None and not self._waiting:
            self._holder = holder
        return self._holder is holder

    def _cancel(self, me: _Waiter) -> None:
        """Wait no longer; a turn that came in that very moment goes on to the next."""
        if me in self._waiting:
            self._waiting.remove(me)
        self.release(me.holder)

    def release(self, holder: object) -> None:
        """It is through; said by somebody else, it changes nothing."""
        if self._holder is not holder:
            return
        self._holder = self.pending = None
        while self._waiting and self._holder is None:
            next_one = self._waiting.popleft()
            if next_one.is_connected():
                self._holder = next_one.holder
            next_one.granted.set()  # who has gone is told so

    def hold_for_question(self, record: OrderRecord, question: Question, facts: RequestFacts) -> PendingQuestion:
        """A question went to its caller, who has the line until it is answered."""
        self.pending = PendingQuestion(record, question, facts, self._clock.now() + REPLY_TIMEOUT_S)
        self.on_question()
        return self.pending

    def _in_progress_error(self) -> OrderInProgress:
        if self.pending is not None:
            left = max(MIN_RETRY_AFTER_S, self.pending.expires_at - self._clock.now())
            return OrderInProgress(
                f"order {self.pending.record.id} waits for the answer to a question", retry_after=left
            )
        return OrderInProgress("another order is being sent", retry_after=MIN_RETRY_AFTER_S)
