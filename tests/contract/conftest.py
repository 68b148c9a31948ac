"""Two Gateways, one contract: each test here is run against the simulated Gateway and, where there is one, a real one.

A real one is used when CPGW_DIR names the user's own copy of it (`make test-gateway`). In front of both stands the same
client, behind both the same market; a person has signed in through the login pages, and the Gateway has done its part.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.stage import Stage
from tests.contract.real import TICKLE_EVERY, Papers, RealGateway, lacking
from tests.house import within
from tests.sim.wire import MOMENT, Wire, connect

SIMULATED, REAL = "simulated", "real"
FAST = 0.5  # seconds between two tickles of the simulated Gateway; the real one's cannot be hurried
LONGER = 0.6  # seconds in which a Java program has answered, where it answers at all
ADDRESSES = (f"127.77.{high}.{low}" for high, low in itertools.product(range(256), range(1, 255)))

OpenGate = Callable[..., Awaitable[Stage]]
Dial = Callable[..., Awaitable[Wire]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each Gateway there is."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", (SIMULATED, REAL) if os.environ.get("CPGW_DIR") else (SIMULATED,))


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Of the market behind the real Gateway."""
    return Papers.made(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def make_gate(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Stage]:
    """A Gateway of the kind in question, not yet started."""
    if kind == SIMULATED:
        return lambda **told: Simulator(**{"logged_in": False, "auth_delay": 0.2, "tickle_every": FAST, **told})
    source = os.environ.get("CPGW_DIR")
    if why := lacking(source):
        pytest.fail(why)
    papers = request.getfixturevalue("papers")
    return lambda **told: RealGateway(
        Path(str(source)), tmp_path_factory.mktemp("gateway"), papers, next(ADDRESSES), **told
    )


@pytest.fixture
def tickle_every(kind: str) -> float:
    """Seconds between two tickles of the Gateway's own."""
    return FAST if kind == SIMULATED else TICKLE_EVERY


@pytest.fixture
def moment(kind: str) -> float:
    """Seconds after which silence is taken for silence."""
    return MOMENT if kind == SIMULATED else LONGER


@pytest.fixture
async def open_gate(make_gate: Callable[..., Stage]) -> AsyncIterator[OpenGate]:
    """Opens a Gateway with settings of the test's own; what the login took is forgotten."""
    async with AsyncExitStack() as doors:

        async def opened(*, signed_in: bool = True, **told: Any) -> Stage:
            gate = await doors.enter_async_context(make_gate(**told))
            if signed_in:
                await sign_in(gate)
            return gate

        yield opened


async def sign_in(gate: Stage) -> None:
    """Sign in through the login pages, and wait until the Gateway has done its own part."""
    gate.market.log.forget()
    await gate.browser_login()
    await within(gate.arrived("/iserver/accounts"))
    gate.market.log.forget()


@pytest.fixture
async def gate(open_gate: OpenGate) -> Stage:
    """A Gateway as most have it."""
    return await open_gate()


@pytest.fixture
async def dial(gate: Stage, moment: float) -> AsyncIterator[Dial]:
    """Open as many connections as wished; all are dropped in the end."""
    wires: list[Wire] = []

    async def open_one(source: str = "127.0.0.1") -> Wire:
        wires.append(await connect(gate, source, moment))
        return wires[-1]

    yield open_one
    for wire in wires:
        wire.drop()


@pytest.fixture
async def wire(dial: Dial) -> Wire:
    """One connection."""
    return await dial()
