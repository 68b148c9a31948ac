"""A slow disk makes orders wait and nothing else; an order that may no longer be sent after the wait is not sent.

An event holds the disk on the journal's own thread, so no test depends on time: what must be answered while an order
waits is answered while it waits, or the test fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge import events
from ibkr_bridge.orders.journal.recent_orders import RecentOrders
from ibkr_bridge.orders.journal.store import open_read_only, read_rows
from ibkr_bridge.orders.journal.transitions import OrderState, verify
from ibkr_bridge.server.connection import ClientConnection
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from tests.conftest import OpenHarness
from tests.disk import Disk
from tests.harness import KEY, TEST_TIMEOUT_S, Harness, Placement, Reply, with_timeout
from tests.stories.test_orders import FAR, ORDER, order_of, place, sent, story
from tests.stream_clients import open_sse

HEALTH_REQUESTS = 200
Incident = Callable[[Harness, Simulator], Awaitable[None]]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulated Gateway; never a real one, as these tests cut its connections."""
    async with Simulator() as simulator:
        yield simulator


async def start_order(harness: Harness, disk: Disk, request: Awaitable[Reply]) -> asyncio.Task[Reply]:
    """Hold the disk and start an order; return when its entry is being written."""
    disk.hold()
    task = asyncio.ensure_future(request)
    await wait_for_pending_entry(harness, disk)
    return task


async def wait_for_pending_entry(harness: Harness, disk: Disk) -> None:
    """Wait until an entry that must be on disk before the call waits for the disk, which is held."""
    await disk.wait_until_holding()
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while not harness.bridge.profile.orders.repository._behind:
            await asyncio.sleep(0)


async def release_disk(disk: Disk, order: asyncio.Task[Reply]) -> Reply:
    """Release the disk and return the response to the order."""
    disk.release()
    return await with_timeout(order)


def handler_of(path: str) -> asyncio.Task[Any]:
    """The task in which the bridge's server handles the one request for a path."""

    def handles(task: asyncio.Task[Any]) -> bool:
        coroutine: Any = task.get_coro()
        is_handler = coroutine.__qualname__ == ClientConnection._handle_request.__qualname__
        return is_handler and bool(coroutine.cr_frame.f_locals["request"].path == path)

    (task,) = filter(handles, asyncio.all_tasks())
    return task


# -- other calls while an order waits


