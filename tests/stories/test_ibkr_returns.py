"""IBKR cannot be reached for a while, in three ways. When it is back, reads, orders and cancels work again at once.

The Gateway never answers a call whose connection IBKR refused or reset, and frees its slot; a silent IBKR keeps the
slot. The bridge cannot tell the cases apart by the call itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from tests.harness import Harness, Placement, Reply, settings_for

READS = ("/portfolio/DU1234567/ledger", "/portfolio/DU1234567/meta", "/iserver/account/orders", "/portfolio/accounts")
ORDER = Placement(extra={"orderType": "LMT", "price": 187.5})  # IBKR asks no question and does not fill it
ANOTHER_ORDER = Placement(quantity=2, extra=ORDER.extra)
Outage = Callable[[MarketStage, float], Coroutine[object, object, None]]


async def refuse(sim: MarketStage, seconds: float) -> None:
    """IBKR's address refuses connections, and present ones end."""
    await sim.disconnect_ibkr()
    await asyncio.sleep(seconds)  # the outage itself
    await sim.reconnect_ibkr()


async def reset(sim: MarketStage, seconds: float) -> None:
    """IBKR resets every connection."""
    sim.faults.add("reset", own=True)
    sim.faults.add("stream-cut")
    await asyncio.sleep(seconds)
    sim.faults.clear()


async def silence(sim: MarketStage, seconds: float) -> None:
    """IBKR accepts connections and does not answer; in the end it drops them."""
    sim.faults.add("silence", own=True, seconds=seconds)
    sim.faults.add("stream-silent")
    await asyncio.sleep(seconds)
    sim.faults.clear()


async def call_during(harness: Harness, outage: asyncio.Task[None]) -> None:
    """Callers go on while IBKR is away: reads that hang, and reads that are refused."""
    while not outage.done():
        await asyncio.gather(*(harness.get(path) for path in READS))
        await asyncio.sleep(0.2)  # a caller's own pause, so that refusals do not fill the log


async def repeat_until_200(call: Callable[[], Awaitable[Reply]]) -> Reply:
    """Repeat a call as a patient caller does."""
    while (reply := await call()).status != 200:
        await asyncio.sleep(0.1)
    return reply


@pytest.mark.parametrize(
    ("outage", "seconds"),
    [
        (refuse, 7.0),
        (silence, 7.0),
        pytest.param(reset, 7.0, marks=pytest.mark.slow),  # the bridge cannot tell it from `refuse`
        *(pytest.param(outage, 20.0, marks=pytest.mark.slow) for outage in (refuse, reset, silence)),
    ],
)
async def test_service_is_back_with_ibkr(sim: MarketStage, tmp_path: Path, outage: Outage, seconds: float) -> None:
    """Long before the 120 s after which a ghost call is forgotten."""
    async with Harness(settings_for(sim.url, tmp_path, IBKR_GATEWAY_TIMEOUT="3")) as harness:
        await harness.wait_until(SessionState.READY)
        placed = await harness.post(ORDER.target, ORDER.body)
        away: asyncio.Task[None] = asyncio.create_task(outage(sim, seconds))
        loop, returned_at = asyncio.get_running_loop(), list[float]()
        away.add_done_callback(lambda _: returned_at.append(loop.time()))
        await call_during(harness, away)

        async with asyncio.timeout(30.0):
            await harness.wait_until(SessionState.READY)
            reads = [await repeat_until_200(lambda path=path: harness.get(path)) for path in READS]  # type: ignore[misc]
            order = await repeat_until_200(
                lambda: harness.post(ORDER.target, Placement(quantity=2, extra=ORDER.extra).body)
            )
            cancel = await harness.request("DELETE", f"/iserver/account/DU1234567/order/{placed.json[0]['order_id']}")
        print(f"{outage.__name__}: all of it done {loop.time() - returned_at[0]:.1f} s after IBKR's return")

    assert [reply.status for reply in (*reads, order, cancel)] == [200] * 6


@pytest.mark.slow
async def test_a_short_outage_ends_for_callers_before_the_calls_it_lost_time_out(
    sim: MarketStage, tmp_path: Path
) -> None:
    """The lost reads hold all slots of the reads for the whole timeout, and an identical read must not join one."""
    async with Harness(settings_for(sim.url, tmp_path, IBKR_GATEWAY_TIMEOUT="10")) as harness:
        await harness.wait_until(SessionState.READY)
        lost_paths = READS[:2] + READS[3:]
        sim.faults.add("reset", path="/portfolio/", times=len(lost_paths))
        lost = [asyncio.create_task(harness.get(path)) for path in lost_paths]
        async with asyncio.timeout(30.0):
            while sim.faults.describe_active():
                await asyncio.sleep(0.01)  # until each of them was reset
            admission = harness.bridge.profile.admission
            lost_at = admission.now()
            while not admission.is_overtaken(lost_at):
                assert (await harness.get("/iserver/accounts", headers={"X-Bridge-Max-Age": "0"})).status == 200
                await asyncio.sleep(0.2)  # a caller's own pause
            reads = [await repeat_until_200(lambda path=path: harness.get(path)) for path in READS]  # type: ignore[misc]
            order = await repeat_until_200(lambda: harness.post(ORDER.target, ORDER.body))
        still_lost = [task for task in lost if not task.done()]
        for task in lost:
            task.cancel()
        await asyncio.gather(*lost, return_exceptions=True)

    assert [reply.status for reply in (*reads, order)] == [200] * 5
    assert still_lost == lost


@pytest.mark.slow
async def test_an_endpoint_that_hangs_stops_neither_orders_nor_other_reads(sim: MarketStage, tmp_path: Path) -> None:
    """Its calls really hold slots. Were one more of them let in for each answer to others, all five would be held."""
    async with Harness(settings_for(sim.url, tmp_path, IBKR_GATEWAY_TIMEOUT="2")) as harness:
        await harness.wait_until(SessionState.READY)
        sim.faults.add("silence", path="/iserver/contract/")
        hanging, statuses = list[asyncio.Task[Reply]](), set[int]()
        async with asyncio.timeout(60.0):
            for number in range(8):
                hanging += [asyncio.create_task(harness.get(f"/iserver/contract/{number}/info")) for _ in range(2)]
                order = await harness.post(ORDER.target, Placement(quantity=number + 1, extra=ORDER.extra).body)
                read = await repeat_until_200(lambda: harness.get(READS[1]))
                statuses |= {order.status, read.status}
                await asyncio.sleep(0.5)  # the pause of a caller that polls
            await asyncio.gather(*hanging)

    assert statuses == {200}
    assert len(sim.gateway_calls("/iserver/contract/")) == 4
