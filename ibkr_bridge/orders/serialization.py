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
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import OrderInProgress
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.response import Question

ANSWER_WITHIN = 60.0  # seconds a question waits for its reply; then it is declined
SOON = 1.0  # seconds


@dataclass(eq=False)
class Hanging:
    """A question that waits for its reply."""

    record: Record
    question: Question
    asked: Asked
    """What the rules judge the order by."""
    until: float
    """By the clock: it is declined then."""
    is_answered: bool = False
    """Whether a reply is on its way."""
    is_over: bool = False
    """Whether its time is over: the line is free when it has been declined, not before."""


@dataclass(eq=False)
class _Waiting:
    what: object
    is_there: Callable[[], bool]
    turn: asyncio.Event


class Chain:
    """Whose turn it is at the order desk of one line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holder: object | None = None
        self._waiting: deque[_Waiting] = deque()
        self.hanging: Hanging | None = None
        self.hung: Callable[[], None] = lambda: None
        """Called when a question begins to hang: from then on its time runs."""

    def __repr__(self) -> str:
        return f"<Chain held by {self._holder!r}, {len(self._waiting)} waiting>"

    async def enter(self, what: object, wait: float, is_there: Callable[[], bool]) -> None:
        """Have the line to oneself, after those who came before.

        Args:
            what: who it is, an order's record for instance.
            wait: seconds, at most.

        Raises:
            OrderInProgress: it took longer; nothing was done.
            CallerGone: nobody waits any more.
        """
        if self.enter_at_once(what):
            return
        me = _Waiting(what, is_there, asyncio.Event())
        self._waiting.append(me)
        try:
            await self._clock.wait(me.turn, wait)
        except BaseException:
            self._give_up(me)
            raise
        if self._holder is not what:
            self._give_up(me)
            raise self._in_the_way() if is_there() else CallerGone

    def enter_at_once(self, what: object) -> bool:
        """Have the line to oneself if nobody has it; says whether that is so."""
        if self._holder is None and not self._waiting:
            self._holder = what
        return self._holder is what

    def _give_up(self, me: _Waiting) -> None:
        """Wait no longer; a turn that came in that very moment goes on to the next."""
        if me in self._waiting:
            self._waiting.remove(me)
        self.leave(me.what)

    def leave(self, what: object) -> None:
        """It is through; said by somebody else, it changes nothing."""
        if self._holder is not what:
            return
        self._holder = self.hanging = None
        while self._waiting and self._holder is None:
            next_one = self._waiting.popleft()
            if next_one.is_there():
                self._holder = next_one.what
            next_one.turn.set()  # who has gone is told so

    def hang(self, record: Record, question: Question, asked: Asked) -> Hanging:
        """A question went to its caller, who has the line until it is answered."""
        self.hanging = Hanging(record, question, asked, self._clock.now() + ANSWER_WITHIN)
        self.hung()
        return self.hanging

    def _in_the_way(self) -> OrderInProgress:
        if self.hanging is not None:
            left = max(SOON, self.hanging.until - self._clock.now())
            return OrderInProgress(
                f"order {self.hanging.record.id} waits for the answer to a question", retry_after=left
            )
        return OrderInProgress("another order is being sent", retry_after=SOON)
