"""What the Gateway does by itself: it completes a login, keeps it alive, and drops it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ibkr_bridge.sim.market_stage import MarketStage
from tests.clocks import ManualClock
from tests.contract.conftest import Dial, OpenGate
from tests.contract.gateways import SIMULATED, sign_in
from tests.harness import with_timeout
from tests.sim.wire import Wire, connect

STATUS = "/v1/api/iserver/auth/status"
INIT = "/v1/api/iserver/auth/ssodh/init"
CHAIN = [
    "/v1/api/sso/validate",
    "/v1/api/one/user",
    "/v1/api/ssodh/init",
    "/v1/api/ssodh/st",
    "/sso/Authenticator",
    "/v1/api/iserver/auth/status",
    "/v1/api/iserver/auth/ssodh/init",
    "/v1/api/iserver/auth/ssodh/response",
    "/v1/api/iserver/accounts",
]


@pytest.fixture
def tickle_timeout_s(tickle_interval_s: float) -> float:
    """The time within which the next tickle has come, with the calls that follow it."""
    return tickle_interval_s + 15.0


async def advance_clock(clock: ManualClock) -> None:
    """Move time to each alarm as soon as it is set, for ever."""
    while True:
        await clock.wait_for_sleepers(1)
        clock.advance(clock.next_alarm)


async def test_a_browser_login_is_followed_by_the_gateways_own_chain(open_gate: OpenGate) -> None:
    """Validation comes first and the brokerage session last; independent calls come in any order."""
    gate = await open_gate(signed_in=False)
    await gate.log_in_by_browser()
    await with_timeout(gate.wait_for_calls("/iserver/accounts"))

    own = [logged.path for logged in gate.calls() if logged.is_own_call]

    assert sorted(own) == sorted(CHAIN)
    assert (own[0], own[5:]) == (CHAIN[0], CHAIN[5:])


async def test_it_always_takes_the_session_over(open_gate: OpenGate) -> None:
    """Another program of the same user loses the brokerage session."""
    gate = await open_gate(signed_in=False)
    gate.start_competing()
    await gate.log_in_by_browser()
    await with_timeout(gate.wait_for_calls("/iserver/accounts"))

    form = gate.calls(INIT)[0].json()

    assert form["compete"] is True
    assert {"username", "machineId"} <= set(form)
    assert not gate.market.world.sessions.is_competing


async def test_the_success_text_proves_nothing(open_gate: OpenGate) -> None:
    """It is sent before anybody is authenticated; IBKR's cookies and redirect come with it."""
    gate = await open_gate(signed_in=False)
    gate.faults.add("status", path="/sso/validate", status=401, own=True)
    wire = await connect(gate)
    response = await with_timeout(wire.call("GET", "/sso/Dispatcher"))
    wire.abort()

    assert (response.status, response.body) == (200, b"Client login succeeds")
    assert response.header("Location")
    assert len(response.headers("Set-Cookie")) > 1


async def test_a_redirect_with_a_body_keeps_its_status(gate: MarketStage, wire: Wire) -> None:
    """The Gateway's text follows that body."""
    gate.faults.add("status", path="/sso/Dispatcher", times=1, status=302, body="moved")

    response = await with_timeout(wire.call("GET", "/sso/Dispatcher"))

    assert (response.status, response.body) == (302, b"movedClient login succeeds")


async def test_a_refused_login_is_no_login(gate: MarketStage, wire: Wire) -> None:
    """A response with any other status passes unchanged."""
    gate.faults.add("status", path="/sso/Dispatcher", times=1, status=200, body="wrong password")

    response = await with_timeout(wire.call("GET", "/sso/Dispatcher"))

    assert (response.status, response.body) == (200, b"wrong password")
    assert not gate.calls("/sso/validate")