async def test_only_orders_wait_for_the_disk(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """Health, reads, the list of orders and streams continue while the disk is held."""
    await harness.wait_for_events(events.FeedUp)
    async with open_sse(harness, "/stream/quotes?conids=265598&fields=31,84") as quotes:
        order = await start_order(harness, disk, place(harness))
        health = [await harness.get("/health") for _ in range(HEALTH_REQUESTS)]
        reads = [await harness.get(target) for target in ("/portfolio/accounts", "/iserver/account/orders", "/orders")]
        for _ in range(3):
            await quotes.receive()
        assert not order.done()

        placed = await release_disk(disk, order)

    assert [reply.status for reply in health] == [200] * HEALTH_REQUESTS
    assert [reply.status for reply in reads] == [200] * 3
    assert order_of(placed)[1] == "placed"
    assert len(sent(sim)) == 1


async def test_a_response_of_ibkr_does_not_wait_for_its_entry(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """But a request for the history of the order waits until the history is complete."""
    disk.hold()
    order = asyncio.ensure_future(place(harness))
    await disk.wait_until_holding()
    disk.release()
    await harness.wait_for_events(events.OrderSent)
    disk.hold()
    placed = await with_timeout(order)
    history = asyncio.ensure_future(harness.get(f"/orders/{order_of(placed)[0]}"))
    await disk.wait_until_holding()
    assert not history.done()

    disk.release()

    assert [event["what"] for event in (await with_timeout(history)).json["events"]][:2] == ["sent", "taken"]


async def test_the_end_of_the_bridge_waits_for_the_disk(open_harness: OpenHarness, sim: Simulator, disk: Disk) -> None:
    """An order whose entry is being written is sent, and its caller gets the response."""
    harness = await open_harness()
    order = await start_order(harness, disk, place(harness))
    ending = asyncio.ensure_future(harness.finish())
    await harness.wait_for_events(events.BridgeStopping)
    assert not ending.done()

    placed = await release_disk(disk, order)

    assert order_of(placed)[1] == "placed"
    assert await with_timeout(ending) == 0


# -- what changes while an order waits for the disk


async def _pause(harness: Harness, _: Simulator) -> None:
    await harness.post("/gateway/pause")


async def _lose_session(harness: Harness, sim: Simulator) -> None:
    sim.log_out()
    harness.bridge.profile.keeper.request_check()
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while harness.bridge.profile.keeper.session.state is SessionState.READY:
            await harness.wait_for_events(events.SessionChanged, len(harness.session_changes) + 1)


async def _enter_penalty_box(harness: Harness, _: Simulator) -> None:
    harness.bridge.profile.penalty_box.enter()


async def _cut_connections(harness: Harness, sim: Simulator) -> None:
    upstream = harness.bridge.profile.upstream
    assert isinstance(upstream, GatewayClient)
    connections = upstream._http._pool._all
    connected = [connection for connection in connections if connection.is_connected()]
    sim.gateway.close_port()
    sim.gateway.reopen_port()
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while any(connection.is_connected() for connection in connected):
            await asyncio.sleep(0)


INCIDENTS = {
    "a pause": (_pause, "trading_paused"),
    "a lost session": (_lose_session, "session_unavailable"),
    "a penalty": (_enter_penalty_box, "penalty_box"),
    "a closed connection": (_cut_connections, "gateway_unreachable"),
}


@pytest.mark.parametrize(("incident", "code"), INCIDENTS.values(), ids=INCIDENTS)
async def test_an_order_is_checked_again_after_its_entry_is_written(
    harness: Harness, sim: Simulator, disk: Disk, incident: Incident, code: str
) -> None:
    """Its caller is told that nothing was sent, and the journal says the same."""
    order = await start_order(harness, disk, place(harness, Idempotency_Key="k"))
    await incident(harness, sim)

    refused = await release_disk(disk, order)

    assert (refused.code, order_of(refused)[1]) == (code, "refused")
    assert await story(harness, order_of(refused)[0]) == ["sent", "refused"]
    assert sent(sim) == []
    recent = RecentOrders(datetime(2020, 1, 1, tzinfo=UTC), lambda _: 0.0)
    rows = await harness.bridge.profile.orders.repository.journal.read_recent(recent)
    assert [entry.state for _, entry, _ in rows][-1:] == [OrderState.REFUSED]  # a restart searches for nothing


async def test_the_same_order_may_be_sent_again(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """It may have the idempotency key and the cOID of the stopped order."""
    order_with_coid = Placement(extra={"cOID": "mine"})
    order = await start_order(harness, disk, place(harness, order_with_coid, Idempotency_Key="k"))
    await _pause(harness, sim)
    refused = await release_disk(disk, order)
    await harness.post("/gateway/resume")

    placed = await place(harness, order_with_coid, Idempotency_Key="k")

    assert (order_of(refused)[1], order_of(placed)[1]) == ("refused", "placed")
    assert len(sent(sim)) == 1


async def test_an_order_that_is_cancelled_before_its_entry_frees_its_coid(
    harness: Harness, sim: Simulator, disk: Disk
) -> None:
    """It waits behind a question; the journal contains only that it was refused."""
    question = await place(harness, FAR)
    order_with_coid = Placement(extra={"cOID": "mine", "orderType": "LMT", "price": 187.5})
    lock = harness.bridge.profile.orders.submitter.lock
    order = asyncio.ensure_future(place(harness, order_with_coid))
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while not lock._waiting:
            await asyncio.sleep(0)
    handler_of(order_with_coid.target).cancel()
    refused: Any = await harness.wait_for_events(events.OrderRefused)
    await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    placed = await place(harness, order_with_coid)

    assert refused[0].reason == "its call was cancelled before it was sent"
    assert (order_of(placed)[1], len(sent(sim))) == ("placed", 2)
    await asyncio.gather(order, return_exceptions=True)


async def test_an_order_whose_caller_hangs_up_while_it_waits_is_not_sent(
    harness: Harness, sim: Simulator, disk: Disk
) -> None:
    """Nobody would get its response."""
    body = json.dumps(ORDER.body).encode()
    lines = f"Host: localhost\r\nX-Bridge-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    disk.hold()
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"POST {ORDER.target} HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body)
    await disk.wait_until_holding()
    writer.close()
    await writer.wait_closed()
    disk.release()

    refused: Any = await harness.wait_for_events(events.OrderRefused)

    assert refused[0].reason == "its caller disconnected before it was sent"
    assert await story(harness, refused[0].order) == ["sent", "refused"]
    assert sent(sim) == []


async def test_a_cancel_that_is_stopped_ends_no_question(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """It was not sent, so IBKR still waits for the reply."""
    question = await place(harness, FAR)
    cancel = await start_order(harness, disk, harness.request("DELETE", "/iserver/account/DU1234567/order/1"))
    await _cut_connections(harness, sim)
    refused = await release_disk(disk, cancel)
    await harness.wait_until(SessionState.READY)

    placed = await harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})

    assert (order_of(refused)[1], order_of(placed)[1]) == ("refused", "placed")
    assert sim.calls("/order/1") == []


async def test_a_confirmation_is_not_sent_if_a_cancel_ends_its_question_meanwhile(
    harness: Harness, sim: Simulator, disk: Disk
) -> None:
    """IBKR drops the question when it gets the cancel, so the order ends as not placed."""
    question = await place(harness, FAR)
    sim.faults.add("delay", path="/order/1$", times=1, seconds=0.6)
    cancel = asyncio.ensure_future(harness.request("DELETE", "/iserver/account/DU1234567/order/1"))
    await with_timeout(sim.wait_for_calls("/order/1"))
    confirmation = await start_order(
        harness, disk, harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})
    )
    assert not cancel.done()
    await with_timeout(cancel)

    stopped = await release_disk(disk, confirmation)

    assert order_of(stopped)[1] == "not_placed"
    entries = [what for what in await story(harness, order_of(question)[0]) if what != "told"]
    assert entries == ["sent", "asked", "confirmed", "dropped"]
    assert sim.calls("/iserver/reply/") == []


