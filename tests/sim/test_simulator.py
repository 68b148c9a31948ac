"""Both halves of the simulator joined."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

import ibkr_bridge.sim
from ibkr_bridge.sim import FastClock, Simulator
from ibkr_bridge.sim.market_stage import fetch_page
from tests.clocks import ManualClock
from tests.sim.conftest import Dial
from tests.sim.wire import Wire, connect

STATUS = "/v1/api/iserver/auth/status"
SOURCES = sorted(Path(ibkr_bridge.sim.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_simulator_imports_nothing_of_the_bridge(source: Path) -> None:
    """It is the other side of the wire."""
    nodes = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]

    assert [name for name in names if name.startswith("ibkr_bridge") and not name.startswith("ibkr_bridge.sim")] == []


async def test_requests_are_logged_at_both_sides(sim: Simulator, wire: Wire) -> None:
    """The log has headers, body and time."""
    await wire.call("POST", "/v1/portal/tickle", {"a": 1})

    [above], [below] = sim.calls("/tickle"), sim.gateway_calls("/tickle")
    assert (above.target, below.target) == ("/v1/api/tickle", "/v1/portal/tickle")
    assert (above.method, above.json(), above.is_own_call, above.at) == ("POST", {"a": 1}, False, 1000.0)
    assert (below.body, below.header("host")) == (above.body, "localhost")


async def test_the_largest_number_of_calls_in_slots_is_recorded(sim: Simulator, dial: Dial, clock: ManualClock) -> None:
    """Only clients' calls count."""
    sim.faults.add("delay", seconds=1)
    wires = [await dial() for _ in range(3)]
    for wire in wires:
        wire.send_request("GET", STATUS)
    await sim.wait_for_calls(STATUS, 3)
    await clock.wait_for_sleepers(5)
    assert sim.calls_in_slots() == 3

    clock.advance(1)
    for wire in wires:
        await wire.receive_response()

    assert (sim.calls_in_slots(), sim.max_calls_in_slots) == (0, 3)


async def test_the_simulator_stops_while_all_calls_hang(clock: ManualClock) -> None:
    """No task is left."""
    async with Simulator(clock=clock) as sim:
        sim.faults.add("silence")
        wires = [await connect(sim) for _ in range(7)]
        for wire in wires:
            wire.send_request("GET", STATUS)
        await sim.wait_for_calls(STATUS, 5)
        idle = await connect(sim)

    assert [await wire.read_to_end() for wire in (*wires, idle)] == [b""] * 8
    assert len(asyncio.all_tasks()) == 1
    for wire in (*wires, idle):
        wire.abort()


async def test_a_fast_clock_shortens_an_hour() -> None:
    """Thousands of seconds pass in a fraction of one."""
    clock = FastClock(rate=100_000.0)
    before, day = clock.now(), clock.utc()

    await clock.sleep(3600)

    assert clock.now() - before >= 3600
    assert (clock.utc() - day).total_seconds() >= 3600


async def test_a_live_user_has_live_accounts() -> None:
    """There are no paper accounts then."""
    async with Simulator(live=True) as sim:
        wire = await connect(sim)
        accounts = (await wire.call("GET", "/v1/api/iserver/accounts")).json()
        wire.abort()

    assert (accounts["accounts"], accounts["isPaper"]) == (["U1234567", "U7654321"], False)


async def test_a_subscriber_gets_a_call_before_it_is_carried_out(sim: Simulator, wire: Wire) -> None:
    """So a test can act in that very moment."""
    logins: list[tuple[str, bool]] = []
    sessions = sim.market.world.sessions
    sim.market.log.subscribe(lambda logged: logins.append((logged.path, sessions.has_login(logged.at))))

    await wire.call("POST", "/v1/api/logout")

    assert logins == [("/v1/api/logout", True)]
    assert not sessions.has_login(sim.clock.now())


async def test_two_restarts_at_once_are_two_restarts(sim: Simulator) -> None:
    """They run one after the other, since there is only one port."""
    sim.faults.add("restart")
    sim.faults.add("restart")

    await sim.wait_for_events()

    assert (await fetch_page(sim.port, "/clear")).endswith(b"cleared")
