"""What IBKR's front refuses before anybody looks at a signature."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import aiohttp
import pytest

from ibkr_bridge.sim.api_host import ApiHost
from ibkr_bridge.sim.market.pacing import PENALTY_S
from ibkr_bridge.sim.market.sessions import NEW_YORK
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import API, DirectClient


@pytest.fixture
async def paced(clock: ManualClock) -> AsyncIterator[ApiHost]:
    async with ApiHost(clock=clock, pacing=True) as host:
        yield host


async def test_a_call_without_an_agent_gets_a_page(anna: DirectClient) -> None:
    async with aiohttp.ClientSession(skip_auto_headers={"User-Agent"}) as session:
        anna.session, anna.headers = session, {}
        reply = await anna.sign_in()
    assert reply.status == 403
    assert "Reference&#32;&#35;" in reply.text
    assert anna.host.calls()[-1].header("User-Agent") is None


async def test_a_post_without_a_length_is_refused(host: ApiHost) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
    writer.write(f"POST {API}/tickle HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] == b"411"
    writer.close()


async def test_a_blocked_address_gets_a_page(host: ApiHost, anna: DirectClient) -> None:
    await anna.sign_in()
    host.front.blocked.add("127.0.0.1")
    assert (await anna.call("GET", "/portfolio/accounts")).status == 403
    host.front.forgive()
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200


async def test_limits_are_counted_by_username(paced: ApiHost, clock: ManualClock) -> None:
    async with aiohttp.ClientSession() as session:
        anna = DirectClient(paced, paced.register("anna"), session, clock)
        ben = DirectClient(paced, paced.register("ben"), session, clock)
        for client in (anna, ben):
            await client.sign_in()
            assert (await client.call("GET", "/portfolio/accounts")).status == 200
        assert (await anna.call("GET", "/portfolio/accounts")).status == 429
        clock.advance(6)
        assert (await anna.call("GET", "/portfolio/accounts")).status == 200


async def test_a_penalty_hits_all_users_of_an_address_and_no_other_address(paced: ApiHost, clock: ManualClock) -> None:
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession() as session, aiohttp.ClientSession(connector=elsewhere) as far:
        anna = DirectClient(paced, paced.register("anna"), session, clock)
        ben = DirectClient(paced, paced.register("ben"), session, clock)
        await anna.sign_in()
        await ben.sign_in()
        statuses = [(await anna.call("GET", "/iserver/auth/status")).status for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        assert (await ben.call("GET", "/portfolio/accounts")).status == 429
        assert (await ben.sign_in()).status == 429
        ben.session = far
        assert (await ben.call("GET", "/portfolio/accounts")).status == 200
        ben.session = session
        clock.advance(PENALTY_S)
        assert (await ben.call("GET", "/portfolio/accounts")).status == 200


async def test_a_host_may_allow_fifty_calls_a_second(paced: ApiHost, clock: ManualClock) -> None:
    paced.rules.calls_per_second = 50
    async with aiohttp.ClientSession() as session:
        anna = DirectClient(paced, paced.register("anna"), session, clock)
        await anna.sign_in()
        statuses = [(await anna.call("GET", "/iserver/auth/status")).status for _ in range(51)]
    assert statuses == [200] * 50 + [429]


async def test_an_address_can_be_punished_for_nothing(host: ApiHost, connect: Connect, clock: ManualClock) -> None:
    anna = connect(host.register("anna"))
    host.front.punish("127.0.0.1", clock.now() + 60)
    assert (await anna.sign_in()).status == 429
    clock.advance(60)
    assert (await anna.sign_in()).status == 200


@pytest.mark.parametrize(("day", "hour", "status"), [(20, 17, 200), (20, 18, 503), (20, 23, 503), (21, 0, 200)])
async def test_saturday_evening_is_for_maintenance(day: int, hour: int, status: int) -> None:
    clock = ManualClock(datetime(2026, 6, day, hour, tzinfo=NEW_YORK))
    async with ApiHost(clock=clock) as host, aiohttp.ClientSession() as session:
        host.rules.has_saturday_window = True
        assert (await DirectClient(host, host.register("anna"), session, clock).sign_in()).status == status
