"""The order that a call has made or changed, and the error if IBKR refused it."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.sim.simulator import Simulator
from tests.api.plain.order_helpers import (
    ACCOUNT,
    CONFIRM_ALL,
    FAR_LIMIT,
    MARKET,
    place,
    place_working,
)
from tests.harness import Harness


@pytest.mark.unanswered
async def test_a_lost_answer_is_an_unknown_order(harness: Harness, sim: Simulator) -> None:
    """The error says not to send it again."""
    sim.faults.add("cut-before", path=f"/{ACCOUNT}/orders$", times=1)

    reply = await place(harness, MARKET)

    assert (reply.status, reply.code) == (502, "order_unknown")
    assert reply.json["action"]["kind"] == "wait"
    assert reply.headers["X-Bridge-Order"]


async def test_what_ibkr_rejects_is_an_error_with_the_order(harness: Harness) -> None:
    """The caller learns IBKR's words, and the id under which the journal has it."""
    first, second = [await place(harness, {**MARKET, "quantity": q, "client_order_id": "twice"}) for q in ("1", "2")]

    assert first.status == 200
    assert (second.status, second.code) == (409, "duplicate_order")


async def test_a_pause_refuses_orders_and_not_cancels(harness: Harness) -> None:
    """As on IBKR's own paths."""
    order = await place_working(harness)
    await harness.post("/gateway/pause")

    refused = await place(harness, MARKET)
    cancelled = await harness.request("DELETE", f"/orders/{order['id']}")

    assert (refused.status, refused.code) == (403, "trading_paused")
    assert refused.json["user_message"].startswith("Trading is paused")
    assert cancelled.status == 200


async def test_half_a_character_in_ibkrs_words_spoils_no_order(harness: Harness, sim: Simulator) -> None:
    """The order exists, so the answer must say so."""
    body = '[{"order_id":"77","order_status":"Submitted","warning_message":"cut \\ud83d"}]'
    sim.faults.add("status", path=f"/{ACCOUNT}/orders$", status=200, body=body, times=1)

    reply = await place(harness, MARKET)

    assert (reply.status, reply.json["order_id"], reply.json["warnings"]) == (200, "77", ["cut \ufffd"])
    assert (await harness.get(f"/orders/{reply.json['id']}")).json["order_id"] == "77"


async def test_a_change_that_ibkr_rejects_is_no_reason_for_another_order(harness: Harness, sim: Simulator) -> None:
    """The order still works: one that is sent as a new one would be the second."""
    order = (await place(harness, FAR_LIMIT, CONFIRM_ALL)).json
    sim.faults.add("status", path=f"/{ACCOUNT}/order/", status=400, body='{"error":"price is too far"}', times=1)

    reply = await harness.request("PATCH", f"/orders/{order['id']}", body={"limit_price": "151"}, headers=CONFIRM_ALL)

    assert (reply.status, reply.code) == (422, "order_rejected")
    assert (reply.json["detail"], "do not send it as a new one" in reply.json["hint"]) == (
        "IBKR rejected the change: price is too far",
        True,
    )


async def test_a_change_that_a_cancel_overtakes_is_no_rejected_ticket(harness: Harness, sim: Simulator) -> None:
    """The order had ended when the change came to IBKR; its ticket was good."""
    order = (await place(harness, FAR_LIMIT, {"X-Bridge-Confirm": "o163"})).json
    sim.faults.add("delay", path="order/status", times=1, seconds=0.4)
    changing = asyncio.create_task(
        harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "11"}, headers=CONFIRM_ALL)
    )
    await sim.wait_for_calls("order/status")
    sim.market.world.book.cancel([int(order["order_id"])], sim.clock.now())

    changed = await changing

    assert (changed.status, changed.code) == (409, "order_not_working")
