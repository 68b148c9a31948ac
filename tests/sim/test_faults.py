"""Scripted faults, seen from a client."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.faults import KINDS, Faults, Side, UnknownFaultError
from ibkr_bridge.sim.market.tampering import FAULT_HANDLERS
from tests.clocks import ManualClock
from tests.sim.conftest import Dial
from tests.sim.wire import SILENCE_S, Wire, connect

STATUS = "/v1/api/iserver/auth/status"
PLACE = "/v1/api/iserver/account/DU1234567/orders"
ORDER = b'{"orders":[{"conid":265598,"orderType":"LMT","side":"BUY","quantity":1,"tif":"DAY","price":189.00}]}'


def test_every_kind_of_the_market_is_carried_out() -> None:
    """The table of kinds and the table of handlers have the same names."""
    assert set(FAULT_HANDLERS) == {name for name, kind in KINDS.items() if kind.side is Side.MARKET}


def test_an_unknown_kind_is_answered_with_the_known_ones() -> None:
    """A person can then correct the name."""
    with pytest.raises(UnknownFaultError, match=r"'silense'; known are: 429, .*silence"):
        Faults().add("silense")


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    """A person can then correct the name."""
    with pytest.raises(UnknownFaultError, match=r"no option sekonds; known are: path, times, .*seconds"):
        Faults().add("delay", sekonds=1)


@pytest.mark.parametrize(
    ("path", "fits"),
    [("/tickle", True), (r"/tick.e\?x=\d$", True), ("/tickle?x=1", True), ("/orders", False), ("(", 0)],
)
def test_a_fault_applies_to_targets_that_contain_or_match_its_path(path: str, fits: bool) -> None:
    """The path is a part of the target or a regular expression; an invalid expression is taken literally."""
    faults = Faults()
    faults.add("silence", path=path)

    assert (faults.use_fault(Side.MARKET, "/v1/api/tickle?x=1", own=False) is not None) == bool(fits)


async def test_a_fault_can_apply_to_some_requests_only(sim: Simulator, wire: Wire) -> None:
    """`times` counts down; other targets are not affected."""
    sim.faults.add("status", path="/auth/status", times=2, status=418)

    statuses = [(await wire.call("GET", target)).status for target in (STATUS, "/v1/api/tickle", STATUS, STATUS)]

    assert statuses == [418, 200, 418, 200]
    assert sim.faults.describe_active() == []


async def test_a_fault_does_not_apply_to_the_gateways_own_calls_by_default(sim: Simulator, clock: ManualClock) -> None:
    """A fault for one request waits for a client's request."""
    sim.faults.add("empty-503", path="/tickle", times=1)
    await clock.wait_for_sleepers(2)

    clock.advance(30)
    await sim.wait_for_calls("/tickle")

    assert len(sim.faults.describe_active()) == 1


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("denied", 404, b"Access Denied"),
        ("empty-503", 503, b""),
        ("hidden-error", 200, b'{"error":"no session"}'),
        ("429", 429, b'{"error":"Too many requests"}'),
    ],
)
async def test_other_responses_come_instead(sim: Simulator, wire: Wire, kind: str, status: int, body: bytes) -> None:
    """They come until the fault is cleared."""
    sim.faults.add(kind)
    spoilt = await wire.call("GET", STATUS)
    sim.faults.clear(kind)

    assert (spoilt.status, spoilt.body) == (status, body)
    assert (await wire.call("GET", STATUS)).json()["authenticated"] is True


async def test_pages_come_instead_of_json(sim: Simulator, wire: Wire) -> None:
    """The content type is HTML."""
    sim.faults.add("html-500")

    response = await wire.call("GET", STATUS)

    assert (response.status, response.header("Content-Type")) == (500, "text/html")


