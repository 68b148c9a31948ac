"""Five slots for all clients, a queue without a limit, calls that outlive their clients, and every kind of silence."""

from __future__ import annotations

from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.conftest import Dial
from tests.harness import with_timeout
from tests.sim.wire import Wire

STATUS = "/v1/api/iserver/auth/status"
USER = "/v1/api/one/user"
ORDERS = "/v1/api/iserver/account/DU1234567/orders"


async def fill(gate: MarketStage, dial: Dial, count: int = 5) -> list[Wire]:
    """Send so many calls that take slots; a fault decides how long they stay."""
    wires = [await dial() for _ in range(count)]
    for wire in wires:
        wire.send_request("GET", USER)
    await with_timeout(gate.wait_for_calls(USER, count))
    return wires


async def test_five_calls_are_at_ibkr_at_once(gate: MarketStage, dial: Dial) -> None:
    """Exactly five of them are in progress."""
    gate.faults.add("silence", path=USER)

    await fill(gate, dial)

    assert gate.market.calls_in_service() == 5


async def test_the_sixth_call_waits(gate: MarketStage, dial: Dial) -> None:
    """Five calls without a response stop all others."""
    gate.faults.add("silence", path=USER)
    await fill(gate, dial)
    sixth = await dial()

    sixth.send_request("GET", STATUS)

    assert await sixth.is_silent()
    assert gate.calls(STATUS) == []


async def test_the_queue_has_no_limit_and_keeps_its_order(gate: MarketStage, dial: Dial) -> None:
    """Forty calls wait, and all are served as slots become free."""
    gate.faults.add("delay", path=USER, seconds=0.3, times=5)
    await fill(gate, dial)
    queued = [await dial() for _ in range(40)]

    for number, wire in enumerate(queued):
        wire.send_request("GET", f"{STATUS}?{number}")
    answers = [await with_timeout(wire.receive_response()) for wire in queued]

    assert {response.status for response in answers} == {200}


async def test_a_client_that_disconnects_does_not_free_its_slot(gate: MarketStage, dial: Dial) -> None:
    """The call to IBKR goes on."""
    gate.faults.add("silence", path=USER)
    for wire in await fill(gate, dial):
        wire.abort()
    late = await dial()

    late.send_request("GET", STATUS)

    assert await late.is_silent()
    assert gate.market.calls_in_service() == 5


async def test_a_queued_order_is_sent_although_its_client_has_disconnected(
    gate: MarketStage, dial: Dial, silence_s: float
) -> None:
    """It is sent long after its sender gave up."""
    gate.faults.add("delay", path=USER, seconds=3 * silence_s)
    await fill(gate, dial)
    sender, order = await dial(), b'{"orders":[]}'
    sender.send_request("POST", ORDERS, body=order)
    assert await sender.is_silent()
    sender.abort()
    assert not gate.calls(ORDERS)

    [logged] = await with_timeout(gate.wait_for_calls(ORDERS))

    assert logged.body == order


async def test_a_response_frees_its_slot(gate: MarketStage, dial: Dial) -> None:
    """The next call in the queue is sent."""
    gate.faults.add("silence", path=USER, times=4)
    gate.faults.add("delay", path=USER, seconds=0.1, times=1)
    await fill(gate, dial)

    assert (await with_timeout((await dial()).call("GET", STATUS))).status == 200


async def test_an_incomplete_body_holds_a_slot(gate: MarketStage, dial: Dial) -> None:
    """A client that stops in the middle of its body keeps its slot until IBKR closes the connection."""
    for wire in [await dial() for _ in range(5)]:
        wire.send(f"POST {USER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
    await with_timeout(gate.market.changes.wait_until(lambda: gate.market.calls_in_service() == 5))
    late = await dial()

    late.send_request("GET", STATUS)

    assert await late.is_silent()
    assert gate.calls(STATUS) == gate.calls(USER) == []


async def test_an_incomplete_body_holds_a_slot_after_its_client_has_disconnected(gate: MarketStage, dial: Dial) -> None:
    """The Gateway does not cancel the call."""
    wires = [await dial() for _ in range(5)]
    for wire in wires:
        wire.send(f"POST {USER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
    await with_timeout(gate.market.changes.wait_until(lambda: gate.market.calls_in_service() == 5))
    for wire in wires:
        wire.abort()
    late = await dial()

    late.send_request("GET", STATUS)

    assert await late.is_silent()
    assert gate.market.calls_in_service() == 5


async def test_silence_of_ibkr_is_passed_on(gate: MarketStage, wire: Wire) -> None:
    """The client gets no 502, no 504 and no end of the connection; the slot stays taken."""
    gate.faults.add("silence", path=STATUS)

    wire.send_request("GET", STATUS)
    await with_timeout(gate.wait_for_calls(STATUS))

    assert await wire.is_silent()
    assert gate.market.calls_in_service() == 1


async def test_a_connection_that_ibkr_ends_leads_to_silence_too(gate: MarketStage, wire: Wire, dial: Dial) -> None:
    """But the slot becomes free: five such calls do not stop a sixth."""
    gate.faults.add("drop", path=USER)
    await fill(gate, dial)
    wire.send_request("GET", USER)
    await with_timeout(gate.wait_for_calls(USER, 6))

    assert await wire.is_silent()
    assert (await with_timeout((await dial()).call("GET", STATUS))).status == 200


async def test_refused_connections_lead_to_silence_too(gate: MarketStage, wire: Wire, dial: Dial) -> None:
    """No client gets an error, and everything works again afterwards."""
    await gate.disconnect_ibkr()
    wire.send_request("GET", STATUS)

    assert await wire.is_silent()
    await gate.reconnect_ibkr()
    assert (await with_timeout((await dial()).call("GET", STATUS))).status == 200


async def test_a_body_that_stops_in_the_middle_never_ends(gate: MarketStage, wire: Wire) -> None:
    """The client gets a part, then neither an end nor a close. IBKR's connection is still open."""
    gate.faults.add("stall-in", path=STATUS)

    await read_first_chunk(wire)

    assert await wire.is_silent()
    assert gate.market.calls_in_service() == 1


async def test_a_body_that_breaks_off_never_ends(gate: MarketStage, wire: Wire) -> None:
    """The client sees no difference although IBKR's connection is closed."""
    gate.faults.add("die-in", path=STATUS)

    await read_first_chunk(wire)

    assert await wire.is_silent()


async def read_first_chunk(wire: Wire) -> None:
    """Send a request, and read the head and the first chunk, since no more will come."""
    wire.send_request("GET", STATUS)
    head = await with_timeout(wire.read_until(b"\r\n\r\n"))
    size = int(await with_timeout(wire.read_until(b"\r\n")), 16)
    await with_timeout(wire.read_exactly(size + 2))
    assert b"200" in head


async def test_a_response_with_headers_beyond_8_kilobytes_never_arrives(gate: MarketStage, wire: Wire) -> None:
    """The Gateway cannot read them."""
    gate.faults.add("status", path=STATUS, status=200, headers={"X-Long": "y" * 8200})

    wire.send_request("GET", STATUS)
    await with_timeout(gate.wait_for_calls(STATUS))

    assert await wire.is_silent()


async def test_a_slow_response_is_waited_for(gate: MarketStage, wire: Wire, silence_s: float) -> None:
    """The Gateway has no timeout."""
    gate.faults.add("delay", path=STATUS, seconds=2 * silence_s)
    wire.send_request("GET", STATUS)

    assert await wire.is_silent()
    assert (await with_timeout(wire.receive_response())).status == 200
