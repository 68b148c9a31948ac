"""What all callers share: a page or a read-only key cannot keep the app that trades from anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import READONLY_KEY, Harness, Placement, settings_for, with_timeout
from tests.unlimited import UNLIMITED

LIMIT = Placement(extra={"orderType": "LMT", "price": 187.5})  # IBKR asks no question and does not fill it
PREVIEW = "/iserver/account/DU1234567/orders/whatif"


@pytest.fixture
async def bridge(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge with a read-only key and a limit of the value of orders."""
    keys = {"IBKR_BRIDGE_READONLY_KEY": READONLY_KEY, "IBKR_MAX_ORDER_VALUE": "100000", "IBKR_GATEWAY_TIMEOUT": "20"}
    async with Harness(settings_for(sim.url, tmp_path, **keys), options=UNLIMITED) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


async def test_previews_of_a_page_do_not_stop_orders(bridge: Harness, sim: Simulator) -> None:
    """A dozen wait: few of them get a place, and the order goes before those."""
    sim.faults.add("delay", path="/whatif", seconds=0.5)
    previews = [
        asyncio.create_task(bridge.post(PREVIEW, LIMIT.body, key=READONLY_KEY, headers={"X-Bridge-Wait": "30"}))
        for _ in range(12)
    ]
    await with_timeout(sim.wait_for_calls("/whatif"))

    order = await bridge.post(LIMIT.target, LIMIT.body)
    replies = await asyncio.gather(*previews)

    assert order.status == 200
    assert {reply.code for reply in replies if reply.status != 200} == {"busy"}
    assert sum(reply.status == 200 for reply in replies) <= 4


async def test_queued_reads_of_a_read_only_key_do_not_stop_an_order(bridge: Harness, sim: Simulator) -> None:
    """The reads for its value stand with the orders, and a read of the full key still finds a place."""
    sim.faults.add("delay", path="/portfolio/DU7654321/positions/", seconds=0.5)
    reads = [
        asyncio.create_task(
            bridge.get(f"/portfolio/DU7654321/positions/{number}", key=READONLY_KEY, headers={"X-Bridge-Wait": "8"})
        )  # the bridge ends when their waits are over, although their callers have left
        for number in range(140)
    ]
    async with asyncio.timeout(30.0):
        while bridge.bridge.profile.admission.waiting().total() < 96:
            await asyncio.sleep(0.01)  # the queue fills as the requests arrive

    order = await bridge.post(LIMIT.target, Placement(extra={"orderType": "MKT"}).body)
    own_read = asyncio.create_task(bridge.get("/portfolio/DU1234567/ledger", headers={"X-Bridge-Wait": "20"}))
    await asyncio.sleep(0)
    for task in reads:
        task.cancel()
    await asyncio.gather(*reads, return_exceptions=True)

    assert order.status == 200
    assert (await with_timeout(own_read)).status == 200
