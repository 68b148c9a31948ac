"""The simulator's tasks, and their end."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.sim.tasks import Tasks
from tests.harness import with_timeout


async def test_work_runs_and_is_waited_for() -> None:
    """Work that it starts meanwhile is waited for too."""
    tasks, steps = Tasks(), list[str]()

    async def second() -> None:
        steps.append("second")

    async def first() -> None:
        tasks.start(second())
        steps.append("first")

    tasks.start(first())
    await with_timeout(tasks.wait_until_idle())

    assert steps == ["first", "second"]


async def test_with_nothing_running_nothing_is_waited_for() -> None:
    """And stopping does nothing."""
    tasks = Tasks()

    await with_timeout(tasks.wait_until_idle())
    await with_timeout(tasks.stop())


async def test_stopping_cancels_tasks_and_waits_for_their_end() -> None:
    """No task is left, however long its cleanup takes."""
    tasks, cleared = Tasks(), list[bool]()

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleared.append(True)

    task = tasks.start(long(), "long")
    await asyncio.sleep(0)
    await with_timeout(tasks.stop())

    assert cleared == [True]
    assert task.cancelled()
    assert task.get_name() == "long"


async def test_a_task_that_starts_during_a_stop_is_stopped_too() -> None:
    """A request may arrive at the last moment."""
    tasks, started = Tasks(), list[asyncio.Task[None]]()

    async def forever() -> None:
        await asyncio.Event().wait()

    async def parting() -> None:
        try:
            await forever()
        finally:
            started.append(tasks.start(forever()))

    tasks.start(parting())
    await asyncio.sleep(0)
    await with_timeout(tasks.stop())

    assert [task.cancelled() for task in started] == [True]


async def test_an_exception_is_raised_once_at_the_end() -> None:
    """A bug in the simulator must not look like a bug of the program under test, and must not be lost."""
    tasks = Tasks()

    async def fail() -> None:
        raise ZeroDivisionError

    tasks.start(fail())
    await with_timeout(tasks.wait_until_idle())

    with pytest.raises(ZeroDivisionError):
        await tasks.stop()
    await tasks.stop()


async def test_a_task_that_calls_stop_does_not_wait_for_itself() -> None:
    """It would wait for ever."""
    tasks = Tasks()

    task = tasks.start(tasks.stop())

    await with_timeout(task)
    assert not task.cancelled()
