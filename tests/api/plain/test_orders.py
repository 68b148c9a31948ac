"""The routes `/orders` and `/orders/{id}`."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import KEY, READONLY_KEY, Harness, Placement, Reply


async def place(harness: Harness, **extra: Any) -> Reply:
    """Place a market order."""
    placement = Placement(extra=extra)
    return await harness.post(placement.target, placement.body)


async def test_an_empty_journal_has_no_orders(harness: Harness) -> None:
    """The response is an empty list."""
    reply = await harness.get("/orders")

    assert (reply.status, reply.json["orders"], reply.json["problem"]) == (200, [], None)


async def test_a_placed_order_has_one_row(harness: Harness) -> None:
    """With the account as the other routes take it."""
    name = (await place(harness, cOID="mine-1")).headers["X-Bridge-Order"]
    await harness.wait_until_settled(name)

    (row,) = (await harness.get("/orders")).json["orders"]

    assert (row["id"], row["kind"], row["state"], row["coid"]) == (name, "place", "placed", "mine-1")
    assert row["account"] == "DU1234567"
    assert row["order_id"]
    assert row["created"] <= row["updated"]
    assert row["error"] is None


async def test_each_call_says_what_it_does_with_an_order(harness: Harness) -> None:
    """A cancel is `placed` too when IBKR has accepted it; only its kind shows that no order was placed."""
    number = (await place(harness)).json[0]["order_id"]
    await harness.request("DELETE", f"/iserver/account/DU1234567/order/{number}")
    await harness.post("/iserver/account/DU1234567/orders", b'{"orders": [{"conid": 265598}, {"conid": 8314}]}')

    rows = (await harness.get("/orders")).json["orders"]

    assert [row["kind"] for row in rows] == ["place", "cancel", "place"]


async def test_the_latest_comes_first_and_a_limit_cuts_the_older(harness: Harness) -> None:
    """A page shows the latest orders first."""
    names = [(await place(harness, cOID=f"mine-{number}")).headers["X-Bridge-Order"] for number in range(3)]

    complete = (await harness.get("/orders")).json["orders"]
    limited = (await harness.get("/orders?limit=2")).json["orders"]

    assert [row["id"] for row in complete] == names[::-1]
    assert limited == complete[:2]


async def test_a_state_filters_the_orders(harness: Harness) -> None:
    """A person can list the orders of unknown outcome."""
    await place(harness)
    await harness.post("/gateway/pause")
    await place(harness)

    placed = (await harness.get("/orders?state=placed")).json["orders"]
    unknown = (await harness.get("/orders?state=unknown")).json["orders"]

    assert [row["state"] for row in placed] == ["placed"]
    assert unknown == []


async def test_an_unknown_state_is_refused_with_the_known_ones(harness: Harness) -> None:
    """Otherwise a typing error would give an empty list."""
    reply = await harness.get("/orders?state=filled")

    assert (reply.status, reply.code) == (400, "bad_request")
    assert all(state.value in reply.json["hint"] for state in OrderState)


WRONG_LIMITS = ["0", "-1", "1001", "", "x", "1.5", "%D9%A3", "1e3", "1%0A", "9" * 22]
TOO_LARGE_WITH_ZEROS = ["00000000150000", "00000000" + "9" * 30]


@pytest.mark.parametrize("limit", WRONG_LIMITS + TOO_LARGE_WITH_ZEROS)
async def test_a_wrong_limit_is_refused(harness: Harness, limit: str) -> None:
    """The bridge does not guess another one."""
    reply = await harness.get(f"/orders?limit={limit}")

    assert (reply.status, reply.code) == (400, "bad_request")


@pytest.mark.parametrize("limit", ["1", "1000", "0007"])
async def test_a_limit_within_its_bounds_is_accepted(harness: Harness, limit: str) -> None:
    """It may have leading zeros."""
    assert (await harness.get(f"/orders?limit={limit}")).status == 200


async def test_one_order_has_all_its_events(harness: Harness) -> None:
    """In the order of time; the state of the last one is that of the order."""
    name = (await place(harness, cOID="mine-1")).headers["X-Bridge-Order"]
    await harness.wait_until_settled(name)

    order = (await harness.get(f"/orders/{name}")).json

    assert order["id"] == name
    assert order["events"][0]["what"] == "sent"
    assert order["events"][-1]["state"] == order["state"] == "placed"
    assert [event["at"] for event in order["events"]] == sorted(event["at"] for event in order["events"])


async def test_events_have_no_keys_and_no_account_numbers(harness: Harness) -> None:
    """The journal has more facts than callers may see."""
    name = (await place(harness, cOID="DU1234567")).headers["X-Bridge-Order"]

    one, every = await harness.get(f"/orders/{name}"), await harness.get("/orders")

    assert "DU1234567" not in str(one.json["events"])
    assert KEY.encode() not in one.body + every.body
    assert not {"owner", "fingerprint", "idempotency", "account"} & set(one.json["events"][0])


async def test_a_rejected_order_has_ibkrs_error_text(harness: Harness) -> None:
    """It says what was wrong with the order."""
    name = (await place(harness, quantity=0)).headers["X-Bridge-Order"]

    (row,) = (await harness.get("/orders")).json["orders"]

    assert (row["id"], row["state"], row["order_id"]) == (name, "rejected", None)
    assert row["error"] == "Bad Request: quantity"


@pytest.mark.parametrize("name", ["nothing", "00000000000000000000000000", "%2E%2E", "a.b"])
async def test_an_unknown_order_is_not_found(harness: Harness, name: str) -> None:
    """The status is 404, or 400 for an impossible path."""
    reply = await harness.get(f"/orders/{name}")

    assert reply.status in (400, 404)
    assert reply.code in ("bad_path", "order_not_found")


async def test_the_read_only_key_may_list_orders(open_harness: OpenHarness) -> None:
    """And IBKR's list with them."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    await place(harness)
    reply = await harness.get("/orders", key=READONLY_KEY)

    assert reply.status == 200
    assert len(reply.json["orders"]) == 1


