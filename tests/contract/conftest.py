"""Two Gateways, one contract: each test here runs against the simulated Gateway and, if there is one, a real one.

A real one is used if CPGW_DIR names the user's own copy of it (`make test-gateway`). Both have the same client in front
and the same market behind. A person has signed in through the login pages, and the Gateway has run its login chain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.gateways import (
    SIMULATED,
    SIMULATED_TICKLE_INTERVAL_S,
    MakeGate,
    certificates,
    kind,
    make_gate,
    make_real,
    sign_in,
)
from tests.contract.real_gateway import REAL_TICKLE_INTERVAL_S
from tests.sim.wire import SILENCE_S, Wire, connect

__all__ = ["certificates", "kind", "make_gate", "make_real"]

REAL_SILENCE_S = 0.6  # seconds in which a Java program has answered, where it answers at all

OpenGate = Callable[..., Awaitable[MarketStage]]
Dial = Callable[..., Awaitable[Wire]]


@pytest.fixture
def tickle_interval_s(kind: str) -> float:
    """Time between two of the Gateway's own tickles."""
    return SIMULATED_TICKLE_INTERVAL_S if kind == SIMULATED else REAL_TICKLE_INTERVAL_S


@pytest.fixture
def silence_s(kind: str) -> float:
    """Without a response for this time, a request counts as never answered."""
    return SILENCE_S if kind == SIMULATED else REAL_SILENCE_S


@pytest.fixture
async def open_gate(make_gate: MakeGate) -> AsyncIterator[OpenGate]:
    """Opens a Gateway with the test's own settings; the calls of the login are removed from the log."""
    async with AsyncExitStack() as doors:

        async def open_one(*, signed_in: bool = True, **options: Any) -> MarketStage:
            gate = await doors.enter_async_context(make_gate(**options))
            if signed_in:
                await sign_in(gate)
            return gate

        yield open_one


@pytest.fixture
async def gate(open_gate: OpenGate) -> MarketStage:
    """A Gateway with default settings; somebody has signed in at it."""
    return await open_gate()


@pytest.fixture
async def dial(gate: MarketStage, silence_s: float) -> AsyncIterator[Dial]:
    """Opens connections; all are cut at the end."""
    wires: list[Wire] = []

    async def open_one(source: str = "127.0.0.1") -> Wire:
        wires.append(await connect(gate, source, silence_s))
        return wires[-1]

    yield open_one
    for wire in wires:
        wire.abort()


@pytest.fixture
async def wire(dial: Dial) -> Wire:
    """One connection."""
    return await dial()
