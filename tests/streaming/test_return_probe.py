"""The probe that notices IBKR's return by its greeting on a new websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.streaming.return_probe import GREETING_TIMEOUT_S, PROBE_INTERVAL_S, ReturnProbe
from tests.clocks import ManualClock
from tests.streaming.test_upstream_feed import FakeSocket

GREETING = {"topic": "system", "success": "simulated"}


class ProbeSetup:
    """A running probe, the websockets that it opens, and the checks that it requests."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sockets: list[FakeSocket] = []
        self.open_count = self.check_count = 0
        self.can_open = True
        self.probe = ReturnProbe(self._open, self, self.clock)

    def _open(self) -> AbstractAsyncContextManager[FakeSocket]:
        @asynccontextmanager
        async def open_socket() -> AsyncIterator[FakeSocket]:
            if not self.can_open:
                raise GatewayUnreachable("nothing listens")
            self.sockets.append(FakeSocket())
            self.open_count += 1
            try:
                yield self.sockets[-1]
            finally:
                self.open_count -= 1

        return open_socket()

    def request_check(self) -> None:
        """See `SessionChecker`."""
        self.check_count += 1

    async def check_now(self) -> object:
        """See `SessionChecker`."""
        raise NotImplementedError

    async def run_until_asleep(self) -> None:
        """Let the probe run until it waits for the clock."""
        async with asyncio.timeout(10.0):
            await self.clock.wait_for_sleepers(1)


@pytest.fixture
async def setup() -> AsyncIterator[ProbeSetup]:
    """A probe whose Gateway has just become silent."""
    setup = ProbeSetup()
    loop = asyncio.create_task(setup.probe.run_loop())
    setup.probe.on_session_change(is_silent=True)
    await setup.run_until_asleep()
    yield setup
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_a_greeting_requests_a_check_at_once(setup: ProbeSetup) -> None:
    """Without any movement of the clock; the websocket is closed."""
    setup.sockets[0].send_from_ibkr(b"garbage", {"topic": "tic"}, GREETING)
    while not setup.check_count:
        await asyncio.sleep(0)
    await setup.run_until_asleep()

    assert (setup.check_count, len(setup.sockets), setup.open_count) == (1, 1, 0)


async def test_a_websocket_without_a_greeting_is_replaced(setup: ProbeSetup) -> None:
    """It stays silent for ever once IBKR refused its connection: only a new one can be greeted."""
    for _ in range(3):
        setup.clock.advance(GREETING_TIMEOUT_S)
        await asyncio.sleep(0)
        while setup.open_count:
            await asyncio.sleep(0)
        await setup.run_until_asleep()
        setup.clock.advance(PROBE_INTERVAL_S)
        while not setup.open_count:
            await asyncio.sleep(0)
        await setup.run_until_asleep()

    assert (len(setup.sockets), setup.open_count, setup.check_count) == (4, 1, 0)


async def test_nothing_is_opened_while_the_gateway_answers(setup: ProbeSetup) -> None:
    """The feed has a websocket of its own then."""
    setup.probe.on_session_change(is_silent=False)
    setup.clock.advance(GREETING_TIMEOUT_S + PROBE_INTERVAL_S)
    for _ in range(50):
        await asyncio.sleep(0)
    setup.clock.advance(3600.0)
    for _ in range(50):
        await asyncio.sleep(0)

    assert (len(setup.sockets), setup.open_count) == (1, 0)


@pytest.mark.parametrize("ending", ["refused", "closed"])
async def test_a_websocket_that_cannot_be_opened_or_ends_is_tried_again(setup: ProbeSetup, ending: str) -> None:
    """A restart of the Gateway does not end the probe."""
    setup.can_open = ending != "refused"
    setup.sockets[0].send_from_ibkr(None)
    for _ in range(20):
        await asyncio.sleep(0)
    setup.clock.advance(PROBE_INTERVAL_S)
    for _ in range(20):
        await asyncio.sleep(0)
    setup.can_open = True
    setup.clock.advance(PROBE_INTERVAL_S)
    while not setup.open_count:
        await asyncio.sleep(0)
    setup.sockets[-1].send_from_ibkr(GREETING)
    while not setup.check_count:
        await asyncio.sleep(0)

    assert setup.check_count == 1