@pytest.mark.unanswered
async def test_the_journal_is_shown_while_ibkr_says_nothing(harness: Harness, sim: Simulator) -> None:
    """A person at three in the morning sees the orders at once, and that fills may be missing."""
    name = (await place(harness)).headers["X-Bridge-Order"]
    await harness.wait_until_settled(name)
    sim.faults.add("silence", path="/iserver/account/orders?")

    listed = (await harness.get("/orders")).json

    assert [row["id"] for row in listed["orders"]] == [name]
    assert (listed["stale"], listed["listed_at"]) == (True, None)
    assert listed["problem"] in ("gateway_timeout", "session_unavailable")


async def test_a_thousand_orders_are_listed_without_a_search_for_each(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list holds up all other requests while it is made."""
    index = harness.bridge.profile.orders.repository.index
    for number in range(20):
        order = Placement(quantity=number + 1)
        await harness.post(order.target, order.body)
    searches = Mock(side_effect=index.newest_first)
    monkeypatch.setattr(index, "newest_first", searches)

    orders = (await harness.get("/orders?limit=1000")).json["orders"]

    assert len(orders) == 20
    assert searches.call_count <= 5


@pytest.mark.unanswered
async def test_an_order_is_not_called_working_while_ibkr_says_nothing(harness: Harness, sim: Simulator) -> None:
    """It may have filled since."""
    ticket = {"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "1", "limit_price": "150"}
    confirm = {"X-Bridge-Confirm": "o163"}
    order = (await harness.post("/accounts/DU1234567/orders", ticket, headers=confirm)).json
    sim.faults.add("silence", path="/iserver/account/order")

    (row,) = (await harness.get("/orders")).json["orders"]
    one = (await harness.get(f"/orders/{order['id']}")).json

    assert order["status"] == "working"
    assert (row["state"], row["status"], one["status"]) == ("placed", None, None)


async def test_the_orders_of_a_bracket_are_all_listed(harness: Harness) -> None:
    """Each can be changed and cancelled by its own id."""
    ticket = {"symbol": "MSFT", "side": "buy", "type": "market", "quantity": "1"}
    bracket = {**ticket, "bracket": {"take_profit": "900", "stop_loss": "1"}}
    confirm = {"X-Bridge-Confirm": "o163,o10331,o2137,o354,o383,o451"}
    order = (await harness.post("/accounts/DU1234567/orders", bracket, headers=confirm)).json

    listed = (await harness.get("/orders")).json["orders"]

    assert {each["order_id"] for each in listed} == set(order["order_ids"])
    assert {each["origin"] for each in listed} == {"bridge"}
    assert len({each["id"] for each in listed}) == 3
