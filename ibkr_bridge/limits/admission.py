"""Waits in the room before the Gateway: a call gets its turn, or a word on how long that would take.

The rules are `room.py`'s; here are the futures, the clock and the loop that lets people in when time alone does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import Busy, GatewayGarbled, Paced
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.limits.admission_queue import TRY_AGAIN, Guest, Importance, Limits, Room

NEARLY = 1.05  # times as long: nobody who would wait five seconds is sent away for a call every five seconds
Expects = Callable[[float], None]


def ignore(_: float) -> None:
    """For those who do not want to know."""


def no_second_call() -> GatewayGarbled:
    """What its caller is told where a call broke off and its windows are full."""
    return GatewayGarbled("the Gateway broke off before it answered, and IBKR's limits allow no second call now")


class Turn:
    """A call's stay inside: held from the moment it may go until the Gateway no longer works on it."""

    def __init__(self, turns: Turns, guest: Guest) -> None:
        self._turns = turns
        self._guest = guest
        self._over = False
        self.sent = False
        """Whether its bytes may have left, so that IBKR may have counted it."""

    def again(self) -> bool:
        """It has to be sent once more: whether that is allowed now; it is counted twice then."""
        return self._turns.again(self._guest)

    def left(self) -> None:
        """The Gateway no longer works on it; said again, it does no harm."""
        if not self._over:
            self._over = True
            self._turns.left(self._guest, sent=self.sent)


class Turns:
    """Hands out turns for one Gateway.

    Args:
        limits: how much is asked at most.
        clock: time, as windows are told it.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._room = Room(limits)
        self._clock = clock
        self._waiting: dict[Guest, asyncio.Event] = {}
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Turns of {self._room}>"

    @property
    def taken(self) -> int:
        """Calls of ours inside the Gateway, ghosts included."""
        return self._room.taken

    @property
    def used(self) -> int:
        """How much of the budget for everything is spent in this second."""
        return self._room.used(self._clock.now())

    def waiting(self) -> Counter[Importance]:
        """How many wait, by importance."""
        return self._room.waiting()

    async def take(
        self,
        row: Endpoint,
        importance: Importance,
        key: str,
        wait: float,
        expects: Expects = ignore,
        is_there: Callable[[], bool] = lambda: True,
    ) -> Turn:
        """Wait for a turn, at most `wait` seconds; whoever is cancelled meanwhile is forgotten.

        Args:
            expects: is told how long it will probably take, where it does not come at once.
            is_there: whether anybody still waits; a turn is given to nobody else.

        Raises:
            Paced: IBKR's limits make it longer; `retry_after` says how long.
            Busy: too many wait already, or the Gateway's places stayed taken.
        """
        guest = Guest(row, importance, key, is_there)
        if not self._room.enter_at_once(guest, self._clock.now()):
            self._room.arrive(guest)
            self._let_in()
            if not guest.entered:
                await self._wait(guest, wait, expects)
        return Turn(self, guest)

    async def _wait(self, guest: Guest, wait: float, expects: Expects) -> None:
        wait *= NEARLY
        expects(self._refuse_if_too_long(guest, wait))
        turn = self._waiting[guest] = asyncio.Event()
        self._changed.set()
        try:
            await self._clock.wait(turn, wait)
        except asyncio.CancelledError:
            self._leave(guest)
            raise
        finally:
            del self._waiting[guest]
        if not guest.entered:
            self._room.forget(guest)
            self._refuse_if_too_long(guest, 0.0)
            raise Busy("no place at the Gateway became free in time", retry_after=TRY_AGAIN)

    def _refuse_if_too_long(self, guest: Guest, wait: float) -> float:
        expected = self._room.wait(guest, self._clock.now())
        if expected > wait:
            self._room.forget(guest)
            raise Paced("IBKR takes this call only so often", retry_after=expected)
        return expected

    def _leave(self, guest: Guest) -> None:
        """Stop waiting; a turn that came in that very moment goes on to the next."""
        if not self._room.forget(guest):
            self.left(guest, sent=False)

    def occupy(self, row: Endpoint, seconds: float) -> None:
        """A row was asked before we were here; its limit is spent for so long."""
        self._room.occupy(row, self._clock.now() + seconds)

    def beside(self, row: Endpoint) -> Callable[[], None] | None:
        """Count a call that takes no place and waits for none; None where its row must not be asked now.

        Returns:
            What is to be called when it has been answered.
        """
        guest = self._room.beside(row, self._clock.now())
        return (lambda: self._room.answered(guest, self._clock.now())) if guest else None

    def again(self, guest: Guest) -> bool:
        """See `Turn.again`."""
        return self._room.again(guest, self._clock.now())

    def left(self, guest: Guest, *, sent: bool) -> None:
        """See `Turn.left`."""
        self._room.leave(guest, self._clock.now(), sent=sent)
        if self._waiting:
            self._let_in()
            self._changed.set()

    def _let_in(self) -> None:
        now = self._clock.now()
        while guest := self._room.next(now):
            if turn := self._waiting.get(guest):
                turn.set()

    async def keep(self) -> NoReturn:
        """Let in whom time alone lets in, for ever."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            at = self._room.next_change(now) if self._waiting else None
            if at is None:
                await self._changed.wait()
            else:
                await self._clock.wait(self._changed, max(0.0, at - now))
            self._let_in()