async def test_five_failed_validations_end_a_login(open_gate: OpenGate, kind: str) -> None:
    """They are three seconds apart; after them the Gateway stops without a message."""
    clock = ManualClock()
    gate = await open_gate(signed_in=False, **({"clock": clock} if kind == SIMULATED else {}))
    gate.faults.add("status", path="/sso/validate", status=401, own=True)
    moving = asyncio.create_task(advance_clock(clock))
    await gate.log_in_by_browser()

    tries = await with_timeout(gate.wait_for_calls("/sso/validate", 5), 30)
    moving.cancel()

    gaps = [after.at - before.at for before, after in itertools.pairwise(tries)]
    assert all(2.5 < gap < 4.5 for gap in gaps)
    assert not gate.calls("/ssodh/init")


async def test_the_gateway_tickles_by_itself(gate: MarketStage, tickle_timeout_s: float) -> None:
    """It uses GET."""
    [logged, *_] = await with_timeout(gate.wait_for_calls("/tickle"), tickle_timeout_s)

    assert (logged.method, logged.is_own_call) == ("GET", True)


@pytest.mark.parametrize("lost", ["brokerage-lost", "competing"])
async def test_a_lost_brokerage_session_makes_the_gateway_log_out(
    gate: MarketStage, wire: Wire, lost: str, tickle_timeout_s: float
) -> None:
    """Its own tickle shows "connected, but not authenticated", so it ends the login."""
    gate.faults.add(lost)

    [logged, *_] = await with_timeout(gate.wait_for_calls("/logout"), tickle_timeout_s)

    assert (logged.method, logged.path, logged.is_own_call) == ("GET", "/v1/api/logout", True)
    assert (await with_timeout(wire.call("GET", STATUS))).status == 401


async def test_a_session_reopened_in_time_stays(gate: MarketStage, wire: Wire, tickle_timeout_s: float) -> None:
    """A client's ssodh/init must reach IBKR before the Gateway's next tickle."""
    gate.lose_brokerage()
    await with_timeout(wire.call("POST", INIT, {"publish": True, "compete": True}))

    await with_timeout(gate.wait_for_calls("/tickle", 1 if tickle_timeout_s > 30 else 3), tickle_timeout_s)

    assert not gate.calls("/logout")
    assert (await with_timeout(wire.call("GET", STATUS))).json()["authenticated"] is True


async def test_a_failed_tickle_restarts_the_chain(gate: MarketStage, tickle_timeout_s: float) -> None:
    """The chain begins with the validation."""
    gate.faults.add("empty-503", path="/tickle", times=1, own=True)

    await with_timeout(gate.wait_for_calls("/tickle"), tickle_timeout_s)
    await with_timeout(gate.wait_for_calls("/iserver/accounts"), tickle_timeout_s)

    own = [logged.path for logged in gate.calls() if logged.is_own_call]
    assert own[:2] == ["/v1/api/tickle", "/v1/api/sso/validate"]


async def test_the_tickle_needs_a_slot_too(
    gate: MarketStage, dial: Dial, tickle_interval_s: float, tickle_timeout_s: float
) -> None:
    """While all five slots are taken the session is not kept alive."""
    stuck = tickle_interval_s + 2.0
    gate.faults.add("delay", path="/v1/api/one/user", seconds=stuck)
    wires = [await dial() for _ in range(5)]
    for wire in wires:
        wire.send_request("GET", "/v1/api/one/user")
    held = await with_timeout(gate.wait_for_calls("/v1/api/one/user", 5))
    before = len(gate.calls("/tickle"))  # those that came before all five were stuck

    logged = (await with_timeout(gate.wait_for_calls("/tickle", before + 1), stuck + tickle_timeout_s))[before]

    assert logged.at - held[0].at >= stuck


async def test_a_second_login_replaces_the_first(open_gate: OpenGate, kind: str) -> None:
    """No /clear is needed before. A tickle during the login would end it, so none may come."""
    gate = await open_gate(**({"tickle_interval_s": 30.0} if kind == SIMULATED else {}))
    gate.log_out()

    await sign_in(gate)
    wire = await connect(gate)
    response = await with_timeout(wire.call("GET", STATUS))
    wire.abort()

    assert response.json()["authenticated"] is True
