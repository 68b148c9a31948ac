"""The history while the bridge runs: what is recorded, over restarts and with a disk that fails."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.conditions.condition import Condition, Found, write_condition
from ibkr_bridge.events import Bus, StateUnavailable
from ibkr_bridge.history.recorder import MAX_QUEUED, HistoryRecorder
from ibkr_bridge.history.store import HistoryStore
from tests.clocks import NOON, ManualClock
from tests.harness import with_timeout

OUT, STARTING, UNREACHABLE = "signed_out", "starting", "gateway_unreachable"
MINUTE = timedelta(minutes=1)
Recorders = Callable[[], HistoryRecorder]


@pytest.fixture
def clock() -> ManualClock:
    """Time that the test moves."""
    return ManualClock()


@pytest.fixture
def new_recorder(tmp_path: Path, clock: ManualClock, bus: Bus) -> Recorders:
    """Makes the recorder of each run of the bridge, on the same file."""
    return lambda: HistoryRecorder(tmp_path / "bridge.history.db", clock, bus)


def present(clock: ManualClock, *names: str) -> tuple[Condition, ...]:
    """Conditions of the profile that hold now."""
    return tuple(write_condition(Found(name), "main", clock.utc(), None) for name in names)


async def recorded(recorder: HistoryRecorder) -> list[tuple[str, bool]]:
    """The ids of all conditions, and whether they have ended."""
    past = await recorder.read("main", NOON - MINUTE)
    return [(each.id, each.ended is not None) for each in past.conditions]


async def test_conditions_are_recorded_as_they_come_and_go(new_recorder: Recorders, clock: ManualClock) -> None:
    """Also one that came and went before anything was written."""
    recorder = new_recorder()
    await recorder.read("main", NOON)  # the file is read once
    recorder.on_conditions(present(clock, OUT))
    recorder.on_conditions(())
    recorder.on_conditions(present(clock, UNREACHABLE))

    assert await recorded(recorder) == [(OUT, True), (UNREACHABLE, False)]
    await recorder.close()


async def test_a_condition_that_holds_after_a_restart_goes_on(new_recorder: Recorders, clock: ManualClock) -> None:
    """One that does not is ended as soon as the session has been checked; `starting` ends with its process."""
    first = new_recorder()
    first.on_conditions(present(clock, OUT, UNREACHABLE))
    await first.close()
    second = new_recorder()
    second.on_conditions(present(clock, STARTING))
    in_between = await recorded(second)
    second.on_conditions(present(clock, OUT))
    later = await recorded(second)
    changes, latest = await second.changes("main", 0, 10)
    await second.close()

    assert sorted(in_between) == [(UNREACHABLE, False), (OUT, False), (STARTING, False)]
    assert sorted(later) == [(UNREACHABLE, True), (OUT, False), (STARTING, True)]
    assert [each.id for each in changes].count(OUT) == 1
    assert latest == max(each.revision for each in changes)


async def test_conditions_of_the_process_end_with_it(new_recorder: Recorders, clock: ManualClock) -> None:
    """A bridge that stopped is not shutting down until it starts again."""
    recorder = new_recorder()
    recorder.on_conditions(present(clock, OUT, "shutting_down"))
    await recorder.read("main", NOON)
    await recorder.close()

    again = new_recorder()
    assert sorted(await recorded(again)) == [("shutting_down", True), (OUT, False)]
    await again.close()


async def test_states_follow_each_other_and_the_last_one_lasts_until_now(
    new_recorder: Recorders, clock: ManualClock
) -> None:
    """The same state twice is one span."""
    recorder = new_recorder()
    for state in ("starting", "ready", "ready", "silent"):
        recorder.on_state("main", state)
        clock.advance(60.0)

    past = await recorder.read("main", NOON)

    assert [(each.state, each.ended - each.began) for each in past.spans] == [
        ("starting", MINUTE),
        ("ready", 2 * MINUTE),
        ("silent", MINUTE),
    ]
    await recorder.close()


@asynccontextmanager
async def running(recorder: HistoryRecorder) -> AsyncIterator[None]:
    """Its loop runs."""
    task = asyncio.create_task(recorder.run_loop())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_bridge_that_is_killed_is_known_to_have_run_until_its_last_minute(
    new_recorder: Recorders, clock: ManualClock
) -> None:
    """Nobody closes its file."""
    killed = new_recorder()
    async with running(killed):
        killed.on_state("main", "ready")
        for _ in range(3):
            await with_timeout(clock.wait_for_sleepers(1))
            clock.advance(60.0)
        await with_timeout(clock.wait_for_sleepers(1))
    clock.advance(3600.0)

    again = new_recorder()
    again.on_state("main", "starting")
    (first, second) = (await again.read("main", NOON)).spans

    assert first.ended - first.began >= 2 * MINUTE
    assert second.began - first.ended >= 60 * MINUTE
    await again.close()


class BrokenDisk:
    """Makes the store fail as a full disk does, until it is repaired."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_broken = True
        original = HistoryStore.begin_condition

        def begin(store: HistoryStore, record: Any) -> None:
            if self.is_broken:
                raise sqlite3.OperationalError("database or disk is full")
            original(store, record)

        monkeypatch.setattr(HistoryStore, "begin_condition", begin)


async def test_a_full_disk_loses_nothing_and_is_reported_once(
    new_recorder: Recorders, clock: ManualClock, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written is written when there is room."""
    seen: list[object] = []
    bus.subscribe(seen.append)
    disk, recorder = BrokenDisk(monkeypatch), new_recorder()
    recorder.on_conditions(present(clock, OUT))
    assert await recorded(recorder) == []
    recorder.on_conditions(())
    broken = await recorder.read("main", NOON)
    disk.is_broken = False

    assert await recorded(recorder) == [(OUT, True)]
    assert broken.problem == "database or disk is full"
    assert (await recorder.read("main", NOON)).problem is None
    assert len([each for each in seen if isinstance(each, StateUnavailable)]) == 1
    await recorder.close()


async def test_memory_is_bounded_while_the_disk_fails(
    new_recorder: Recorders, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest changes are the ones that are left."""
    disk, recorder = BrokenDisk(monkeypatch), new_recorder()
    await recorder.read("main", NOON)
    for _ in range(MAX_QUEUED):
        recorder.on_conditions(present(clock, OUT))
        recorder.on_conditions(())
    disk.is_broken = False

    assert len(await recorded(recorder)) == MAX_QUEUED // 2
    await recorder.close()


async def test_a_bridge_without_a_state_directory_has_a_history_in_memory(clock: ManualClock, bus: Bus) -> None:
    """It ends with the process."""
    recorder = HistoryRecorder(None, clock, bus)
    recorder.on_conditions(present(clock, OUT))

    assert await recorded(recorder) == [(OUT, False)]
    await recorder.close()
