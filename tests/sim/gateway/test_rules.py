"""What the Gateway answers by itself, and how it changes what it passes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.gateway.rules import (
    Settings,
    is_allowed,
    is_unanswerable,
    own_answer,
    upstream_headers,
    upstream_target,
)
from ibkr_bridge.sim.gateway.wire import Head
from tests.sim.conftest import Dial
from tests.sim.wire import Wire, connect

STATUS = "/v1/api/iserver/auth/status"
LOGIN_PAGE = "/sso/Login?forwardTo=22&RL=1&ip2loc=US"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/", (302, "", LOGIN_PAGE)),
        ("/clear", (200, "cleared", None)),
        ("/v1/am/x", (200, "Unknown service am", None)),
        ("/v1/tws/x?y=z", (200, "Unknown service tws", None)),
        ("/v1/api/tickle?param1=x", (200, "Unknown service x", None)),
        ("/v1/api/tickle?a=b;PARAM1=x", (200, "Unknown service x", None)),
        ("/favicon.ico", (302, "", "https://api.ibkr.com/favicon.ico")),
        ("/v1/foo", (302, "", "https://api.ibkr.com/v1/foo")),
        ("/v1/api", (302, "", "https://api.ibkr.com/v1/api")),
        ("/V1/API/tickle", (302, "", "https://api.ibkr.com/V1/API/tickle")),
    ],
)
async def test_some_paths_are_answered_by_the_gateway_itself(
    sim: Simulator, wire: Wire, target: str, said: tuple[int, str, str | None]
) -> None:
    """Without a call upstream."""
    answer = await wire.call("GET", target)

    assert (answer.status, answer.body.decode(), answer.header("Location")) == said
    assert sim.calls() == []


@pytest.mark.parametrize("prefix", ["/v1/api", "/v1/portal"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_reauthenticate_says_triggered_whatever_is_true(
    sim: Simulator, wire: Wire, prefix: str, method: str
) -> None:
    """Even when the login is long gone."""
    sim.log_out()

    answer = await wire.call(method, f"{prefix}/iserver/reauthenticate")

    assert answer.json() == {"message": "triggered"}
    assert sim.calls("reauthenticate") == []
    assert (await sim.arrived("/sso/validate"))[0].own  # its own chain is walked again


async def test_reauthenticate_before_the_first_login_says_so() -> None:
    """With status 200."""
    async with Simulator(logged_in=False) as sim:
        wire = await connect(sim)
        answer = await wire.call("POST", "/v1/api/iserver/reauthenticate")
        wire.drop()

    assert (answer.status, answer.json()) == (200, {"error": "not logged in"})


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/v1/api/a%2Fb+{}|..//x?a&a=&a=1", "/v1/api/a%2Fb+{}|..//x?a&a=&a=1"),
        ("/v1/portal/tickle?x=/v1/portal", "/v1/api/tickle?x=/v1/api"),
        ("/v1/api/caf\xc3\xa9", "/v1/api/caf\xc3\x83\xc2\xa9"),
    ],
)
def test_targets_go_on_byte_for_byte_but_for_two_oddities(sent: str, arrives: str) -> None:
    """The old prefix is replaced everywhere, and bytes beyond ASCII are doubled."""
    assert upstream_target(sent) == arrives


async def test_a_strange_target_reaches_ibkr_as_it_was_sent(sim: Simulator, wire: Wire) -> None:
    """Over the wire as well."""
    target = "/v1/api/a%2Fb/../c//d|{}?a&a=&a=1+2"

    await wire.call("GET", target)

    assert [seen.target for seen in sim.calls()] == [target]


async def test_headers_pass_except_four(sim: Simulator, wire: Wire) -> None:
    """Repeated ones too; Host and Cookie are replaced, Accept-Encoding and Transfer-Encoding go."""
    wire.say(
        f"GET {STATUS} HTTP/1.1\r\nHost: evil\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nX-A: 1\r\nX-A: 2\r\n"
        "Origin: http://x\r\nAuthorization: Basic eA==\r\nVia: 1.1 x\r\n\r\n".encode()
    )
    await wire.hear()

    [seen] = sim.calls(STATUS)
    assert [value for name, value in seen.headers if name == "X-A"] == ["1", "2"]
    assert (seen.header("Host"), seen.header("Accept-Encoding")) == ("api.ibkr.com", None)
    assert "a=b" not in (seen.header("Cookie") or "")
    assert (seen.header("Origin"), seen.header("Authorization"), seen.header("Via")) == (
        "http://x",
        "Basic eA==",
        "1.1 x",
    )
    assert seen.header("X-Forwarded-For") is None


async def test_any_origin_is_told_it_may(wire: Wire) -> None:
    """In the Gateway's own answers, that is; IBKR's headers take the place of the permission."""
    origin = {"Origin": "https://evil.example"}

    for target, said in ((STATUS, None), ("/v1/am/x", "*"), ("/clear", "*")):
        assert (await wire.call("GET", target, headers=origin)).header("Access-Control-Allow-Origin") == said


async def test_a_preflight_is_answered_by_the_gateway(sim: Simulator, wire: Wire) -> None:
    """204 and what is allowed."""
    headers = {"Origin": "https://x", "Access-Control-Request-Method": "POST"}

    answer = await wire.call("OPTIONS", STATUS, headers=headers)

    assert (answer.status, answer.header("Access-Control-Allow-Methods")) == (204, "POST,GET,OPTIONS,DELETE,PUT")
    assert answer.header("Access-Control-Allow-Headers") == "Content-Type,portal,Cookie"
    assert sim.calls() == []


@pytest.fixture
async def strict() -> AsyncIterator[Simulator]:
    """A Gateway configured for one origin."""
    async with Simulator(settings=Settings(cors=r"https://localhost:5000")) as sim:
        yield sim


async def test_a_foreign_origin_can_be_refused(strict: Simulator) -> None:
    """It does not even reach `/clear`; a request without Origin passes."""
    wire = await connect(strict)

    refused = await wire.call("GET", "/clear", headers={"Origin": "null"})
    passed = await wire.call("GET", STATUS)

    assert refused.raw.startswith("HTTP/1.1 403 CORS Rejected - Invalid origin")
    assert passed.json()["authenticated"] is True
    wire.drop()


async def test_an_address_that_is_not_listed_is_denied(sim: Simulator, dial: Dial) -> None:
    """404, not 403."""
    answer = await (await dial("127.0.0.2")).call("GET", STATUS)

    assert (answer.status, answer.body) == (404, b"Access Denied")
    assert sim.calls() == []


@pytest.mark.parametrize(
    ("settings", "address", "allowed"),
    [
        (Settings(), "127.0.0.1", True),
        (Settings(), "10.1.2.3", True),
        (Settings(), "192.168.1.1", True),
        (Settings(), "172.16.0.1", False),
        (Settings(deny=("127.*",)), "127.0.0.1", False),
        (Settings(deny=("0.0.0.0/0",)), "127.0.0.1", True),
        (Settings(allow=None), "8.8.8.8", True),
        (Settings(deny=None), "8.8.8.8", True),
    ],
)
def test_addresses_are_judged_by_two_lists(settings: Settings, address: str, allowed: bool) -> None:
    """Stars only, no masks; and if a list is missing everybody may."""
    assert is_allowed(settings, address) is allowed


TEXT = some.text(some.characters(min_codepoint=1, max_codepoint=255), max_size=80)


@settings(deadline=None)
@given(TEXT, some.lists(some.tuples(TEXT, TEXT), max_size=5))
def test_no_target_or_header_confuses_the_rules(target: str, headers: list[tuple[str, str]]) -> None:
    """Whatever a client sends is answered, passed on, or met with silence."""
    head = Head("GET", target, "HTTP/1.1", tuple(headers))

    is_unanswerable(head)
    own_answer(head, logged_in=True)
    upstream_target(target).encode("latin-1")
    upstream_headers(head, "api.ibkr.com", "")
