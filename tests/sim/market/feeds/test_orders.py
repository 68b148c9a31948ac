"""Orders, `sor`, and trades, `str`."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.sim.market.feeds.orders import LOOK_INTERVAL_S, MAX_ROWS_PER_MESSAGE
from ibkr_bridge.sim.market.stream import Stream
from tests.clocks import ManualClock
from tests.sim.market.conftest import Listen
from tests.sim.market.stream_client import AAPL, StreamClient
from tests.sim.wire import Wire

API = "/v1/api/iserver/account"
ACCOUNT = "DU1234567"
FAR, GOOD = 185.0, 191.0
"""Limits: one that waits, one that fills as soon as somebody looks; neither makes IBKR ask back."""


LARGE = {"conid": int(AAPL), "orderType": "MKT", "side": "BUY", "quantity": 1000, "tif": "DAY"}


async def place(wire: Wire, price: float, **more: Any) -> int:
    """Place an order to buy one AAPL, and return its number."""
    ticket = {"conid": int(AAPL), "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": price}
    [messages] = (await wire.call("POST", f"{API}/{ACCOUNT}/orders", {"orders": [ticket | more]})).json()
    return int(messages["order_id"])


async def test_all_orders_come_first(client: StreamClient, wire: Wire) -> None:
    """They come in one message, with the rows of the live list."""
    numbers = {await place(wire, FAR) for _ in range(3)}

    messages = await client.request("sor+{}")

    await wire.call("GET", f"{API}/orders")
    rows = (await wire.call("GET", f"{API}/orders")).json()["orders"]
    assert (messages["topic"], messages["args"]) == ("sor", rows)
    assert {row["orderId"] for row in rows} == numbers


async def test_without_orders_the_list_is_empty(client: StreamClient) -> None:
    """The message comes in any case."""
    assert await client.request("sor+{}") == {"topic": "sor", "args": []}


async def test_more_orders_than_a_frame_can_hold_come_in_several(client: StreamClient, wire: Wire) -> None:
    """The Gateway ends a socket on which IBKR sends more than 64 KiB in one message."""
    for _ in range(MAX_ROWS_PER_MESSAGE + 10):
        await place(wire, FAR)

    messages = [await client.request("sor+{}"), await client.receive()]

    assert [len(each["args"]) for each in messages] == [MAX_ROWS_PER_MESSAGE, 10]


async def test_a_new_order_comes_completely(client: StreamClient, wire: Wire) -> None:
    """It is sent as soon as it is placed, before anything has filled it."""
    await client.request("sor+{}")

    number = await place(wire, GOOD, cOID="mine")

    [row] = (await client.receive())["args"]
    assert (row["orderId"], row["acct"], row["order_ref"], row["status"]) == (number, ACCOUNT, "mine", "Submitted")


async def test_a_fill_is_sent_without_a_request(client: StreamClient, wire: Wire, clock: ManualClock) -> None:
    """The message has only the changed members and the order's number."""
    await client.request("sor+{}")
    number = await place(wire, GOOD)
    await client.receive()

    clock.advance(LOOK_INTERVAL_S)

    [row] = (await client.receive())["args"]
    assert (row["orderId"], row["status"], row["sizeAndFills"]) == (number, "Filled", "1/1")
    assert not {"conid", "ticker", "totalSize"} & set(row)


async def test_each_part_of_a_large_order_is_sent_with_its_trade(
    client: StreamClient, wire: Wire, clock: ManualClock
) -> None:
    """The order is `Submitted` until the last one."""
    await client.request("sor+{}")
    await client.request("str+{}")
    [question] = (await wire.call("POST", f"{API}/{ACCOUNT}/orders", {"orders": [LARGE]})).json()
    await wire.call("POST", f"/v1/api/iserver/reply/{question['id']}", {"confirmed": True})
    messages = []
    for _ in range(6):
        clock.advance(LOOK_INTERVAL_S)
        messages += await client.receive_pending()

    orders = [row for message in messages if message.get("topic") == "sor" for row in message["args"]]
    trades = [row for message in messages if message.get("topic") == "str" for row in message["args"]]
    fills = [row for row in orders if row.get("filledQuantity")]
    assert [row["size"] for row in trades] == [fills[0]["filledQuantity"], 1000 - fills[0]["filledQuantity"]]
    assert [row["remainingQuantity"] for row in fills] == [trades[1]["size"], 0]
    assert fills[-1]["status"] == "Filled"


