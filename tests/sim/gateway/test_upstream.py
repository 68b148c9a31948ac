"""What only the simulator can show: which fault holds a slot, and what the queue does after an outage."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim import Simulator
from tests.clocks import ManualClock
from tests.sim.conftest import Dial
from tests.sim.wire import Wire

STATUS = "/v1/api/iserver/auth/status"
USER = "/v1/api/one/user"


async def _fill(sim: Simulator, dial: Dial, count: int = 5) -> list[Wire]:
    wires = [await dial() for _ in range(count)]
    for wire in wires:
        wire.send_request("GET", USER)
    await sim.wait_for_calls(USER, count)
    return wires


async def test_the_gateways_own_tickle_needs_a_slot_too(sim: Simulator, dial: Dial, clock: ManualClock) -> None:
    """While all five slots are taken the session is not kept alive."""
    sim.faults.add("silence", path=USER)
    await _fill(sim, dial)
    witness = await dial()

    await clock.wait_for_sleepers(2)
    clock.advance(30)

    assert await witness.is_silent()
    assert sim.calls("/tickle") == []


@pytest.mark.parametrize(("kind", "inside"), [("drop", 0), ("ibkr-down", 1), ("silence", 1)])
async def test_without_ibkr_a_client_is_never_answered(sim: Simulator, wire: Wire, kind: str, inside: int) -> None:
    """There is no 502, no 504 and no end of the connection. A connection that IBKR ends frees its slot."""
    sim.faults.add(kind)

    wire.send_request("GET", STATUS)
    await sim.wait_for_gateway_calls(STATUS)

    assert await wire.is_silent()
    assert sim.calls_in_slots() == inside


async def test_after_an_outage_slots_are_free_again_but_their_calls_stay_unanswered(sim: Simulator, dial: Dial) -> None:
    """The calls in the queue are sent."""
    sim.faults.add("ibkr-down")
    stuck = [await dial() for _ in range(5)]
    for wire in stuck:
        wire.send_request("GET", USER)
    await sim.wait_for_gateway_calls(USER, 5)
    queued = await dial()
    queued.send_request("GET", STATUS)
    await sim.wait_for_gateway_calls(STATUS)

    sim.faults.clear("ibkr-down")

    assert (await queued.receive_response()).status == 200
    assert await stuck[0].is_silent()
    assert sim.calls(USER) == []
