"""How an order call is submitted for a request, on IBKR's paths and on those of the plain API."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import NOON, ManualClock
from tests.harness import Harness, Placement, settings_for

PLACEMENT = Placement()
TICKET = {"conid": 265598, "side": "buy", "type": "market", "quantity": "1"}
PATHS = {
    "IBKR's path": (PLACEMENT.target, PLACEMENT.body),
    "the plain path": ("/accounts/DU1234567/orders", TICKET),
}


@pytest.mark.parametrize(("path", "body"), PATHS.values(), ids=PATHS)
async def test_the_record_stands_in_the_headers_and_its_delivery_in_the_journal(
    harness: Harness, path: str, body: object
) -> None:
    """A caller that never got the answer is known by that."""
    reply = await harness.post(path, body, headers={"X-Request-ID": "joined-up"})
    name = reply.headers["X-Bridge-Order"]
    await harness.wait_until_settled(name)

    events = (await harness.get(f"/orders/{name}")).json["events"]

    assert reply.headers["X-Bridge-Order-State"] == "placed"
    assert [event["what"] for event in events] == ["sent", "taken", "told"]
    assert events[0]["request"] == "joined-up"


@pytest.mark.parametrize(("path", "body"), PATHS.values(), ids=PATHS)
async def test_a_malformed_idempotency_key_is_refused(harness: Harness, path: str, body: object) -> None:
    """Nothing is sent."""
    reply = await harness.post(path, body, headers={"Idempotency-Key": "ü"})

    assert (reply.status, reply.code) == (400, "bad_request")
    assert (await harness.get("/orders")).json["orders"] == []


MIDNIGHT = NOON + timedelta(hours=12)  # in New York


@pytest.mark.parametrize(
    ("start", "warning"),
    [
        (MIDNIGHT - timedelta(minutes=9), "login_ends 2026-06-18T04:00:00Z"),
        (MIDNIGHT - timedelta(minutes=12), None),
        (MIDNIGHT + timedelta(minutes=1), None),
    ],
)
async def test_an_order_close_before_the_end_of_the_login_gets_a_warning(
    sim: Simulator, tmp_path: Path, start: datetime, warning: str | None
) -> None:
    """Its outcome may be known only after the next login."""
    async with Harness(settings_for(sim.url, tmp_path), ManualClock(start)) as harness:
        await harness.wait_until(SessionState.READY)
        placed = await harness.post(PLACEMENT.target, PLACEMENT.body)
        read = await harness.get("/portfolio/accounts")

    assert placed.headers.get("X-Bridge-Warning") == warning
    assert "X-Bridge-Warning" not in read.headers
