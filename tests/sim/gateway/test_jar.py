"""The one cookie jar."""

from __future__ import annotations

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.gateway.jar import Jar
from tests.sim.conftest import Dial
from tests.sim.wire import Wire, connect

STATUS = "/v1/api/iserver/auth/status"


def test_names_not_on_the_list_never_enter() -> None:
    """`x-sess-uuid`, for instance."""
    jar = Jar()

    jar.set_by_ibkr(["x-sess-uuid=1; HttpOnly; secure", "api=2; Path=/"])

    assert jar.header("/v1/api/tickle") == "REGION=; USERID=; api=2"


def test_a_cookie_goes_along_where_the_path_contains_its_path() -> None:
    """Contains, not begins with; domain and Secure are ignored."""
    jar = Jar()

    jar.set_by_ibkr(["cp=1; Path=/api; Domain=.elsewhere.com; Secure"])

    assert "cp=1" in jar.header("/v1/api/x")
    assert "cp=1" not in jar.header("/sso/Login")


def test_ibkr_cannot_delete_a_cookie() -> None:
    """An empty value is skipped, ages and dates are ignored."""
    jar = Jar()
    jar.set_by_ibkr(["api=1"])

    jar.set_by_ibkr(["api=; Max-Age=0", "api=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT"])

    assert jar.value("api") == "2"


def test_clients_give_two_names_only() -> None:
    """Those of the login."""
    jar = Jar()

    jar.sent_by_client("XYZAB=1; api=2; XYZAB_AM.LOGIN=3")

    assert (jar.value("XYZAB"), jar.value("api"), jar.value("XYZAB_AM.LOGIN")) == ("1", None, "3")


async def test_every_client_shares_the_login(sim: Simulator, dial: Dial) -> None:
    """No cookies are needed, and stale ones do no harm."""
    first, second = await dial(), await dial()

    assert (await first.call("GET", STATUS)).status == 200
    assert (await second.call("GET", STATUS, headers={"Cookie": "XYZAB_AM.LOGIN=stale"})).status == 200


async def test_cookies_of_the_api_go_to_the_client_alone(sim: Simulator, wire: Wire) -> None:
    """They are not kept, not even by a name on the list."""
    sim.faults.add("status", status=200, headers={"Set-Cookie": "api=new; Path=/"})

    answer = await wire.call("GET", STATUS)

    assert "api=new; Path=/" in answer.headers("Set-Cookie")
    assert sim.gateway.jar.value("api") is None


async def test_a_client_can_bring_a_login_along_to_the_login_pages(sim: Simulator, wire: Wire) -> None:
    """And it stays for everybody."""
    await wire.call("GET", "/sso/Login", headers={"Cookie": "XYZAB=brought"})

    assert sim.gateway.jar.value("XYZAB") == "brought"
    assert sim.gateway.jar.value("URL_PARAM") == "forwardTo%3D22"


async def test_clear_destroys_the_session_for_everybody(sim: Simulator, wire: Wire) -> None:
    """Any page on the machine can do that."""
    await wire.call("GET", "/clear")

    assert (await wire.call("GET", STATUS)).status == 401
    assert sim.calls(STATUS)[0].header("Cookie") == "REGION=; USERID="


async def test_before_a_login_ibkr_answers_401_not_the_gateway() -> None:
    """Such calls are forwarded."""
    async with Simulator(logged_in=False) as sim:
        wire = await connect(sim)
        answer = await wire.call("GET", STATUS)
        wire.drop()

        assert answer.status == 401
        assert len(sim.calls(STATUS)) == 1
