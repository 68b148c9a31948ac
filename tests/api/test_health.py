"""The routes without a key: four for monitors, and the page of the operator, which has no data."""

from __future__ import annotations

import pytest

from ibkr_bridge.api.route import Auth
from ibkr_bridge.api.routes import ALL_ROUTES, ROUTES
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import Harness

OPEN = sorted(route.path for route in ALL_ROUTES if route.auth is Auth.OPEN)


async def test_the_bytes_of_health(harness: Harness) -> None:
    """Monitors compare the text."""
    reply = await harness.get("/health", key=None)

    assert (reply.status, reply.body) == (200, b'{"status":"ok","bridge":"running"}')
    assert reply.headers["Content-Type"].startswith("application/json")


async def test_the_bytes_of_an_open_session(harness: Harness) -> None:
    """The object has one member."""
    reply = await harness.get("/gateway/auth-status", key=None)

    assert (reply.status, reply.body) == (200, b'{"authenticated": true}')


async def test_a_missing_session_comes_with_reason_hint_and_time(harness: Harness, sim: Simulator) -> None:
    """The status is always 200, since the request itself succeeded."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    reply = await harness.get("/gateway/auth-status", key=None)

    assert reply.status == 200
    assert set(reply.json) == {"authenticated", "reason", "hint", "since"}
    assert (reply.json["authenticated"], reply.json["reason"]) == (False, "signed_out")
    assert reply.json["since"].endswith("Z")


async def test_readyz_says_whether_brokerage_calls_work(harness: Harness, sim: Simulator) -> None:
    """Load balancers and start-up scripts wait for `ready`."""
    assert (await harness.get("/readyz", key=None)).body == b"ready"

    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    reply = await harness.get("/readyz", key=None)

    assert reply.status == 503
    assert reply.body.startswith(b"signed_out: ")


async def test_a_paused_bridge_is_not_ready(harness: Harness) -> None:
    """Reads would work, but orders would not."""
    await harness.post("/gateway/pause")

    assert (await harness.get("/readyz", key=None)).status == 503
    assert (await harness.get("/gateway/auth-status", key=None)).json == {"authenticated": True}


async def test_livez_while_all_loops_run(harness: Harness) -> None:
    """The text is `ok`."""
    assert (await harness.get("/livez", key=None)).body == b"ok"


async def test_there_is_no_further_open_route(harness: Harness) -> None:
    """Without a key, only these routes answer, and only to GET and HEAD."""
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
    paths = {route.path for route in ROUTES if "{" not in route.path} | {
        "/",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/x",
    }
    answers = set()
    for path in paths:
        for method in methods:
            if (await harness.request(method, path, key=None)).status != 401:
                answers.add((method, path))

    assert answers == {(method, path) for path in OPEN for method in ("GET", "HEAD")}
    assert set(OPEN) == {"/", "/health", "/livez", "/readyz", "/gateway/auth-status"}


@pytest.mark.parametrize("path", OPEN)
async def test_a_query_is_ignored_and_head_has_no_body(harness: Harness, path: str) -> None:
    """Monitors add a time to the query."""
    head = await harness.request("HEAD", path, key=None)

    assert (await harness.get(f"{path}?t=1", key=None)).status == 200
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/health/", "/HEALTH", "/%68ealth", "/health%2f", "//health", "/gateway/auth-status/x"]
)
async def test_other_spellings_of_them_are_not_open(harness: Harness, path: str) -> None:
    """An open route has exactly one spelling."""
    assert (await harness.get(path, key=None)).status in (400, 401)


async def test_they_answer_while_the_gateway_is_gone(open_harness: OpenHarness, unused_tcp_port: int) -> None:
    """Health is about the bridge only; the others give the reason."""
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{unused_tcp_port}")

    assert (await harness.get("/health", key=None)).status == 200
    assert (await harness.get("/gateway/auth-status", key=None)).json["reason"] == "gateway_unreachable"
    assert (await harness.get("/readyz", key=None)).status == 503