async def test_maintenance_applies_to_every_call(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """The Gateway's own tickle gets it too, so the Gateway runs its chain again."""
    sim.faults.add("maintenance")
    await clock.wait_for_sleepers(2)

    clock.advance(30)
    await sim.wait_for_calls("/sso/validate")

    assert (await wire.call("GET", STATUS)).status == 503


async def test_a_response_can_be_late(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """It is late by the given clock; IBKR has carried the call out meanwhile."""
    sim.faults.add("delay", path="/logout", seconds=30)
    wire.send_request("POST", "/v1/api/logout", body=b"{}")
    await sim.wait_for_calls("/logout")
    await clock.wait_for_sleepers(3)
    assert not sim.market.world.sessions.is_authenticated(clock.now())

    clock.advance(30)

    assert (await wire.receive_response()).status == 200


async def test_a_response_can_be_compressed_without_a_request_for_it(sim: Simulator, wire: Wire) -> None:
    """The Gateway relays it unchanged."""
    sim.faults.add("gzip")

    response = await wire.call("GET", STATUS)

    assert response.header("Content-Encoding") == "gzip"
    assert json.loads(gzip.decompress(response.body))["authenticated"] is True


@pytest.mark.parametrize("is_carried_out", [False, True])
async def test_a_connection_can_be_cut_before_the_response(sim: Simulator, wire: Wire, is_carried_out: bool) -> None:
    """The fault's `done` decides whether IBKR carried the request out."""
    sim.faults.add("cut-before", times=1, done=is_carried_out)
    wire.send_request("POST", "/v1/api/logout", body=b"{}")

    assert await wire.read_to_end() == b""
    assert len(sim.calls("/logout")) == is_carried_out


@pytest.mark.parametrize("kind", ["cut-before", "cut-in", "silence", "timeout-503", "restart-during", "lost-during"])
@pytest.mark.parametrize("is_carried_out", [False, True])
async def test_a_response_can_be_lost_whether_or_not_the_order_was_placed(
    sim: Simulator, wire: Wire, clock: ManualClock, kind: str, is_carried_out: bool
) -> None:
    """Each way has a kind of its own, so that `trigger` can cause it; a caller sees no difference."""
    name = (
        "cut-in"
        if (kind, is_carried_out) == ("cut-in", True)
        else f"done-{kind}"
        if is_carried_out and kind != "cut-in"
        else kind
    )
    sim.faults.add(
        name, path=PLACE, times=1, **({"done": False} if (kind, is_carried_out) == ("cut-in", False) else {})
    )

    wire.send_request("POST", PLACE, body=ORDER)
    await sim.wait_for_gateway_calls(PLACE)
    if "503" in kind or kind == "lost-during":
        await clock.wait_for_sleepers(3)
        clock.advance(10)
        response = await wire.receive_response()
        assert (response.status, response.body) == (503, b"")
    elif kind == "silence":
        assert await wire.is_silent()
    else:
        heard = await wire.read_to_end()
        assert heard.startswith(b"HTTP/1.1 ") if kind == "cut-in" else heard == b""
        assert not heard.endswith(b"0\r\n\r\n")
    await sim.wait_for_events()

    assert len(sim.market.world.book.orders(clock.now())) == is_carried_out
    assert sim.market.world.sessions.is_authenticated(clock.now()) is (kind != "lost-during")
    assert sim.faults.describe_active() == []


async def test_a_queued_call_is_sent_after_its_client_has_disconnected(
    sim: Simulator, wire: Wire, clock: ManualClock
) -> None:
    """An order is sent eight seconds after its sender gave it up."""
    sim.faults.add("late", path=PLACE, times=1)
    wire.send_request("POST", PLACE, body=ORDER)
    await sim.wait_for_gateway_calls(PLACE)
    await clock.wait_for_sleepers(3)
    wire.abort()

    before = sim.market.world.book.orders(clock.now())
    clock.advance(8)
    await sim.wait_for_calls(PLACE)

    assert before == []
    assert len(sim.market.world.book.orders(clock.now())) == 1


async def test_a_silence_can_end(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """The slot is then free; the caller still gets no response."""
    sim.faults.add("silence", path=STATUS, times=1, seconds=30)
    wire.send_request("GET", STATUS)
    await sim.wait_for_calls(STATUS)
    await clock.wait_for_sleepers(3)
    during = sim.calls_in_slots()
    clock.advance(29.99)
    await clock.wait_for_sleepers(3)

    clock.advance(0.01)

    assert await wire.is_silent()
    assert (during, sim.calls_in_slots()) == (1, 0)


async def test_a_connection_can_be_cut_in_the_body(sim: Simulator, wire: Wire) -> None:
    """The head and a part of the body arrive."""
    sim.faults.add("cut-in")
    wire.send_request("GET", STATUS)

    heard = await wire.read_to_end()

    assert heard.startswith(b"HTTP/1.1 200 OK")
    assert b'"authenticated"' in heard
    assert not heard.endswith(b"0\r\n\r\n")


async def test_a_response_can_be_no_http(sim: Simulator, wire: Wire) -> None:
    """Then the connection ends."""
    sim.faults.add("garble")
    wire.send_request("GET", STATUS)

    assert not (await wire.read_to_end()).startswith(b"HTTP/")


async def test_a_body_can_stop_half_way(sim: Simulator, wire: Wire) -> None:
    """The connection stays open, and the slot stays taken."""
    sim.faults.add("stall-in")
    wire.send_request("GET", STATUS)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SILENCE_S):
            await wire.receive_response()

    assert sim.calls_in_slots() == 1


async def test_a_refusing_port_opens_again_when_cleared(sim: Simulator, wire: Wire) -> None:
    """Connections are dropped and new ones refused; the session stays."""
    sim.faults.add("refuse")
    assert await wire.read_to_end() == b""
    with pytest.raises(ConnectionRefusedError):
        await connect(sim)

    sim.faults.clear()
    again = await connect(sim)

    assert (await again.call("GET", STATUS)).json()["authenticated"] is True
    again.abort()


async def test_a_port_that_a_restart_has_opened_is_not_opened_again(sim: Simulator, dial: Dial) -> None:
    """The refusal is cleared only after the restart."""
    sim.faults.add("refuse")
    await sim.restart()

    sim.faults.clear("refuse")

    assert (await (await dial()).call("GET", STATUS)).status == 401


async def test_a_restart_loses_the_login(sim: Simulator, wire: Wire, dial: Dial) -> None:
    """The port is the same, the jar is empty, and there are no keep-alives."""
    url = sim.url
    await sim.restart()

    assert await wire.read_to_end() == b""
    assert (await (await dial()).call("GET", STATUS)).status == 401
    assert sim.url == url


async def test_a_restart_can_be_scripted(sim: Simulator, wire: Wire, dial: Dial) -> None:
    """It is an event like the others."""
    sim.faults.add("restart")
    await sim.wait_for_events()

    assert await wire.read_to_end() == b""
    assert (await (await dial()).call("GET", STATUS)).status == 401


async def test_a_restart_frees_stuck_slots_and_forgets_the_queue(sim: Simulator, dial: Dial) -> None:
    """The calls in the queue are never sent."""
    sim.faults.add("silence", path="/one/user")
    for _ in range(5):
        (await dial()).send_request("GET", "/v1/api/one/user")
    await sim.wait_for_calls("/one/user", 5)
    (await dial()).send_request("POST", "/v1/api/logout", body=b"{}")
    await sim.wait_for_gateway_calls("/logout")

    await sim.restart()

    assert (await (await dial()).call("GET", STATUS)).status == 401
    assert (sim.calls_in_slots(), sim.calls("/logout")) == (0, [])
