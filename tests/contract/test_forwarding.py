"""What reaches IBKR of a client's call, and what does not: target, headers, cookies."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.conftest import Dial, OpenGate
from tests.contract.gateways import sign_in
from tests.harness import with_timeout
from tests.sim.wire import Wire, connect

STATUS = "/v1/api/iserver/auth/status"
NOBODY = "REGION=; USERID="


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/v1/api/a%2Fb", "/v1/api/a%2Fb"),
        ("/v1/api/a/../b//c", "/v1/api/a/../b//c"),
        ("/v1/api/a+b{}|", "/v1/api/a+b{}|"),
        ("/v1/api/x?a&a=&a=1+2&b=%20", "/v1/api/x?a&a=&a=1+2&b=%20"),
        ("/v1/portal/one/user", "/v1/api/one/user"),
        ("/v1/api/x?next=/v1/portal/y", "/v1/api/x?next=/v1/api/y"),
    ],
)
async def test_targets_are_forwarded_unchanged_except_for_the_old_prefix(
    gate: MarketStage, wire: Wire, sent: str, arrives: str
) -> None:
    """The old prefix is replaced everywhere in the target."""
    await with_timeout(wire.call("GET", sent))

    assert [logged.target for logged in gate.calls() if not logged.is_own_call] == [arrives]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("User-Agent", "somebody/1"),
        ("Origin", "http://x"),
        ("Referer", "http://x/y"),
        ("Authorization", "Basic eA=="),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Via", "1.1 x"),
        ("X-Bridge-Key", "a secret"),
        ("Proxy-Authorization", "Basic eA=="),
    ],
)
async def test_a_clients_headers_pass(gate: MarketStage, wire: Wire, name: str, value: str) -> None:
    """A proxy must itself remove headers that IBKR should not see."""
    await with_timeout(wire.call("GET", STATUS, headers={name: value}))

    assert gate.calls(STATUS)[-1].header(name) == value


async def test_repeated_headers_stay_repeated(gate: MarketStage, wire: Wire) -> None:
    """Their order stays too."""
    wire.send(f"GET {STATUS} HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\n\r\n".encode())
    await with_timeout(wire.receive_response())

    assert [value for name, value in gate.calls(STATUS)[-1].headers if name.lower() == "x-a"] == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "value"), [("Host", "evil.example"), ("Accept-Encoding", "gzip"), ("Cookie", "XYZAB=stolen")]
)
async def test_three_headers_do_not_pass(gate: MarketStage, wire: Wire, name: str, value: str) -> None:
    """Host and Cookie are the Gateway's own, and Accept-Encoding is removed."""
    wire.send(f"GET {STATUS} HTTP/1.1\r\n{name}: {value}\r\n\r\n".encode())
    await with_timeout(wire.receive_response())

    assert value not in (gate.calls(STATUS)[-1].header(name) or "")


async def test_the_clients_address_is_not_forwarded(gate: MarketStage, wire: Wire) -> None:
    """The Gateway adds no X-Forwarded-For of its own."""
    await with_timeout(wire.call("GET", STATUS))

    assert gate.calls(STATUS)[-1].header("X-Forwarded-For") is None


# -- the one cookie jar


def cookies(gate: MarketStage, part: str = STATUS) -> str:
    """The Cookie header of the last call to IBKR whose target contains `part`."""
    return gate.calls(part)[-1].header("Cookie") or ""


async def test_before_a_login_ibkr_answers_401_not_the_gateway(open_gate: OpenGate) -> None:
    """Such calls are forwarded with cookies that have no value."""
    gate = await open_gate(signed_in=False)
    wire = await connect(gate)

    response = await with_timeout(wire.call("GET", STATUS))
    wire.abort()

    assert (response.status, cookies(gate)) == (401, NOBODY)


async def test_every_client_shares_the_login(dial: Dial) -> None:
    """A client needs no cookies, and stale ones do no harm."""
    first, second = await dial(), await dial()

    assert (await with_timeout(first.call("GET", STATUS))).status == 200
    stale = await with_timeout(second.call("GET", STATUS, headers={"Cookie": "XYZAB_AM.LOGIN=stale"}))
    assert stale.status == 200


