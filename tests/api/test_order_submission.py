"""How an order call is submitted for a request, on IBKR's paths and on those of the plain API."""

from __future__ import annotations

import pytest

from tests.harness import Harness, Placement

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
