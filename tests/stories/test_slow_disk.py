"""A slow disk makes orders wait, and nothing else; what must not leave any more when the disk is done does not.

The disk is held on the journal's own thread by an event, so that nothing here is timed: whatever has to be answered
while an order waits is answered while it waits, or the test ends in vain.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from ibkr_bridge import events
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from tests.conftest import Open
from tests.disk import Disk
from tests.harness import KEY, PATIENCE, Harness, Placed, Reply, within
from tests.stories.test_orders import FAR, LIMIT, ORDER, order_of, place, sent, story
from tests.stream_clients import open_sse

MANY = 200
Trouble = Callable[[Harness, Simulator], Awaitable[None]]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulated Gateway: these tests cut connections inside it."""
    async with Simulator() as simulator:
        yield simulator


async def waiting(harness: Harness, disk: Disk, work: Awaitable[Reply]) -> asyncio.Task[Reply]:
    """An order whose entry is being written."""
    disk.hold()
    task = asyncio.ensure_future(work)
    await until_written(harness, disk)
    return task


async def until_written(harness: Harness, disk: Disk) -> None:
    """Wait until an entry that has to stand is on its way to the disk, which is held."""
    await disk.until_at_work()
    async with asyncio.timeout(PATIENCE):
        while not harness.bridge.profile.orders.repository._behind:
            await asyncio.sleep(0)


async def told(disk: Disk, order: asyncio.Task[Reply]) -> Reply:
    """What an order's caller hears when the disk goes on."""
    disk.release()
    return await within(order)


# -- what happens to the rest


