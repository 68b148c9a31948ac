"""A simulated api.ibkr.com with one user, and this user's program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from ibkr_bridge.sim.api_host import ApiHost, Registration
from tests.clocks import ManualClock
from tests.sim.api_host.direct_client import DirectClient

Connect = Callable[[Registration], DirectClient]


@pytest.fixture
async def host(clock: ManualClock) -> AsyncIterator[ApiHost]:
    async with ApiHost(clock=clock) as host:
        yield host


@pytest.fixture
async def connect(host: ApiHost, clock: ManualClock) -> AsyncIterator[Connect]:
    """Makes a program for a registration."""
    async with aiohttp.ClientSession() as session:
        yield lambda registration: DirectClient(host, registration, session, clock)


@pytest.fixture
def anna(host: ApiHost, connect: Connect) -> DirectClient:
    """The program of a user named anna, not signed in yet."""
    return connect(host.register("anna"))
