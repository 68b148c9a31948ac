"""Orders, `sor`, and trades, `str`."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.sim.market.feeds.orders import LOOK_INTERVAL_S, MAX_ROWS_PER_MESSAGE
from ibkr_bridge.sim.market.stream import Stream
from tests.clocks import ManualClock
from tests.sim.market.conftest import Listen
from tests.sim.market.ear import AAPL, StreamClient
from tests.sim.wire import Wire

API = "/v1/api/iserver/account"
ACCOUNT = "DU1234567"
FAR, GOOD = 185.0, 191.0
"""Limits: one that waits, one that fills as soon as somebody looks; neither makes IBKR ask back."""


async def place(wire: Wire, price: float, **more: Any) -> int:
    """Place an order to buy one AAPL; its number."""
    ticket = {"conid": int(AAPL), "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": price}
    [messages] = (await wire.call("POST", f"{API}/{ACCOUNT}/orders", {"orders": [ticket | more]})).json()
    return int(messages["order_id"])


async def test_all_orders_come_first(client: StreamClient, wire: Wire) -> None:
    """In one message, in the shape of the list."""
    numbers = {await place(wire, FAR) for _ in range(3)}

    messages = await client.request("sor+{}")

    await wire.call("GET", f"{API}/orders")
    rows = (await wire.call("GET", f"{API}/orders")).json()["orders"]
    assert (messages["topic"], messages["args"]) == ("sor", rows)
    assert {row["orderId"] for row in rows} == numbers


async def test_without_orders_the_list_is_empty(client: StreamClient) -> None:
    """And comes all the same."""
    assert await client.request("sor+{}") == {"topic": "sor", "args": []}


async def test_more_orders_than_a_frame_can_hold_come_in_several(client: StreamClient, wire: Wire) -> None:
    """The Gateway ends sockets on which it hears more than 64 KiB at once."""
    for _ in range(MAX_ROWS_PER_MESSAGE + 10):
        await place(wire, FAR)

    messages = [await client.request("sor+{}"), await client.receive()]

    assert [len(each["args"]) for each in messages] == [MAX_ROWS_PER_MESSAGE, 10]


async def test_a_new_order_comes_whole(client: StreamClient, wire: Wire) -> None:
    """As soon as it is placed; nothing has filled it yet."""
    await client.request("sor+{}")

    number = await place(wire, GOOD, cOID="mine")

    [row] = (await client.receive())["args"]
    assert (row["orderId"], row["acct"], row["order_ref"], row["status"]) == (number, ACCOUNT, "mine", "Submitted")


async def test_a_fill_is_seen_although_nobody_asks(client: StreamClient, wire: Wire, clock: ManualClock) -> None:
    """With what has changed, and nothing else but the order's name."""
    await client.request("sor+{}")
    number = await place(wire, GOOD)
    await client.receive()

    clock.advance(LOOK_INTERVAL_S)

    [row] = (await client.receive())["args"]
    assert (row["orderId"], row["status"], row["sizeAndFills"]) == (number, "Filled", "1/1")
    assert not {"conid", "ticker", "totalSize"} & set(row)


async def test_a_change_and_a_cancel_are_told(client: StreamClient, wire: Wire) -> None:
    """With what they changed."""
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


async def test_what_is_asked_in_between_is_not_told_twice(client: StreamClient, wire: Wire, clock: ManualClock) -> None:
    """A fill that somebody's call has found is told when the call is through."""
    await client.request("sor+{}")
    await place(wire, GOOD)
    await wire.call("GET", f"{API}/trades")

    messages = await client.receive_pending()
    clock.advance(LOOK_INTERVAL_S)

    assert [message["args"][0]["status"] for message in messages] == ["Submitted", "Filled"]
    assert await client.receive_pending() == []


async def test_a_filtered_call_silences_orders_until_a_forced_one(client: StreamClient, wire: Wire) -> None:
    """What happened meanwhile is not told later."""
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


async def test_a_plain_call_silences_nothing(client: StreamClient, wire: Wire) -> None:
    """Nor does it wake what is silent."""
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
async def test_trades_come_first_unless_only_new_ones_are_wanted(
    client: StreamClient, wire: Wire, clock: ManualClock, form: str, count: int
) -> None:
    """Then each new one, although nobody asks."""
    first = await place(wire, GOOD)
    await wire.call("GET", f"{API}/trades")
    client.send(f"str+{form}")
    messages = await client.receive_pending()

    second = await place(wire, GOOD)
    clock.advance(LOOK_INTERVAL_S)

    [new] = await client.receive_pending()
    assert [trade["order_id"] for message in messages for trade in message["args"]] == [first] * count
    assert (new["topic"], [trade["order_id"] for trade in new["args"]]) == ("str", [second])


async def test_orders_and_trades_of_two_sockets_are_told_to_both(
    listen: Listen, wire: Wire, clock: ManualClock, stream: Stream
) -> None:
    """Whoever looks first."""
    clients = [await listen() for _ in range(2)]
    for client in clients:
        client.send("sor+{}", 'str+{"realtimeUpdatesOnly":true}')
        await client.receive_pending()
    await place(wire, GOOD)
    clock.advance(LOOK_INTERVAL_S)

    messages = [[message["topic"] for message in await client.receive_pending()] for client in clients]

    assert [sorted(topics) for topics in messages] == [["sor", "sor", "str"]] * 2