async def test_a_change_and_a_cancel_are_sent(client: StreamClient, wire: Wire) -> None:
    """The message has the members that they changed."""
    await client.request("sor+{}")
    number = await place(wire, FAR)
    await client.receive()
    path = f"{API}/{ACCOUNT}/order/{number}"
    changed = {"conid": int(AAPL), "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": FAR + 1}

    await wire.call("POST", path, changed)
    [first] = (await client.receive())["args"]
    await wire.call("DELETE", path)
    [second] = (await client.receive())["args"]

    assert first == {"acct": ACCOUNT, "orderId": number, "price": "186.0"}
    assert (second["status"], "price" in second) == ("Cancelled", False)


async def test_a_fill_found_by_a_call_is_sent_once(client: StreamClient, wire: Wire, clock: ManualClock) -> None:
    """It is sent when the call that found it has been answered."""
    await client.request("sor+{}")
    await place(wire, GOOD)
    await wire.call("GET", f"{API}/trades")

    messages = await client.receive_pending()
    clock.advance(LOOK_INTERVAL_S)

    assert [message["args"][0]["status"] for message in messages] == ["Submitted", "Filled"]
    assert await client.receive_pending() == []


async def test_a_filtered_call_mutes_orders_until_a_forced_one(client: StreamClient, wire: Wire) -> None:
    """Changes in between are not sent later."""
    await client.request("sor+{}")

    await wire.call("GET", f"{API}/orders?filters=filled")
    await place(wire, FAR)
    client.send("sor+{}")
    silent = await client.receive_pending()
    await wire.call("GET", f"{API}/orders?force=true")
    awake = await client.receive_pending()
    number = await place(wire, FAR)

    assert (silent, awake) == ([], [])
    assert [message["args"][0]["orderId"] for message in await client.receive_pending()] == [number]


async def test_a_plain_call_mutes_nothing(client: StreamClient, wire: Wire) -> None:
    """It does not end a muting either."""
    await client.request("sor+{}")
    await wire.call("GET", f"{API}/orders")
    await place(wire, FAR)
    heard = await client.receive_pending()

    await wire.call("GET", f"{API}/orders?filters=filled&force=true")
    await wire.call("GET", f"{API}/orders")
    await place(wire, FAR)

    assert len(heard) == 1
    assert await client.receive_pending() == []


@pytest.mark.parametrize(("form", "count"), [("{}", 1), ('{"realtimeUpdatesOnly":true,"days":1}', 0)])
async def test_trades_come_first_unless_only_new_ones_are_requested(
    client: StreamClient, wire: Wire, clock: ManualClock, form: str, count: int
) -> None:
    """Then each new trade comes, without a request."""
    first = await place(wire, GOOD)
    await wire.call("GET", f"{API}/trades")
    client.send(f"str+{form}")
    messages = await client.receive_pending()

    second = await place(wire, GOOD)
    clock.advance(LOOK_INTERVAL_S)

    [new] = await client.receive_pending()
    assert [trade["order_id"] for message in messages for trade in message["args"]] == [first] * count
    assert (new["topic"], [trade["order_id"] for trade in new["args"]]) == ("str", [second])


async def test_orders_and_trades_are_sent_to_both_of_two_sockets(
    listen: Listen, wire: Wire, clock: ManualClock, stream: Stream
) -> None:
    """It does not matter which feed reads the book first."""
    clients = [await listen() for _ in range(2)]
    for client in clients:
        client.send("sor+{}", 'str+{"realtimeUpdatesOnly":true}')
        await client.receive_pending()
    await place(wire, GOOD)
    clock.advance(LOOK_INTERVAL_S)

    messages = [[message["topic"] for message in await client.receive_pending()] for client in clients]

    assert [sorted(topics) for topics in messages] == [["sor", "sor", "str"]] * 2
