"""Orders, `sor`, and trades, `str`."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.sim.market.feeds.orders import LOOK_INTERVAL_S, MAX_ROWS_PER_MESSAGE
from ibkr_bridge.sim.market.stream import Stream
from tests.clocks import ManualClock
from tests.sim.market.conftest import Listen
from tests.sim.market.ear import AAPL, Ear
from tests.sim.wire import Wire

API = "/v1/api/iserver/account"
ACCOUNT = "DU1234567"
FAR, GOOD = 185.0, 191.0
"""Limits: one that waits, one that fills as soon as somebody looks; neither makes IBKR ask back."""


async def place(wire: Wire, price: float, **more: Any) -> int:
    """Place an order to buy one AAPL; its number."""
    ticket = {"conid": int(AAPL), "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": price}
    [said] = (await wire.call("POST", f"{API}/{ACCOUNT}/orders", {"orders": [ticket | more]})).json()
    return int(said["order_id"])


async def test_all_orders_come_first(ear: Ear, wire: Wire) -> None:
    """In one message, in the shape of the list."""
    numbers = {await place(wire, FAR) for _ in range(3)}

    said = await ear.ask("sor+{}")

    await wire.call("GET", f"{API}/orders")
    rows = (await wire.call("GET", f"{API}/orders")).json()["orders"]
    assert (said["topic"], said["args"]) == ("sor", rows)
    assert {row["orderId"] for row in rows} == numbers


async def test_without_orders_the_list_is_empty(ear: Ear) -> None:
    """And comes all the same."""
    assert await ear.ask("sor+{}") == {"topic": "sor", "args": []}


async def test_more_orders_than_a_frame_can_hold_come_in_several(ear: Ear, wire: Wire) -> None:
    """The Gateway ends sockets on which it hears more than 64 KiB at once."""
    for _ in range(MAX_ROWS_PER_MESSAGE + 10):
        await place(wire, FAR)

    said = [await ear.ask("sor+{}"), await ear.hear()]

    assert [len(each["args"]) for each in said] == [MAX_ROWS_PER_MESSAGE, 10]


async def test_a_new_order_comes_whole(ear: Ear, wire: Wire) -> None:
    """As soon as it is placed; nothing has filled it yet."""
    await ear.ask("sor+{}")

    number = await place(wire, GOOD, cOID="mine")

    [row] = (await ear.hear())["args"]
    assert (row["orderId"], row["acct"], row["order_ref"], row["status"]) == (number, ACCOUNT, "mine", "Submitted")


async def test_a_fill_is_seen_although_nobody_asks(ear: Ear, wire: Wire, clock: ManualClock) -> None:
    """With what has changed, and nothing else but the order's name."""
    await ear.ask("sor+{}")
    number = await place(wire, GOOD)
    await ear.hear()

    clock.advance(LOOK_INTERVAL_S)

    [row] = (await ear.hear())["args"]
    assert (row["orderId"], row["status"], row["sizeAndFills"]) == (number, "Filled", "1/1")
    assert not {"conid", "ticker", "totalSize"} & set(row)


async def test_a_change_and_a_cancel_are_told(ear: Ear, wire: Wire) -> None:
    """With what they changed."""
    await ear.ask("sor+{}")
    number = await place(wire, FAR)
    await ear.hear()
    path = f"{API}/{ACCOUNT}/order/{number}"
    changed = {"conid": int(AAPL), "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": FAR + 1}

    await wire.call("POST", path, changed)
    [first] = (await ear.hear())["args"]
    await wire.call("DELETE", path)
    [second] = (await ear.hear())["args"]

    assert first == {"acct": ACCOUNT, "orderId": number, "price": "186.0"}
    assert (second["status"], "price" in second) == ("Cancelled", False)


async def test_what_is_asked_in_between_is_not_told_twice(ear: Ear, wire: Wire, clock: ManualClock) -> None:
    """A fill that somebody's call has found is told when the call is through."""
    await ear.ask("sor+{}")
    await place(wire, GOOD)
    await wire.call("GET", f"{API}/trades")

    said = await ear.rest()
    clock.advance(LOOK_INTERVAL_S)

    assert [message["args"][0]["status"] for message in said] == ["Submitted", "Filled"]
    assert await ear.rest() == []


async def test_a_filtered_call_silences_orders_until_a_forced_one(ear: Ear, wire: Wire) -> None:
    """What happened meanwhile is not told later."""
    await ear.ask("sor+{}")

    await wire.call("GET", f"{API}/orders?filters=filled")
    await place(wire, FAR)
    ear.say("sor+{}")
    silent = await ear.rest()
    await wire.call("GET", f"{API}/orders?force=true")
    awake = await ear.rest()
    number = await place(wire, FAR)

    assert (silent, awake) == ([], [])
    assert [message["args"][0]["orderId"] for message in await ear.rest()] == [number]


async def test_a_plain_call_silences_nothing(ear: Ear, wire: Wire) -> None:
    """Nor does it wake what is silent."""
    await ear.ask("sor+{}")
    await wire.call("GET", f"{API}/orders")
    await place(wire, FAR)
    heard = await ear.rest()

    await wire.call("GET", f"{API}/orders?filters=filled&force=true")
    await wire.call("GET", f"{API}/orders")
    await place(wire, FAR)

    assert len(heard) == 1
    assert await ear.rest() == []


@pytest.mark.parametrize(("form", "count"), [("{}", 1), ('{"realtimeUpdatesOnly":true,"days":1}', 0)])
async def test_trades_come_first_unless_only_new_ones_are_wanted(
    ear: Ear, wire: Wire, clock: ManualClock, form: str, count: int
) -> None:
    """Then each new one, although nobody asks."""
    first = await place(wire, GOOD)
    await wire.call("GET", f"{API}/trades")
    ear.say(f"str+{form}")
    told = await ear.rest()

    second = await place(wire, GOOD)
    clock.advance(LOOK_INTERVAL_S)

    [new] = await ear.rest()
    assert [trade["order_id"] for message in told for trade in message["args"]] == [first] * count
    assert (new["topic"], [trade["order_id"] for trade in new["args"]]) == ("str", [second])


async def test_orders_and_trades_of_two_sockets_are_told_to_both(
    listen: Listen, wire: Wire, clock: ManualClock, stream: Stream
) -> None:
    """Whoever looks first."""
    ears = [await listen() for _ in range(2)]
    for ear in ears:
        ear.say("sor+{}", 'str+{"realtimeUpdatesOnly":true}')
        await ear.rest()
    await place(wire, GOOD)
    clock.advance(LOOK_INTERVAL_S)

    said = [[message["topic"] for message in await ear.rest()] for ear in ears]

    assert [sorted(topics) for topics in said] == [["sor", "sor", "str"]] * 2
