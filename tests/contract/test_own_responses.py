"""What the Gateway answers by itself, without a call to IBKR."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.gateway.rules import Settings
from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.conftest import Dial, OpenGate
from tests.harness import with_timeout
from tests.sim.wire import Wire, connect

STATUS = "/v1/api/iserver/auth/status"
LOGIN_PAGE = "/sso/Login?forwardTo=22&RL=1&ip2loc=US"
ORIGIN = {"Origin": "https://evil.example"}


def calls_to_ibkr(gate: MarketStage) -> list[str]:
    """The targets of the clients' calls that reached IBKR."""
    return [logged.target for logged in gate.calls() if not logged.is_own_call]


@pytest.mark.parametrize(
    ("target", "status", "body", "location"),
    [
        ("/", 302, "", LOGIN_PAGE),
        ("/clear", 200, "cleared", None),
        ("/v1/am/x", 200, "Unknown service am", None),
        ("/v1/tws/x?y=z", 200, "Unknown service tws", None),
        ("/v1/api/tickle?param1=x", 200, "Unknown service x", None),
        ("/v1/api/tickle?PARAM1=x", 200, "Unknown service x", None),
        ("/v1/api/tickle?a=b;param1=x", 200, "Unknown service x", None),
    ],
)
async def test_the_gateway_answers_some_paths_itself(
    gate: MarketStage, wire: Wire, target: str, status: int, body: str, location: str | None
) -> None:
    """Nothing is forwarded."""
    response = await with_timeout(wire.call("GET", target))

    assert (response.status, response.body.decode(), response.header("Location")) == (status, body, location)
    assert calls_to_ibkr(gate) == []


@pytest.mark.parametrize("target", ["/favicon.ico", "/v1/foo", "/v2/api/x", "/v1/api", "/V1/API/tickle", "/health"])
async def test_other_paths_are_redirected_to_ibkr(gate: MarketStage, wire: Wire, target: str) -> None:
    """No client should follow this redirect."""
    response = await with_timeout(wire.call("GET", target))

    assert response.status == 302
    assert (response.header("Location") or "").startswith("https://api.")
    assert (response.header("Location") or "").endswith(target)
    assert calls_to_ibkr(gate) == []


@pytest.mark.parametrize("prefix", ["/css", "/scripts/a.js", "/stylesheet/x", "/images/y.png", "/fonts/z", "/sso/x"])
async def test_the_files_of_the_login_pages_come_from_ibkr(gate: MarketStage, wire: Wire, prefix: str) -> None:
    """They are forwarded like the API."""
    await with_timeout(wire.call("GET", prefix))

    assert calls_to_ibkr(gate) == [prefix]


@pytest.mark.parametrize("prefix", ["/v1/api", "/v1/portal"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_reauthenticate_always_says_triggered(gate: MarketStage, wire: Wire, prefix: str, method: str) -> None:
    """It says so even after the login has ended; the Gateway runs its own chain again."""
    gate.log_out()

    response = await with_timeout(wire.call(method, f"{prefix}/iserver/reauthenticate"))

    assert (response.status, response.json()) == (200, {"message": "triggered"})
    assert gate.calls("reauthenticate") == []
    assert (await with_timeout(gate.wait_for_calls("/sso/validate")))[0].is_own_call


async def test_reauthenticate_before_the_first_login_says_so(open_gate: OpenGate) -> None:
    """The status is 200."""
    wire = await connect(await open_gate(signed_in=False))

    response = await with_timeout(wire.call("POST", "/v1/api/iserver/reauthenticate"))
    wire.abort()

    assert (response.status, response.json()) == (200, {"error": "not logged in"})


@pytest.mark.parametrize("target", ["/v1/am/x", "/clear"])
async def test_any_origin_is_allowed(wire: Wire, target: str) -> None:
    """The header is on the Gateway's own responses."""
    assert (await with_timeout(wire.call("GET", target, headers=ORIGIN))).header("Access-Control-Allow-Origin") == "*"


async def test_without_an_origin_there_is_no_cors_header(wire: Wire) -> None:
    """A client that is not a browser sends no origin."""
    assert (await with_timeout(wire.call("GET", "/v1/am/x"))).header("Access-Control-Allow-Origin") is None


async def test_a_preflight_is_answered_by_the_gateway(gate: MarketStage, wire: Wire) -> None:
    """It answers 204 with the allowed methods and headers."""
    headers = {**ORIGIN, "Access-Control-Request-Method": "POST"}

    response = await with_timeout(wire.call("OPTIONS", STATUS, headers=headers))

    assert (response.status, response.header("Access-Control-Allow-Methods")) == (204, "POST,GET,OPTIONS,DELETE,PUT")
    assert response.header("Access-Control-Allow-Headers") == "Content-Type,portal,Cookie"
    assert calls_to_ibkr(gate) == []


async def test_the_host_is_not_checked(wire: Wire) -> None:
    """So a name that an attacker points at this machine is accepted."""
    wire.send(f"GET {STATUS} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())

    assert (await with_timeout(wire.receive_response())).status == 200


@pytest.mark.parametrize(("origin", "target"), [("null", "/clear"), ("https://x", "/v1/api/logout"), ("a", STATUS)])
async def test_foreign_origins_can_be_refused(open_gate: OpenGate, origin: str, target: str) -> None:
    """This needs a configured origin. Nothing is forwarded, and the session stays."""
    gate = await open_gate(settings=Settings(cors="https://localhost:5000"))
    wire = await connect(gate)

    refused = await with_timeout(wire.call("GET", target, headers={"Origin": origin}))
    passed = await with_timeout(wire.call("GET", STATUS))
    wire.abort()

    assert refused.raw.startswith("HTTP/1.1 403 CORS Rejected - Invalid origin")
    assert passed.json()["authenticated"] is True
    assert calls_to_ibkr(gate) == [STATUS]


async def test_the_configured_origin_passes(open_gate: OpenGate) -> None:
    """The setting is a regular expression that must match the complete origin."""
    gate = await open_gate(settings=Settings(cors="https://localhost:[0-9]+"))
    wire = await connect(gate)

    passed = await with_timeout(wire.call("GET", STATUS, headers={"Origin": "https://localhost:5000"}))
    wire.abort()

    assert passed.status == 200


async def test_an_address_that_is_not_listed_is_denied(gate: MarketStage, dial: Dial) -> None:
    """The status is 404, not 403."""
    response = await with_timeout((await dial("127.0.0.2")).call("GET", STATUS))

    assert (response.status, response.body) == (404, b"Access Denied")
    assert calls_to_ibkr(gate) == []


@pytest.mark.parametrize(
    ("settings", "source", "status"),
    [
        (Settings(allow=None), "127.0.0.9", 200),
        (Settings(deny=None), "127.0.0.9", 200),
        (Settings(allow=("127.0.*",)), "127.0.0.9", 200),
        (Settings(deny=("127.*",)), "127.0.0.1", 404),
        (Settings(deny=("0.0.0.0/0",)), "127.0.0.1", 200),
    ],
)
async def test_addresses_are_checked_against_two_lists(
    open_gate: OpenGate, settings: Settings, source: str, status: int
) -> None:
    """Only stars have a meaning, not masks. If a list is missing, every address has access."""
    wire = await connect(await open_gate(signed_in=False, settings=settings), source)

    response = await with_timeout(wire.call("GET", "/clear"))
    wire.abort()

    assert response.status == status
