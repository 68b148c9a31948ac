"""The orders of the journal as callers see them."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import Open
from tests.harness import KEY, READING, Harness, Placed, Reply


async def place(harness: Harness, **extra: Any) -> Reply:
    """Place a market order."""
    placed = Placed(extra=extra)
    return await harness.post(placed.target, placed.body)


async def test_there_are_none_at_first(harness: Harness) -> None:
    """A list of nothing is a list."""
    reply = await harness.get("/orders")

    assert (reply.status, reply.json) == (200, {"orders": []})


async def test_a_placed_order_has_one_row_without_its_account(harness: Harness) -> None:
    """Whoever reads the list learns which orders there are, not whose."""
    name = (await place(harness, cOID="mine-1")).headers["X-Bridge-Order"]
    await harness.wait_until_settled(name)

    (row,) = (await harness.get("/orders")).json["orders"]

    assert (row["id"], row["state"], row["coid"]) == (name, "placed", "mine-1")
    assert row["account"] == "DU*****67"
    assert row["order_id"]
    assert row["created"] <= row["updated"]
    assert row["error"] is None


async def test_the_latest_comes_first_and_a_limit_cuts_the_older(harness: Harness) -> None:
    """A page shows what has just happened."""
    names = [(await place(harness, cOID=f"mine-{number}")).headers["X-Bridge-Order"] for number in range(3)]

    whole = (await harness.get("/orders")).json["orders"]
    cut = (await harness.get("/orders?limit=2")).json["orders"]

    assert [row["id"] for row in whole] == names[::-1]
    assert cut == whole[:2]


async def test_a_state_picks_those_that_are_in_it(harness: Harness) -> None:
    """What is still unknown is what somebody has to look after."""
    await place(harness)
    await harness.post("/gateway/pause")
    await place(harness)

    placed = (await harness.get("/orders?state=placed")).json["orders"]
    unknown = (await harness.get("/orders?state=unknown")).json["orders"]

    assert [row["state"] for row in placed] == ["placed"]
    assert unknown == []


async def test_a_state_that_no_order_has_is_refused_with_those_there_are(harness: Harness) -> None:
    """A slip of the pen would look like good news otherwise."""
    reply = await harness.get("/orders?state=filled")

    assert (reply.status, reply.code) == (400, "bad_request")
    assert all(state.value in reply.json["hint"] for state in OrderState)


NO_LIMITS = ["0", "-1", "1001", "", "x", "1.5", "%D9%A3", "1e3", "1%0A", "9" * 22]
HIDDEN_BY_ZEROS = ["00000000150000", "00000000" + "9" * 30]


@pytest.mark.parametrize("limit", NO_LIMITS + HIDDEN_BY_ZEROS)
async def test_a_limit_that_is_no_number_of_orders_is_refused(harness: Harness, limit: str) -> None:
    """Said, instead of guessed."""
    reply = await harness.get(f"/orders?limit={limit}")

    assert (reply.status, reply.code) == (400, "bad_request")


@pytest.mark.parametrize("limit", ["1", "1000", "0007"])
async def test_a_limit_within_its_bounds_is_taken(harness: Harness, limit: str) -> None:
    """Zeros before it change nothing."""
    assert (await harness.get(f"/orders?limit={limit}")).status == 200


async def test_one_order_tells_all_that_happened_to_it(harness: Harness) -> None:
    """In the order in which it did; the last state is the order's own."""
    name = (await place(harness, cOID="mine-1")).headers["X-Bridge-Order"]
    await harness.wait_until_settled(name)

    told = (await harness.get(f"/orders/{name}")).json

    assert told["id"] == name
    assert told["events"][0]["what"] == "sent"
    assert told["events"][-1]["state"] == told["state"] == "placed"
    assert [event["at"] for event in told["events"]] == sorted(event["at"] for event in told["events"])


async def test_what_happened_tells_nothing_of_keys_and_accounts(harness: Harness) -> None:
    """The journal holds more than its readers may see."""
    name = (await place(harness, cOID="DU1234567")).headers["X-Bridge-Order"]

    one, every = await harness.get(f"/orders/{name}"), await harness.get("/orders")

    for said in (one.body, every.body):
        assert b"DU1234567" not in said
        assert KEY.encode() not in said
    assert not {"owner", "fingerprint", "idempotency", "account"} & set(one.json["events"][0])


async def test_a_rejected_order_keeps_ibkrs_words(harness: Harness) -> None:
    """They say what was wrong with it."""
    name = (await place(harness, quantity=0)).headers["X-Bridge-Order"]

    (row,) = (await harness.get("/orders")).json["orders"]

    assert (row["id"], row["state"], row["order_id"]) == (name, "rejected", None)
    assert row["error"] == "Bad Request: quantity"


@pytest.mark.parametrize("name", ["nothing", "00000000000000000000000000", "%2E%2E", "a.b"])
async def test_an_order_nobody_knows_is_not_found(harness: Harness, name: str) -> None:
    """With a way on."""
    reply = await harness.get(f"/orders/{name}")

    assert reply.status in (400, 404)
    assert reply.code in ("bad_path", "not_bridged")


async def test_the_reading_key_may_look(open_harness: Open, sim: Simulator) -> None:
    """It reads, as everything else it may do; IBKR is not asked."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)
    await place(harness)
    before = len(sim.calls())

    reply = await harness.get("/orders", key=READING)

    assert reply.status == 200
    assert len(reply.json["orders"]) == 1
    assert not [call for call in sim.calls()[before:] if "/orders" in call.target]
