"""Clients of the stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.stream import Stream
from tests.contract.sockets import Socket
from tests.sim.conftest import Dial
from tests.sim.market.stream_client import StreamClient

Listen = Callable[[], Awaitable[StreamClient]]


@pytest.fixture
def listen(dial: Dial) -> Listen:
    """Opens sockets, and reads the greeting of each."""

    async def open_one() -> StreamClient:
        return await StreamClient(Socket(await dial())).open()

    return open_one


@pytest.fixture
async def client(listen: Listen) -> StreamClient:
    """One client of the stream, which was greeted."""
    return await listen()


@pytest.fixture
def stream(sim: Simulator) -> Stream:
    """IBKR's end of all sockets."""
    return sim.market.stream
