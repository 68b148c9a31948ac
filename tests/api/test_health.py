"""Four routes without a key, exactly as promised, and no fifth."""

from __future__ import annotations

import pytest

from ibkr_bridge.api.routes import ROUTES, Auth
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import Open
from tests.harness import Harness

OPEN = sorted(route.path for route in ROUTES if route.auth is Auth.OPEN)


async def test_health_is_said_byte_for_byte(harness: Harness) -> None:
    """Monitors compare texts."""
    reply = await harness.get("/health", key=None)

    assert (reply.status, reply.body) == (200, b'{"status":"ok","bridge":"running"}')
    assert reply.headers["Content-Type"].startswith("application/json")


async def test_an_open_session_is_said_byte_for_byte(harness: Harness) -> None:
    """Nothing stands beside the one word that matters."""
    reply = await harness.get("/gateway/auth-status", key=None)

    assert (reply.status, reply.body) == (200, b'{"authenticated": true}')


async def test_a_missing_session_comes_with_reason_hint_and_time(harness: Harness, sim: Simulator) -> None:
    """Always 200: the bridge was asked for the truth, and that is it."""
    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)

    reply = await harness.get("/gateway/auth-status", key=None)

    assert reply.status == 200
    assert set(reply.json) == {"authenticated", "reason", "hint", "since"}
    assert (reply.json["authenticated"], reply.json["reason"]) == (False, "signed_out")
    assert reply.json["since"].endswith("Z")


async def test_ready_is_said_only_when_it_is_so(harness: Harness, sim: Simulator) -> None:
    """Load balancers and start-up scripts wait for it."""
    assert (await harness.get("/readyz", key=None)).body == b"ready"

    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)
    reply = await harness.get("/readyz", key=None)

    assert reply.status == 503
    assert reply.body.startswith(b"signed_out: ")


async def test_a_pause_is_not_ready(harness: Harness) -> None:
    """Reads would work, but an app that trades is not served."""
    await harness.post("/gateway/pause")

    assert (await harness.get("/readyz", key=None)).status == 503
    assert (await harness.get("/gateway/auth-status", key=None)).json == {"authenticated": True}


async def test_alive_is_said(harness: Harness) -> None:
    """Nothing hangs."""
    assert (await harness.get("/livez", key=None)).body == b"ok"


async def test_the_router_holds_no_fifth_open_route(harness: Harness) -> None:
    """Every route the router knows is asked without a key: only the four answer, and only to GET and HEAD."""
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
    paths = {route.path for route in ROUTES if "{" not in route.path} | {
        "/",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/x",
    }
    answered = set()
    for path in paths:
        for method in methods:
            if (await harness.request(method, path, key=None)).status != 401:
                answered.add((method, path))

    assert answered == {(method, path) for path in OPEN for method in ("GET", "HEAD")}
    assert set(OPEN) == {"/health", "/livez", "/readyz", "/gateway/auth-status"}


@pytest.mark.parametrize("path", OPEN)
async def test_a_question_mark_changes_nothing_and_head_has_no_body(harness: Harness, path: str) -> None:
    """Monitors add time stamps."""
    asked = await harness.request("HEAD", path, key=None)

    assert (await harness.get(f"{path}?t=1", key=None)).status == 200
    assert (asked.status, asked.body) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/health/", "/HEALTH", "/%68ealth", "/health%2f", "//health", "/gateway/auth-status/x"]
)
async def test_spelt_otherwise_they_are_not_open(harness: Harness, path: str) -> None:
    """Open means exactly these bytes."""
    assert (await harness.get(path, key=None)).status in (400, 401)


async def test_they_answer_while_the_gateway_is_gone(open_harness: Open, unused_tcp_port: int) -> None:
    """Health is about the bridge; the rest tells why not."""
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{unused_tcp_port}")

    assert (await harness.get("/health", key=None)).status == 200
    assert (await harness.get("/gateway/auth-status", key=None)).json["reason"] == "gateway_unreachable"
    assert (await harness.get("/readyz", key=None)).status == 503