async def test_only_orders_wait_for_the_disk(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """Health, reads, the list of orders and streams go on for as long as the disk takes."""
    await harness.wait_for_events(events.FeedUp)
    async with open_sse(harness, "/stream/quotes?conids=265598&fields=31,84") as quotes:
        order = await waiting(harness, disk, place(harness))
        health = [await harness.get("/health") for _ in range(MANY)]
        reads = [await harness.get(target) for target in ("/portfolio/accounts", "/iserver/account/orders", "/orders")]
        for _ in range(3):
            await quotes.receive()
        assert not order.done()

        placed = await told(disk, order)

    assert [reply.status for reply in health] == [200] * MANY
    assert [reply.status for reply in reads] == [200] * 3
    assert order_of(placed)[1] == "placed"
    assert len(sent(sim)) == 1


async def test_what_has_happened_is_told_before_the_disk_has_it(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """IBKR's answer is not held up by its entry; who asks for the story gets it whole."""
    disk.hold()
    order = asyncio.ensure_future(place(harness))
    await disk.until_at_work()
    disk.release()
    await harness.wait_for_events(events.OrderSent)
    disk.hold()
    placed = await within(order)
    shown = asyncio.ensure_future(harness.get(f"/orders/{order_of(placed)[0]}"))
    await disk.until_at_work()
    assert not shown.done()

    disk.release()

    assert [event["what"] for event in (await within(shown)).json["events"]][:2] == ["sent", "taken"]


async def test_the_end_of_the_bridge_waits_for_the_disk(open_harness: Open, sim: Simulator, disk: Disk) -> None:
    """An order whose entry is being written goes out, and its caller hears of it."""
    harness = await open_harness()
    order = await waiting(harness, disk, place(harness))
    ending = asyncio.ensure_future(harness.finish())
    await harness.wait_for_events(events.BridgeStopping)
    assert not ending.done()

    placed = await told(disk, order)

    assert order_of(placed)[1] == "placed"
    assert await within(ending) == 0


# -- what has changed when the disk is done


async def _pause(harness: Harness, _: Simulator) -> None:
    await harness.post("/gateway/pause")


async def _lose_session(harness: Harness, sim: Simulator) -> None:
    sim.log_out()
    harness.bridge.profile.keeper.request_check()
    async with asyncio.timeout(PATIENCE):
        while harness.bridge.profile.keeper.session.state is SessionState.READY:
            await harness.wait_for_events(events.SessionChanged, len(harness.session_changes) + 1)


async def _box(harness: Harness, _: Simulator) -> None:
    harness.bridge.profile.penalty_box.enter()


async def _cut(harness: Harness, sim: Simulator) -> None:
    upstream = harness.bridge.profile.upstream
    assert isinstance(upstream, GatewayClient)
    connections = upstream._pool._all
    cut = [connection for connection in connections if connection.is_connected()]
    sim.gateway.close_port()
    sim.gateway.reopen_port()
    async with asyncio.timeout(PATIENCE):
        while any(connection.is_connected() for connection in cut):
            await asyncio.sleep(0)


TROUBLES = {
    "a pause": (_pause, "trading_paused"),
    "a lost session": (_lose_session, "session_unavailable"),
    "a penalty": (_box, "penalty_box"),
    "a closed connection": (_cut, "gateway_unreachable"),
}


@pytest.mark.parametrize(("happens", "code"), TROUBLES.values(), ids=TROUBLES)
async def test_an_order_is_stopped_when_the_disk_is_done(
    harness: Harness, sim: Simulator, disk: Disk, happens: Trouble, code: str
) -> None:
    """Its caller is told that nothing was sent, and so says the journal."""
    order = await waiting(harness, disk, place(harness, Idempotency_Key="k"))
    await happens(harness, sim)

    refused = await told(disk, order)

    assert (refused.code, order_of(refused)[1]) == (code, "refused")
    assert await story(harness, order_of(refused)[0]) == ["sent", "refused"]
    assert sent(sim) == []
    assert await harness.bridge.profile.orders.repository.journal.read_recent("2020-01-01") == []


async def test_the_same_order_may_be_sent_again(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """With the key and the name that the stopped one had."""
    named = Placed(extra={"cOID": "mine"})
    order = await waiting(harness, disk, place(harness, named, Idempotency_Key="k"))
    await _pause(harness, sim)
    refused = await told(disk, order)
    await harness.post("/gateway/resume")

    placed = await place(harness, named, Idempotency_Key="k")

    assert (order_of(refused)[1], order_of(placed)[1]) == ("refused", "placed")
    assert len(sent(sim)) == 1


async def test_an_order_whose_call_is_ended_before_its_entry_frees_its_names(
    harness: Harness, sim: Simulator, disk: Disk
) -> None:
    """It waits for its turn behind a question; nothing is written of it but that it was refused."""
    asked = await place(harness, FAR)
    named = Placed(extra={"cOID": "mine", "orderType": "LMT", "price": 187.5})
    lock = harness.bridge.profile.orders.submitter.lock
    before = asyncio.all_tasks()
    order = asyncio.ensure_future(place(harness, named))
    async with asyncio.timeout(PATIENCE):
        while not lock._waiting:
            await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before - {order}:
        task.cancel()
    refused: Any = await harness.wait_for_events(events.OrderRefused)
    await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    placed = await place(harness, named)

    assert refused[0].why == "its call was cancelled before it was sent"
    assert (order_of(placed)[1], len(sent(sim))) == ("placed", 2)
    await asyncio.gather(order, return_exceptions=True)


async def test_an_order_whose_caller_hangs_up_meanwhile_is_not_sent(
    harness: Harness, sim: Simulator, disk: Disk
) -> None:
    """Nobody would hear of it."""
    body = json.dumps(ORDER.body).encode()
    lines = f"Host: localhost\r\nX-Bridge-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    disk.hold()
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"POST {ORDER.target} HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body)
    await disk.until_at_work()
    writer.close()
    await writer.wait_closed()
    disk.release()

    refused: Any = await harness.wait_for_events(events.OrderRefused)

    assert refused[0].why == "its caller disconnected before it was sent"
    assert await story(harness, refused[0].order) == ["sent", "refused"]
    assert sent(sim) == []


async def test_a_cancel_that_is_stopped_ends_no_question(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """It never left, so IBKR still waits for the reply."""
    asked = await place(harness, FAR)
    cancel = await waiting(harness, disk, harness.request("DELETE", "/iserver/account/DU1234567/order/1"))
    await _cut(harness, sim)
    refused = await told(disk, cancel)
    await harness.wait_until(SessionState.READY)

    placed = await harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True})

    assert (order_of(refused)[1], order_of(placed)[1]) == ("refused", "placed")
    assert sim.calls("/order/1") == []


async def test_a_yes_that_is_stopped_may_be_said_again(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """The question stands as before, and the journal says why the first yes did not leave."""
    asked = await place(harness, FAR)
    reply = f"/iserver/reply/{asked.json[0]['id']}"
    yes = await waiting(harness, disk, harness.post(reply, {"confirmed": True}))
    await _pause(harness, sim)
    refused = await told(disk, yes)
    await harness.post("/gateway/resume")

    placed = await harness.post(reply, {"confirmed": True})

    assert (refused.code, order_of(refused)[1], order_of(placed)[1]) == ("trading_paused", "question", "placed")
    whats = [what for what in await story(harness, order_of(asked)[0]) if what != "told"]
    assert whats == ["sent", "asked", "confirmed", "held_back", "confirmed", "taken"]
    assert len(sim.calls("/iserver/reply/")) == 1


async def test_a_yes_beforehand_that_is_stopped_becomes_a_question(
    harness: Harness, sim: Simulator, disk: Disk
) -> None:
    """Its caller gets IBKR's question after all."""
    harness.bus.subscribe(lambda event: disk.hold() if isinstance(event, events.OrderQuestioned) else None)
    order = asyncio.ensure_future(place(harness, FAR, X_Bridge_Confirm="o163"))
    await harness.wait_for_events(events.OrderQuestioned)
    await until_written(harness, disk)
    await _pause(harness, sim)

    asked = await told(disk, order)

    assert (asked.status, order_of(asked)[1]) == (200, "question")
    assert sim.calls("/iserver/reply/") == []


async def test_a_no_that_is_stopped_is_told_to_ibkr_later(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """The journal has it, so nothing is placed; IBKR's question must not hang on."""
    asked = await place(harness, FAR)
    no = await waiting(harness, disk, harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": False}))
    await _cut(harness, sim)

    declined = await told(disk, no)
    calls = await within(sim.wait_for_calls("/iserver/reply/"))

    assert (declined.code, order_of(declined)[1]) == ("order_not_placed", "not_placed")
    assert [json.loads(call.body) for call in calls] == [{"confirmed": False}]
    assert order_of(await place(harness, LIMIT))[1] == "placed"


async def test_a_question_is_not_declined_while_its_yes_is_written(
    harness: Harness, sim: Simulator, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time runs out meanwhile; the yes leaves, and no no beside it."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.3)
    asked = await place(harness, FAR)
    yes = await waiting(harness, disk, harness.post(f"/iserver/reply/{asked.json[0]['id']}", {"confirmed": True}))
    pending = harness.bridge.profile.orders.submitter.lock.pending
    assert pending is not None
    pending.expires_at = 0.0
    await harness.bridge.profile.orders.submitter.questions.decline_expired(1.0, _never)

    placed = await told(disk, yes)

    assert order_of(placed)[1] == "placed"
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": True}]


async def _never(*_: object) -> None:
    raise AssertionError("nothing is to be declined")
