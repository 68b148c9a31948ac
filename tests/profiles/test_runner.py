"""The supervisor of one profile: it begins again after a pause that grows, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from ibkr_bridge.events import Bus, Event, ProfileLoopFailed
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.runner import MAX_PAUSE_S, STABLE_S, WATCH_S, ProfileRunner
from tests.clocks import ManualClock
from tests.harness import with_timeout


class Loops:
    """A profile with one loop, which ends when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.began = asyncio.Event()
        self.end = asyncio.Event()
        self.problem: str | None = None
        keeper = SimpleNamespace(problem=lambda: self.problem)
        self.profile = cast(Profile, SimpleNamespace(name="anna", loops=lambda: (self.run,), keeper=keeper))

    async def run(self) -> NoReturn:
        """Wait for the end, then fail."""
        self.begun += 1
        self.began.set()
        await self.end.wait()
        raise RuntimeError("a secret must not be shown")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def published() -> list[Event]:
    return []


@pytest.fixture
async def loops() -> Loops:
    return Loops()


@pytest.fixture
async def runner(loops: Loops, clock: ManualClock, published: list[Event]) -> AsyncIterator[ProfileRunner]:
    """A runner whose loop has begun."""
    bus = Bus()
    bus.subscribe(published.append)
    made = ProfileRunner(loops.profile, clock, bus)
    task = asyncio.create_task(made.run_loop())
    await with_timeout(loops.began.wait())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def turns() -> None:
    """Let every task do what it can do now."""
    for _ in range(50):
        await asyncio.sleep(0)


async def fail(loops: Loops, clock: ManualClock, wait_s: float) -> None:
    """Let the loop end, and move the clock to its next beginning."""
    loops.began.clear()
    loops.end.set()
    await turns()
    loops.end.clear()
    assert not loops.began.is_set()
    clock.advance(wait_s)
    await with_timeout(loops.began.wait())


async def test_it_begins_again_after_a_growing_pause(
    runner: ProfileRunner, loops: Loops, clock: ManualClock, published: list[Event]
) -> None:
    """One that cannot work costs one timer, and its message shows no text of an exception."""
    for wait_s in (1.0, 2.0, 4.0):
        await fail(loops, clock, wait_s)

    failures = [cast(Any, each) for each in published if isinstance(each, ProfileLoopFailed)]
    assert [(each.failures, each.wait_s, each.profile) for each in failures] == [
        (1, 1.0, "anna"),
        (2, 2.0, "anna"),
        (3, 4.0, "anna"),
    ]
    assert loops.begun == 4
    assert "secret" not in repr(failures)


async def test_after_a_quiet_time_the_pause_is_short_again(
    runner: ProfileRunner, loops: Loops, clock: ManualClock
) -> None:
    """A failure once a day is no reason to wait minutes."""
    for wait_s in (1.0, 2.0):
        await fail(loops, clock, wait_s)
    await turns()
    clock.advance(STABLE_S)
    await fail(loops, clock, 1.0)

    assert runner.failures == 1


async def test_the_pause_has_a_limit(runner: ProfileRunner, loops: Loops, clock: ManualClock) -> None:
    """A repaired profile works within minutes."""
    for number in range(12):
        await fail(loops, clock, min(2.0**number, MAX_PAUSE_S))

    assert runner.failures == 12


async def test_a_stuck_keeper_begins_anew(
    runner: ProfileRunner, loops: Loops, clock: ManualClock, published: list[Event]
) -> None:
    """For the profile `main` the watchdog of systemd does that."""
    loops.began.clear()
    loops.problem = "the keeper is 60 s late"
    clock.advance(WATCH_S)
    await turns()
    loops.problem = None
    clock.advance(1.0)
    await with_timeout(loops.began.wait())

    assert [each.error for each in published if isinstance(each, ProfileLoopFailed)] == ["KeeperStuck"]
