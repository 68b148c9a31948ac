"""The times of the Gateway's own calls; the contract tests which calls they are."""

from __future__ import annotations

from ibkr_bridge.sim import Simulator
from tests.clocks import ManualClock

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
SLEEPERS = 2
"""Sleepers of a Gateway that is logged in: its tickle and its ping."""


async def test_a_browser_login_is_followed_by_the_gateways_own_chain(clock: ManualClock) -> None:
    """It authenticates `auth_delay_s` after the login, with a call that always competes."""
    async with Simulator(clock=clock, logged_in=False) as sim:
        await sim.log_in_by_browser()
        await clock.wait_for_sleepers(1)
        assert clock.next_alarm == 3.0
        clock.advance(3)
        await sim.wait_for_calls("/iserver/accounts")

        own = [logged for logged in sim.calls() if logged.is_own_call]
        assert [logged.target for logged in own] == CHAIN
        assert own[6].json()["compete"] is True
        assert sim.market.world.sessions.is_authenticated(clock.now())


async def test_the_gateway_tickles_every_thirty_seconds(sim: Simulator, clock: ManualClock) -> None:
    """It does so by itself, with GET."""
    for count in (1, 2, 3):
        await clock.wait_for_sleepers(SLEEPERS)
        clock.advance(30)
        calls = await sim.wait_for_calls("/tickle", count)

    assert {(logged.method, logged.is_own_call) for logged in calls} == {("GET", True)}


async def test_the_login_is_pinged_every_five_minutes(sim: Simulator, clock: ManualClock) -> None:
    """The pings come in addition to the tickles."""
    await clock.wait_for_sleepers(SLEEPERS)

    clock.advance(300)

    assert (await sim.wait_for_calls("/sso/ping"))[0].is_own_call


async def test_after_five_failed_validations_it_stops(sim: Simulator, clock: ManualClock) -> None:
    """There is no message, and no tickle is sent any more."""
    sim.log_out()
    await clock.wait_for_sleepers(SLEEPERS)
    clock.advance(30)
    for count in range(1, 5):
        await sim.wait_for_calls("/sso/validate", count)
        await clock.wait_for_sleepers(SLEEPERS)
        clock.advance(3)
    await sim.wait_for_calls("/sso/validate", 5)
    await sim.gateway.lifecycle.wait_for_chain()

    clock.advance(120)

    assert len(sim.calls("/sso/validate")) == 5
    assert len(sim.calls("/tickle")) == 1
