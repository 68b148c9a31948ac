"""The Gateway's port: what becomes of a connection while the Gateway stops, closes its port or opens it again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.tasks import Tasks
from tests.harness import within
from tests.sim.wire import connect


async def test_a_connection_accepted_in_the_moment_of_a_stop_is_closed(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop may cancel the task of a connection before the task has made its first step."""
    start_task = Tasks.start

    def start_cancelled(tasks: Tasks, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        task = start_task(tasks, work, name)
        if name == "gateway client":
            task.cancel()
        return task

    monkeypatch.setattr(Tasks, "start", start_cancelled)

    wire = await connect(sim)

    assert await within(wire.rest()) == b""
    wire.drop()
