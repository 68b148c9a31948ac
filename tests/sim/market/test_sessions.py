"""Login and brokerage session, and what each call needs."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.dispatch import RequiredSession
from ibkr_bridge.sim.market.sessions import RIVAL_DELAY_S
from ibkr_bridge.sim.market.table import ROUTES
from tests.clocks import ManualClock
from tests.sim.wire import Wire

API = "/v1/api"
STATUS = f"{API}/iserver/auth/status"
INIT = f"{API}/iserver/auth/ssodh/init"
FIRST = {"error": "Please query /accounts first"}
OPEN = {"publish": True, "compete": True}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_status_and_tickle_answer_get_and_post(wire: Wire, method: str) -> None:
    """The responses have IBKR's shape."""
    status = (await wire.call(method, STATUS)).json()
    tickle = (await wire.call(method, f"{API}/tickle")).json()

    assert (status["authenticated"], status["established"], status["connected"]) == (True, True, True)
    assert tickle["iserver"]["authStatus"] == status
    assert (tickle["hmds"], tickle["collission"], tickle["ssoExpires"]) == ({"error": "no bridge"}, False, 600_000)
    assert tickle["session"]


async def test_without_a_login_everything_is_401_in_plain_text(sim: Simulator, wire: Wire) -> None:
    """The body is not JSON."""
    sim.log_out()

    response = await wire.call("GET", f"{API}/portfolio/accounts")

    assert (response.status, response.header("Content-Type")) == (401, "text/plain")


async def test_without_a_brokerage_session_there_is_no_bridge(sim: Simulator, wire: Wire) -> None:
    """IBKR says so for /iserver; other calls need only the login."""
    sim.lose_brokerage()

    response = await wire.call("GET", f"{API}/iserver/accounts")

    assert (response.status, response.json()) == (400, {"error": "Bad Request: no bridge", "statusCode": 400})
    assert (await wire.call("GET", f"{API}/portfolio/accounts")).status == 200
    assert (await wire.call("GET", STATUS)).json()["connected"] is True


async def test_a_brokerage_session_opens_in_two_steps(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """It is authenticated first and established later; in between, accounts are empty and do not count as read."""
    sim.lose_brokerage()
    assert (await wire.call("POST", INIT, OPEN)).json()["authenticated"] is False

    clock.advance(0.2)
    between = (await wire.call("GET", STATUS)).json()
    empty = (await wire.call("GET", f"{API}/iserver/accounts")).json()
    clock.advance(0.1)
    after = (await wire.call("GET", STATUS)).json()

    assert (between["authenticated"], between["established"]) == (True, False)
    assert empty["accounts"] == []
    assert after["established"] is True
    assert (await wire.call("GET", f"{API}/iserver/account/orders")).json() == FIRST


async def test_init_without_publish_is_a_server_error(wire: Wire) -> None:
    """IBKR does not answer with 400."""
    assert (await wire.call("POST", INIT, {"compete": True})).status == 500


@pytest.mark.parametrize("compete", [True, False])
async def test_a_client_that_does_not_compete_gets_no_session(
    sim: Simulator, wire: Wire, clock: ManualClock, compete: bool
) -> None:
    """Another program holds the session."""
    sim.start_competing()
    assert (await wire.call("GET", STATUS)).json()["competing"] is True

    await wire.call("POST", INIT, {"publish": True, "compete": compete})
    clock.advance(1)

    status = (await wire.call("GET", STATUS)).json()
    assert (status["authenticated"], status["competing"]) == (compete, not compete)


async def test_a_rival_that_stays_takes_the_session_again_each_time_until_cleared(
    sim: Simulator, wire: Wire, clock: ManualClock
) -> None:
    """It lasts two seconds, as with two programs that both insist on it."""

    async def reopen() -> list[bool]:
        await wire.call("POST", INIT, OPEN)
        statuses = []
        for seconds in (1, RIVAL_DELAY_S):
            clock.advance(seconds)
            statuses.append((await wire.call("GET", STATUS)).json())
        return [each["authenticated"] and not each["competing"] for each in statuses]

    sim.faults.add("competing-stays")
    before = (await wire.call("GET", STATUS)).json()
    during = [await reopen() for _ in range(2)]
    sim.faults.clear("competing-stays")

    assert before["competing"] is True
    assert during == [[True, False]] * 2
    assert await reopen() == [True, True]


@pytest.mark.parametrize(
    "path",
    [
        "/iserver/account/orders",
        "/iserver/account/trades",
        "/iserver/marketdata/snapshot?conids=265598&fields=31",
        "/iserver/account/DU1234567/summary",
    ],
)
async def test_accounts_must_be_requested_once_in_every_brokerage_session(
    sim: Simulator, wire: Wire, clock: ManualClock, path: str
) -> None:
    """Until then, and after each new opening, calls get a server error."""
    sim.lose_brokerage()
    await wire.call("POST", INIT, OPEN)
    clock.advance(1)
    before = await wire.call("GET", API + path)
    await wire.call("GET", f"{API}/iserver/accounts")
    after = await wire.call("GET", API + path)

    assert (before.status, before.json()) == (500, FIRST)
    assert after.status == 200


async def test_a_login_ends_after_ten_idle_minutes(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """This happens only if the Gateway's own tickle does not arrive either."""
    sim.faults.add("silence", path="/tickle", own=True)
    await clock.wait_for_sleepers(2)
    clock.advance(299)
    await sim.wait_for_calls("/tickle")

    clock.advance(302)

    assert (await wire.call("GET", STATUS)).status == 401


async def test_no_keep_alive_prevents_midnight_in_new_york(sim: Simulator, wire: Wire, clock: ManualClock) -> None:
    """The test's clock starts at noon there."""
    for _ in range(80):
        clock.advance(539)
        await wire.call("GET", STATUS)
    assert (await wire.call("GET", STATUS)).status == 200

    clock.advance(100)

    assert (await wire.call("GET", STATUS)).status == 401


async def test_every_response_sets_a_cookie_that_is_never_stored(sim: Simulator, wire: Wire) -> None:
    """It is `x-sess-uuid`, without a path."""
    response = await wire.call("GET", STATUS)

    [line] = response.headers("Set-Cookie")
    assert line.startswith("x-sess-uuid=")
    assert "path" not in line.lower()
    assert sim.gateway.jar.value("x-sess-uuid") is None


async def test_an_unknown_resource_is_a_page(wire: Wire) -> None:
    """The status is 404 and the body HTML."""
    response = await wire.call("GET", f"{API}/iserver/nonsense")

    assert (response.status, response.body) == (404, b"<html><body><h1>Resource not found</h1></body></html>")


def test_all_of_iserver_needs_the_brokerage_session_except_its_opening() -> None:
    """The table of routes shows it."""
    outside = [route for route in ROUTES if "/iserver/" in route.pattern and route.needs < RequiredSession.BROKERAGE]

    assert {route.pattern.rsplit("/iserver", 1)[1] for route in outside} == {
        "/auth/status",
        "/auth/ssodh/init",
        "/auth/ssodh/response",
    }