async def test_a_confirmation_that_is_stopped_may_be_repeated(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """The question stays open, and the journal says why the first confirmation was not sent."""
    question = await place(harness, FAR)
    reply = f"/iserver/reply/{question.json[0]['id']}"
    confirmation = await start_order(harness, disk, harness.post(reply, {"confirmed": True}))
    await _pause(harness, sim)
    refused = await release_disk(disk, confirmation)
    await harness.post("/gateway/resume")

    placed = await harness.post(reply, {"confirmed": True})

    assert (refused.code, order_of(refused)[1], order_of(placed)[1]) == ("trading_paused", "question", "placed")
    history = [what for what in await story(harness, order_of(question)[0]) if what != "told"]
    assert history == ["sent", "asked", "confirmed", "held_back", "confirmed", "taken"]
    assert len(sim.calls("/iserver/reply/")) == 1


async def test_a_confirmation_beforehand_that_is_stopped_becomes_a_question(
    harness: Harness, sim: Simulator, disk: Disk
) -> None:
    """Its caller gets IBKR's question."""
    harness.bus.subscribe(lambda event: disk.hold() if isinstance(event, events.OrderQuestioned) else None)
    order = asyncio.ensure_future(place(harness, FAR, X_Bridge_Confirm="o163"))
    await harness.wait_for_events(events.OrderQuestioned)
    await wait_for_pending_entry(harness, disk)
    await _pause(harness, sim)

    question = await release_disk(disk, order)

    assert (question.status, order_of(question)[1]) == (200, "question")
    assert sim.calls("/iserver/reply/") == []


async def test_a_no_does_not_wait_for_the_disk(harness: Harness, sim: Simulator, disk: Disk) -> None:
    """It places nothing; its entry follows when the disk has time."""
    question = await place(harness, FAR)
    disk.hold()

    declined = await with_timeout(harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": False}))
    disk.release()

    assert order_of(declined)[1] == "not_placed"
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": False}]
    assert (await story(harness, order_of(question)[0]))[-1] == "declined"


async def test_a_question_is_not_declined_while_its_confirmation_is_written(
    harness: Harness, sim: Simulator, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time ends while the disk is held; the confirmation is sent, and no refusal."""
    monkeypatch.setattr("ibkr_bridge.orders.serialization.REPLY_TIMEOUT_S", 0.3)
    question = await place(harness, FAR)
    confirmation = await start_order(
        harness, disk, harness.post(f"/iserver/reply/{question.json[0]['id']}", {"confirmed": True})
    )
    pending = harness.bridge.profile.orders.submitter.lock.pending
    assert pending is not None
    pending.expires_at = 0.0
    await harness.bridge.profile.orders.submitter.questions.decline_expired(1.0, _fail)

    placed = await release_disk(disk, confirmation)

    assert order_of(placed)[1] == "placed"
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": True}]


async def _fail(*_: object) -> None:
    raise AssertionError("nothing may be declined")


# -- a disk that stores an entry and reports an error


def flaws(state: Path) -> list[str]:
    """What `bridge.py orders verify` would find."""
    with closing(open_read_only(state / "main.orders.db")) as file:
        return [f"{flaw.number}: {flaw.reason}" for flaw in verify(read_rows(file))]


async def test_an_order_whose_entry_is_stored_with_an_error_was_never_sent(
    open_harness: OpenHarness, sim: Simulator, disk: Disk, tmp_path: Path
) -> None:
    """Its caller was told so, twice; after a restart it is not unknown, and no order waits for it."""
    first = await open_harness()
    for _ in range(2):
        await first.bridge.profile.orders.repository.journal.read_all()
        disk.late_failures = 1
        refused = await place(first, Idempotency_Key="k", X_Bridge_Wait="0")
        assert (refused.code, order_of(refused)[1]) == ("journal_unavailable", "refused")
    await first.finish()
    assert (sent(sim), flaws(tmp_path / "state")) == ([], [])

    second = await open_harness()
    replies = [
        await place(second, Idempotency_Key="k", X_Bridge_Wait="0"),
        await place(second, Placement(extra={"cOID": "other"}), X_Bridge_Wait="0"),
    ]

    assert [order_of(reply)[1] for reply in replies] == ["placed", "placed"]


async def test_a_question_whose_confirmation_is_stored_with_an_error_stays_open(
    open_harness: OpenHarness, sim: Simulator, disk: Disk, tmp_path: Path
) -> None:
    """Its caller may decline it afterwards, and the journal is what the bridge has done."""
    harness = await open_harness()
    question = await place(harness, FAR)
    reply = f"/iserver/reply/{question.json[0]['id']}"
    await harness.bridge.profile.orders.repository.journal.read_all()
    disk.late_failures = 1

    stopped = await harness.post(reply, {"confirmed": True})
    declined = await harness.post(reply, {"confirmed": False})
    events_of_order = await story(harness, order_of(question)[0])
    await harness.finish()

    assert (stopped.code, order_of(stopped)[1]) == ("journal_unavailable", "question")
    assert order_of(declined)[1] == "not_placed"
    assert [json.loads(call.body) for call in sim.calls("/iserver/reply/")] == [{"confirmed": False}]
    assert events_of_order[-3:] == ["confirmed", "held_back", "declined"]
    assert flaws(tmp_path / "state") == []
