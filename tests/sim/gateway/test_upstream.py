"""Five slots for everybody, a queue without end, and calls that outlive their clients."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.sim import Simulator
from tests.clocks import ManualClock
from tests.sim.conftest import Dial
from tests.sim.wire import MOMENT, Wire

STATUS = "/v1/api/iserver/auth/status"
USER = "/v1/api/one/user"


async def _fill(sim: Simulator, dial: Dial, count: int = 5) -> list[Wire]:
    wires = [await dial() for _ in range(count)]
    for wire in wires:
        wire.ask("GET", USER)
    await sim.arrived(USER, count)
    return wires


async def test_the_sixth_call_waits(sim: Simulator, dial: Dial) -> None:
    """Five stuck calls stop everything."""
    sim.faults.add("silence", path=USER)
    await _fill(sim, dial)
    sixth = await dial()

    sixth.ask("GET", STATUS)
    await sim.reached(STATUS)

    assert await sixth.hears_nothing()
    assert (sim.inside(), sim.max_inside, sim.gateway.upstream.waiting()) == (5, 5, 1)
    assert sim.calls(STATUS) == []


async def test_a_client_that_hangs_up_does_not_free_its_slot(sim: Simulator, dial: Dial) -> None:
    """The upstream call runs on."""
    sim.faults.add("silence", path=USER)

    for wire in await _fill(sim, dial):
        wire.drop()
    late = await dial()
    late.ask("GET", STATUS)

    assert await late.hears_nothing()
    assert sim.inside() == 5


async def test_a_queued_call_is_sent_although_its_client_has_gone(
    sim: Simulator, dial: Dial, clock: ManualClock
) -> None:
    """An order, for instance, long after its sender gave up."""
    sim.faults.add("delay", path=USER, seconds=8)
    await _fill(sim, dial)
    sender = await dial()
    order = b'{"orders":[]}'
    sender.ask("POST", "/v1/api/iserver/account/DU1234567/orders", body=order)
    await sim.reached("/orders")
    sender.drop()

    clock.advance(8)
    [seen] = await sim.arrived("/orders")

    assert seen.body == order


async def test_the_gateways_own_tickle_needs_a_slot_too(sim: Simulator, dial: Dial, clock: ManualClock) -> None:
    """With all five stuck the session is no longer kept alive."""
    sim.faults.add("silence", path=USER)
    await _fill(sim, dial)
    witness = await dial()

    await clock.asleep(2)
    clock.advance(30)

    assert await witness.hears_nothing()
    assert sim.calls("/tickle") == []


async def test_half_a_body_holds_a_slot(sim: Simulator, dial: Dial) -> None:
    """A client that leaves in the middle of sending stays in its slot until IBKR has enough."""
    wire = await dial()
    wire.say(f"POST {STATUS} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
    witness = await dial()
    await witness.call("GET", USER)
    wire.drop()
    [seen] = await sim.reached(STATUS)

    assert seen.body == b"half"
    assert (sim.inside(), sim.calls(STATUS)) == (1, [])


@pytest.mark.parametrize(("kind", "inside"), [("drop", 0), ("ibkr-down", 1), ("silence", 1)])
async def test_where_ibkr_is_gone_nothing_is_ever_said(sim: Simulator, wire: Wire, kind: str, inside: int) -> None:
    """No 502, no 504, no end of the connection; a connection that IBKR ends frees its slot, and says no more."""
    sim.faults.add(kind)

    wire.ask("GET", STATUS)
    await sim.reached(STATUS)

    assert await wire.hears_nothing()
    assert sim.inside() == inside


async def test_a_body_that_breaks_off_never_ends(sim: Simulator, wire: Wire) -> None:
    """A part, then neither an end nor a close."""
    sim.faults.add("die-in")
    wire.ask("GET", STATUS)

    with pytest.raises(TimeoutError):
        await _within(wire)


async def test_headers_beyond_8_kilobytes_are_no_answer_at_all(sim: Simulator, wire: Wire) -> None:
    """The Gateway cannot read them."""
    sim.faults.add("status", status=200, headers={"X-Long": "y" * 8200})
    wire.ask("GET", STATUS)
    await sim.arrived(STATUS)

    assert await wire.hears_nothing()


async def test_after_an_outage_slots_are_free_again_but_their_calls_stay_unanswered(sim: Simulator, dial: Dial) -> None:
    """What stood in the queue is sent."""
    sim.faults.add("ibkr-down")
    stuck = [await dial() for _ in range(5)]
    for wire in stuck:
        wire.ask("GET", USER)
    await sim.reached(USER, 5)
    queued = await dial()
    queued.ask("GET", STATUS)
    await sim.reached(STATUS)

    sim.faults.clear("ibkr-down")

    assert (await queued.hear()).status == 200
    assert await stuck[0].hears_nothing()
    assert sim.calls(USER) == []


async def _within(wire: Wire) -> None:
    async with asyncio.timeout(MOMENT):
        await wire.hear()
