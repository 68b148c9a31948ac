"""`GET /metrics`: who may read it, and that the Gateway is not asked."""

from __future__ import annotations

from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY

OF_THE_KEEPER = {"status", "tickle", "ws"}
"""The last parts of the paths that it calls by itself, at times of its own."""


async def test_the_read_only_key_may_read_it_as_prometheus_sends_it(open_harness: OpenHarness) -> None:
    """In the header Authorization; the configuration of Prometheus has no other one in older versions."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    reply = await harness.get("/metrics", key=None, headers={"Authorization": f"Bearer {READONLY_KEY}"})

    assert reply.status == 200


async def test_it_is_answered_while_the_gateway_is_silent(open_harness: OpenHarness, sim: Simulator) -> None:
    """Nothing is asked of the Gateway for it."""
    harness = await open_harness()
    sim.faults.add("silence")
    before = len(sim.calls())

    assert (await harness.get("/metrics")).status == 200
    assert {call.target.rpartition("/")[2] for call in sim.calls()[before:]} <= OF_THE_KEEPER
