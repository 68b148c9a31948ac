"""Runs the loops of one profile under a supervisor of its own: what breaks in one profile stops no other.

The loops of the profile `main` are supervised by the daemon, which ends with them. All other profiles begin again after
a pause that grows, so that one that cannot work costs one timer.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from ibkr_bridge import events
from ibkr_bridge.clock import Clock
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.supervision import Loop, run_until_first_ends

FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 300.0
STABLE_S = 600.0
"""Seconds after which an earlier failure no longer lengthens the next pause."""
WATCH_S = 15.0  # seconds between two looks at the keeper


class KeeperStuck(Exception):
    """The rounds of the keeper are late; the message says how much."""


class ProfileRunner:
    """Runs one profile until it is cancelled.

    Args:
        profile: its state was loaded.
        clock: the time.
        bus: the bus of the bridge.
    """

    def __init__(self, profile: Profile, clock: Clock, bus: events.Bus) -> None:
        self._profile = profile
        self._clock = clock
        self._bus = events.ProfileBus(bus, profile.name)
        self.failures = 0
        """How often in a row the loops ended."""

    def __repr__(self) -> str:
        return f"<ProfileRunner of {self._profile.name}, {self.failures} failures in a row>"

    async def run_loop(self) -> NoReturn:
        """Run all loops; when one ends, begin again after a pause."""
        while True:
            began_at = self._clock.now()
            try:
                await run_until_first_ends(*self._loops())
            except ExceptionGroup as group:
                await self._pause(group.exceptions[0], self._clock.now() - began_at)

    def _loops(self) -> tuple[Loop, ...]:
        return (*self._profile.loops(), self._watch_keeper)

    async def _pause(self, error: Exception, lasted_s: float) -> None:
        self.failures = 1 if lasted_s >= STABLE_S else self.failures + 1
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 12), MAX_PAUSE_S)
        self._bus.publish(
            events.ProfileLoopFailed(type(error).__name__, events.traceback_places(error), self.failures, pause_s)
        )
        await self._clock.wait(asyncio.Event(), pause_s)

    async def _watch_keeper(self) -> NoReturn:
        """End the loops if the keeper is stuck, as the watchdog of systemd does for the profile `main`."""
        while True:
            await self._clock.wait(asyncio.Event(), WATCH_S)
            if (problem := self._profile.keeper.problem()) is not None:
                raise KeeperStuck(problem)
