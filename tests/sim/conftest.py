"""A simulator, connections to it, and its clock, which a test moves by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ibkr_bridge.sim import Simulator
from tests.clocks import ManualClock
from tests.sim.wire import Wire, connect

Dial = Callable[..., Awaitable[Wire]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sim(clock: ManualClock) -> AsyncIterator[Simulator]:
    """A simulator at which somebody is signed in; its time stands still."""
    async with Simulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
async def dial(sim: Simulator) -> AsyncIterator[Dial]:
    """Opens connections; all are cut at the end."""
    wires: list[Wire] = []

    async def open_one(source: str = "127.0.0.1") -> Wire:
        wires.append(await connect(sim, source))
        return wires[-1]

    yield open_one
    for wire in wires:
        wire.abort()


@pytest.fixture
async def wire(dial: Dial) -> Wire:
    """One connection."""
    return await dial()
