"""Quotes that are whole: a snapshot is asked again until the fields are there that were asked for.

IBKR's first answer for an instrument only opens its stream and has no field in it; computed ones come later still, some
never. So a caller waits once, four seconds at most, and is told what is missing; what did not come is not waited for
again for a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from ibkr_bridge.calls.messages import Answer, Call, let_go
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayTrouble, NotNow
from ibkr_bridge.quirks.snapshot_fields import Look, look

MISSING = "X-Bridge-Missing"
WITHIN = 4.0  # seconds
FIRST_PAUSE, PAUSE = 0.3, 0.5  # seconds; IBKR itself brings new quotes every half second
NOT_AGAIN_FOR = 60.0  # seconds
MOST_KEPT = 20_000  # fields that never came

Again = Callable[[], Awaitable[Answer]]
"""Asks once more."""
Help = Callable[[list[str]], Awaitable[None]]
"""Is told of instruments that still have nothing at all at the second look."""


class Snapshots:
    """Fills the snapshots of one line.

    Args:
        clock: time, for the pauses between two looks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._given_up: dict[tuple[str, str], float] = {}

    def __repr__(self) -> str:
        return f"<Snapshots {len(self._given_up)} fields given up>"

    def forget(self) -> None:
        """Another session may have what this one had not."""
        self._given_up.clear()

    async def fill(self, call: Call, answer: Answer, again: Again, help_out: Help) -> Answer:
        """The first answer that has all fields, else the last one, with a note of what is missing.

        Args:
            answer: IBKR's first.
        """
        seen, until, pause = look(call, answer), self._clock.now() + WITHIN, FIRST_PAUSE
        while seen is not None and self._is_awaited(seen) and self._clock.now() + pause <= until:
            await self._clock.wait(asyncio.Event(), pause)
            later = await _tried(again)
            later_seen = look(call, later) if later is not None else None
            if later is None or later_seen is None:
                let_go(later)
                return _noted(answer, seen)
            if pause == FIRST_PAUSE and later_seen.empty:
                with suppress(NotNow, GatewayTrouble):  # what is missing is told all the same
                    await help_out(later_seen.empty)
            answer, seen, pause = later, later_seen, PAUSE
        if seen is not None:
            self._give_up(seen)
        return _noted(answer, seen)

    def _is_awaited(self, seen: Look) -> bool:
        now = self._clock.now()
        return any(self._given_up.get(one, now) <= now for one in _each(seen))

    def _give_up(self, seen: Look) -> None:
        if len(self._given_up) > MOST_KEPT:
            self._given_up.clear()
        now = self._clock.now()
        fresh = [one for one in _each(seen) if self._given_up.get(one, now) <= now]
        self._given_up.update(dict.fromkeys(fresh, now + NOT_AGAIN_FOR))


def _each(seen: Look) -> list[tuple[str, str]]:
    return [(conid, field) for conid, fields in seen.missing.items() for field in fields]


def _noted(answer: Answer, seen: Look | None) -> Answer:
    return replace(answer, notes={MISSING: seen.note}) if seen is not None and seen.missing else answer


async def _tried(again: Again) -> Answer | None:
    """What came of it; None where it could not be asked now: there is an answer already, if a thin one."""
    try:
        return await again()
    except (NotNow, GatewayTrouble):
        return None