async def test_cookies_of_the_api_go_only_to_the_client(gate: MarketStage, wire: Wire) -> None:
    """The jar does not store them, not even with a name on its list. Domains pass unchanged."""
    line = "api=new; Domain=.ibkr.com; Path=/; Secure"
    gate.faults.add("status", path=STATUS, times=1, status=200, headers={"Set-Cookie": line})

    response = await with_timeout(wire.call("GET", STATUS))
    await with_timeout(wire.call("GET", STATUS))

    assert line in response.headers("Set-Cookie")
    assert "api=new" not in cookies(gate)


@pytest.mark.parametrize(
    ("line", "is_stored"),
    [
        ("api=1; Path=/", True),
        ("cp=1; Path=/api; Domain=.elsewhere.com; Secure", True),
        ("portal=1; Path=/elsewhere", False),
        ("api=1; Max-Age=0; Path=/", True),
        ("api=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/", True),
        ("x-sess-uuid=1; HttpOnly; secure", False),
        ("SBID=1; Path=/", False),
    ],
)
async def test_cookies_of_the_login_pages_are_stored_by_name_and_path(
    gate: MarketStage, wire: Wire, line: str, is_stored: bool
) -> None:
    """A request's path must contain the cookie's path, anywhere. Domains, ages and dates are ignored."""
    gate.faults.add("status", path="/sso/Login", times=1, status=200, headers={"Set-Cookie": line})
    await with_timeout(wire.call("GET", "/sso/Login"))

    await with_timeout(wire.call("GET", STATUS))

    assert (line.partition(";")[0] in cookies(gate)) is is_stored


async def test_ibkr_cannot_delete_a_cookie(gate: MarketStage, wire: Wire) -> None:
    """An empty value is ignored."""
    for line in ("api=1; Path=/", "api=; Path=/; Max-Age=0"):
        gate.faults.add("status", path="/sso/Login", times=1, status=200, headers={"Set-Cookie": line})
        await with_timeout(wire.call("GET", "/sso/Login"))

    await with_timeout(wire.call("GET", STATUS))

    assert "api=1" in cookies(gate)


@pytest.mark.parametrize(("name", "is_stored"), [("XYZAB", True), ("XYZAB_AM.LOGIN", True), ("api", False)])
async def test_a_client_can_send_a_login_to_the_login_pages(
    gate: MarketStage, wire: Wire, name: str, is_stored: bool
) -> None:
    """The Gateway then uses it for all clients."""
    await with_timeout(wire.call("GET", "/sso/Login", headers={"Cookie": f"{name}=brought"}))

    await with_timeout(wire.call("GET", STATUS))

    assert (f"{name}=brought" in cookies(gate)) is is_stored


async def test_clear_destroys_the_session_for_everybody(gate: MarketStage, wire: Wire) -> None:
    """Any web page on the machine can cause that."""
    await with_timeout(wire.call("GET", "/clear"))

    assert (await with_timeout(wire.call("GET", STATUS))).status == 401
    assert cookies(gate) == NOBODY


async def test_a_clients_logout_is_only_forwarded(gate: MarketStage, wire: Wire) -> None:
    """The jar keeps the invalid cookies, and the Gateway still takes the login for valid."""
    assert (await with_timeout(wire.call("POST", "/v1/api/logout"))).status == 200

    assert (await with_timeout(wire.call("GET", STATUS))).status == 401
    assert "XYZAB=" in cookies(gate)
    assert (await with_timeout(wire.call("GET", "/v1/api/iserver/reauthenticate"))).json() == {"message": "triggered"}


async def test_a_restart_forgets_the_login(gate: MarketStage, silence_s: float) -> None:
    """Cookies exist in memory only. A new login works."""
    await with_timeout(gate.restart(), 40)
    wire = await connect(gate, silence_s=silence_s)
    forgotten = await with_timeout(wire.call("GET", STATUS))

    await sign_in(gate)
    again = await with_timeout(wire.call("GET", STATUS))
    wire.abort()

    assert (forgotten.status, again.status) == (401, 200)


async def test_a_restart_drops_connected_clients(gate: MarketStage, wire: Wire) -> None:
    """The connection ends without a response, even during a call."""
    gate.faults.add("silence", path=STATUS)
    wire.send_request("GET", STATUS)
    await with_timeout(gate.wait_for_calls(STATUS))

    await with_timeout(gate.restart(), 40)

    with suppress(ConnectionError):
        assert await with_timeout(wire.read_to_end()) == b""
