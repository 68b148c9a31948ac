"""Owns the profiles of one bridge: builds them, runs them, and closes them, while the others go on.

The profile `main` is built first and stays. The daemon runs its loops; each other profile has a runner of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from ibkr_bridge import events
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.profile_files import ProfileProblem, check_unique
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.profiles.runner import ProfileRunner

ORDERS_TIMEOUT_S = 35.0  # an order has a deadline of 30 s; after that it is unknown, and the next start searches for it
LOOK_S = 0.05
Build = Callable[[Settings], Profile]


class ProfileManager:
    """The profiles that run.

    Args:
        main: the settings of the profile `main`.
        build: builds a profile of its settings.
        clock: the time.
        bus: the bus of the bridge.
    """

    def __init__(self, main: Settings, build: Build, clock: Clock, bus: events.Bus) -> None:
        self._build = build
        self._clock = clock
        self._bus = bus
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()
        self.registry = ProfileRegistry((build(main),))
        self.refused: tuple[ProfileProblem, ...] = ()
        """The profiles of the files that cannot be used."""
        self.on_added: events.Subscribers[Profile] = events.Subscribers("profiles", bus)
        self.on_removed: events.Subscribers[Profile] = events.Subscribers("profiles", bus)

    def __repr__(self) -> str:
        return f"<ProfileManager {len(self.registry)} profiles>"

    @property
    def main(self) -> Profile:
        """The profile that the environment describes."""
        return self.registry.default

    async def start(self, others: Iterable[Settings]) -> None:
        """Load the profile `main`, then add the others."""
        self.on_added.notify(self.main)
        await self.main.load()
        for settings in others:
            await self.add(settings)

    async def add(self, settings: Settings) -> Profile:
        """Build a profile and run it.

        Raises:
            ValueError: the name is in use.
            OSError: a file of its settings cannot be read.
        """
        async with self._lock:
            profile = self._build(settings)
            self.registry.add(profile)
            self.on_added.notify(profile)
            await profile.load()
            runner = ProfileRunner(profile, self._clock, self._bus)
            task = asyncio.create_task(runner.run_loop(), name=f"profile {profile.name}")  # outlives the request
            self._tasks[profile.name] = task
        self._bus.publish(events.ProfileAdded(settings.road.value, settings.trading_mode.value, profile=profile.name))
        return profile

    async def remove(self, name: str) -> Profile:
        """End a profile: its requests are refused, its streams end, and its loops stop. Its journal stays on the disk.

        Raises:
            ProfileNotFound: there is none, or it is `main`.
        """
        async with self._lock:
            profile = self.registry.remove(name)
            await self._wait_for_orders(profile)
            self.on_removed.notify(profile)
            await self._stop(profile)
        self._bus.publish(events.ProfileRemoved(profile=name))
        return profile

    def check_unique(self, settings: Settings) -> None:
        """Check that a profile would get in no other's way.

        Raises:
            SettingsError: it would.
        """
        check_unique(settings, [profile.settings for profile in self.registry])

    async def replace(self, settings: Settings) -> Profile:
        """Build a profile anew, since its settings or its credential have changed."""
        await self.remove(settings.profile)
        return await self.add(settings)

    async def close(self) -> None:
        """End all profiles."""
        for profile in self.registry:
            await self._stop(profile)

    async def _wait_for_orders(self, profile: Profile) -> None:
        """Wait for orders that are on their way: their responses still have to be written into the journal."""
        ends_at = self._clock.now() + ORDERS_TIMEOUT_S
        while profile.orders.status().orders.get(OrderState.SENDING.value, 0) and self._clock.now() < ends_at:
            await self._clock.wait(asyncio.Event(), LOOK_S)

    async def _stop(self, profile: Profile) -> None:
        profile.streaming.hub.close_all("shutting_down")
        task = self._tasks.pop(profile.name, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, ExceptionGroup):
                await task
        await profile.close()
