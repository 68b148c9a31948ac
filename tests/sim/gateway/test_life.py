"""What the Gateway does unasked."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim import Simulator
from tests.clocks import ManualClock
from tests.sim.wire import Wire, connect

STATUS = "/v1/api/iserver/auth/status"
CHAIN = [
    "/v1/api/sso/validate?gw=1",
    "/v1/api/one/user",
    "/v1/api/ssodh/init",
    "/v1/api/ssodh/st",
    "/sso/Authenticator?ACTION=PUBLISH_TST&RANDOM=1",
    "/v1/api/iserver/auth/status",
    "/v1/api/iserver/auth/ssodh/init",
    "/v1/api/iserver/auth/ssodh/response",
    "/v1/api/iserver/accounts",
]
ASLEEP = 2
"""Sleepers of a Gateway that is logged in: its tickle and its ping."""


async def test_a_browser_login_is_followed_by_the_gateways_own_chain(clock: ManualClock) -> None:
    """Brokerage authentication comes `auth_delay` later, by a call that always competes."""
    async with Simulator(clock=clock, logged_in=False) as sim:
        await sim.browser_login()
        await clock.asleep(1)
        assert clock.next_alarm == 3.0
        clock.advance(3)
        await sim.arrived("/iserver/accounts")

        own = [seen for seen in sim.calls() if seen.own]
        assert [seen.target for seen in own] == CHAIN
        assert own[6].json()["compete"] is True
        assert sim.market.world.sessions.is_authenticated(clock.now())


async def test_the_success_text_proves_nothing(clock: ManualClock) -> None:
    """It is said even though nobody is authenticated yet; IBKR's cookies and target come along."""
    async with Simulator(clock=clock, logged_in=False) as sim:
        wire = await connect(sim)
        said = await wire.call("GET", "/sso/Dispatcher")
        status = await wire.call("GET", STATUS)
        wire.drop()

    assert (said.status, said.body) == (200, b"Client login succeeds")
    assert said.header("Location")
    assert len(said.headers("Set-Cookie")) > 1
    assert status.json()["authenticated"] is False


async def test_a_redirect_with_a_body_keeps_its_status(sim: Simulator, wire: Wire) -> None:
    """The Gateway's text follows it."""
    sim.faults.add("status", path="/sso/Dispatcher", times=1, status=302, body="moved")

    said = await wire.call("GET", "/sso/Dispatcher")

    assert (said.status, said.body) == (302, b"movedClient login succeeds")


async def test_the_gateway_tickles_every_thirty_seconds(sim: Simulator, clock: ManualClock) -> None:
    """By itself, with GET."""
    for count in (1, 2, 3):
        await clock.asleep(ASLEEP)
        clock.advance(30)
        calls = await sim.arrived("/tickle", count)

    assert {(seen.method, seen.own) for seen in calls} == {("GET", True)}


async def test_the_login_is_pinged_every_five_minutes(sim: Simulator, clock: ManualClock) -> None:
    """Beside the tickle."""
    await clock.asleep(ASLEEP)

    clock.advance(300)

    assert (await sim.arrived("/sso/ping"))[0].own


@pytest.mark.parametrize("lost", ["brokerage-lost", "competing"])
async def test_a_lost_brokerage_session_makes_the_gateway_log_out(
    sim: Simulator, clock: ManualClock, wire: Wire, lost: str
) -> None:
    """Connected but not authenticated, says its own tickle: with that the whole login goes."""
    sim.faults.add(lost)
    await clock.asleep(ASLEEP)

    clock.advance(30)
    await sim.arrived("/logout")
    await clock.asleep(ASLEEP)

    assert (await wire.call("GET", STATUS)).status == 401


async def test_a_session_repaired_in_time_stays(sim: Simulator, clock: ManualClock, wire: Wire) -> None:
    """ssodh/init passes through; thirty seconds are the most there is."""
    sim.lose_brokerage()
    await wire.call("POST", "/v1/api/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    await clock.asleep(ASLEEP)

    clock.advance(30)
    await sim.arrived("/tickle")
    await clock.asleep(ASLEEP)

    assert sim.calls("/logout") == []
    assert (await wire.call("GET", STATUS)).json()["authenticated"] is True


async def test_a_failed_tickle_begins_the_chain_anew(sim: Simulator, clock: ManualClock) -> None:
    """From the validation on, and then tickles again."""
    sim.faults.add("empty-503", path="/tickle", times=1, own=True)
    await clock.asleep(ASLEEP)
    clock.advance(30)
    await sim.arrived("/sso/Authenticator")
    await clock.asleep(ASLEEP)
    clock.advance(3)
    await sim.arrived("/iserver/accounts")
    await clock.asleep(ASLEEP)

    clock.advance(30)

    await sim.arrived("/tickle", 2)


async def test_after_five_failed_validations_it_gives_up(sim: Simulator, clock: ManualClock) -> None:
    """Without a word, and no tickle is sent any more."""
    sim.log_out()
    await clock.asleep(ASLEEP)
    clock.advance(30)
    for count in range(1, 5):
        await sim.arrived("/sso/validate", count)
        await clock.asleep(ASLEEP)
        clock.advance(3)
    await sim.arrived("/sso/validate", 5)
    await sim.gateway.life.settled()

    clock.advance(120)

    assert len(sim.calls("/sso/validate")) == 5
    assert len(sim.calls("/tickle")) == 1


async def test_a_clients_logout_is_only_forwarded(sim: Simulator, clock: ManualClock, wire: Wire) -> None:
    """The jar keeps the dead cookies, and the Gateway goes on believing."""
    assert (await wire.call("POST", "/v1/api/logout")).status == 200

    assert sim.gateway.jar.value("XYZAB_AM.LOGIN")
    assert (await wire.call("GET", STATUS)).status == 401
    assert (await wire.call("GET", "/v1/api/iserver/reauthenticate")).json() == {"message": "triggered"}
