"""A key or token that is replaced or expires while its call waits opens nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import ManualClock
from tests.harness import KEY, PREVIOUS_KEY, READONLY_KEY, Harness, Placement, Reply, settings_for, with_timeout

NEW_KEY = "another-key-for-tests-0123456789-abcdef"
FAR = Placement(extra={"orderType": "LMT", "price": 100})  # IBKR asks a question, so the lock is held
SUMMARY = "/iserver/account/DU1234567/summary"
PATIENT = {"X-Bridge-Wait": "30"}


@pytest.fixture
async def bridge(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge with all three keys."""
    keys = {"IBKR_BRIDGE_KEY_PREVIOUS": PREVIOUS_KEY, "IBKR_BRIDGE_READONLY_KEY": READONLY_KEY}
    async with Harness(settings_for(sim.url, tmp_path, **keys)) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


def rotate(bridge: Harness, **keys: str) -> None:
    """Replace all keys, as a reload does."""
    settings = settings_for("https://127.0.0.1:1", Path("/nowhere"), **{"IBKR_BRIDGE_KEY": NEW_KEY, **keys})
    bridge.bridge.keys.replace(settings)


async def start_waiting_order(bridge: Harness, credential: str) -> asyncio.Task[Reply]:
    """An order of this key or token that waits for the lock, which a question holds."""
    question = await bridge.post(FAR.target, FAR.body)
    assert question.json[0]["messageIds"]
    waiting = asyncio.create_task(
        bridge.post(
            FAR.target, Placement().body, key=None, headers={**PATIENT, "Authorization": f"Bearer {credential}"}
        )
    )
    async with asyncio.timeout(30.0):
        while not bridge.bridge.profile.orders.submitter.lock._waiting:
            await asyncio.sleep(0)
    return waiting


async def answer_question(bridge: Harness, key: str) -> None:
    """End the question, so that the lock goes to the order that waits."""
    pending = bridge.bridge.profile.orders.submitter.lock.pending
    assert pending is not None
    reply_id = pending.question.replies[0]
    await bridge.post(f"/iserver/reply/{reply_id}", {"confirmed": False}, key=key)


@pytest.mark.parametrize("credential", ["key", "token"])
async def test_a_waiting_order_of_a_replaced_credential_is_never_sent(
    bridge: Harness, sim: Simulator, credential: str
) -> None:
    """It waited up to a minute for the lock; its key was replaced meanwhile because it was stolen."""
    credential = PREVIOUS_KEY
    if credential == "token":
        issued = await bridge.post("/auth/token", {"scope": "trade"}, key=PREVIOUS_KEY)
        credential = issued.json["token"]
    waiting = await start_waiting_order(bridge, credential)
    placements = len(sim.calls(FAR.target))
    rotate(bridge, IBKR_BRIDGE_KEY=KEY)

    await answer_question(bridge, KEY)
    reply = await with_timeout(waiting)

    assert (reply.status, reply.code) == (401, "invalid_key")
    assert len(sim.calls(FAR.target)) == placements
    assert reply.headers["X-Bridge-Order-State"] == "refused"


async def test_a_token_that_expires_while_its_order_waits_sends_nothing(sim: Simulator, tmp_path: Path) -> None:
    """A token is short-lived so that a stolen one is worth little."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as bridge:
        await bridge.wait_until(SessionState.READY)
        token = (await bridge.post("/auth/token", {"scope": "trade", "expires_in": 5})).json["token"]
        waiting = await start_waiting_order(bridge, token)
        placements = len(sim.calls(FAR.target))
        clock._now += 10.0  # the time passes without an alarm

        await answer_question(bridge, KEY)
        reply = await with_timeout(waiting)

    assert (reply.status, reply.code) == (401, "invalid_key")
    assert len(sim.calls(FAR.target)) == placements


async def test_a_read_of_a_replaced_key_brings_nothing_and_others_get_the_response(
    bridge: Harness, sim: Simulator
) -> None:
    """Both share one call at IBKR; only the caller whose key is gone gets 401."""
    sim.faults.add("delay", path=SUMMARY, times=1, seconds=0.5)
    leader = asyncio.create_task(bridge.get(SUMMARY, key=READONLY_KEY))
    await with_timeout(sim.wait_for_calls(SUMMARY))
    follower = asyncio.create_task(bridge.get(SUMMARY))
    rotate(bridge, IBKR_BRIDGE_KEY=KEY)

    revoked, valid = await with_timeout(asyncio.gather(leader, follower))

    assert (revoked.status, revoked.code, valid.status) == (401, "invalid_key", 200)


async def test_a_byte_identical_read_of_a_replaced_key_is_not_answered_from_the_cache(bridge: Harness) -> None:
    """On the same connection, a moment after the rotation."""
    first = await bridge.get(SUMMARY, key=READONLY_KEY)
    rotate(bridge, IBKR_BRIDGE_KEY=KEY)

    second = await bridge.get(SUMMARY, key=READONLY_KEY)

    assert (first.status, second.status, second.code) == (200, 401, "invalid_key")


async def test_a_change_that_waits_for_the_session_is_not_sent_after_a_rotation(
    bridge: Harness, sim: Simulator
) -> None:
    """The rule applies to every change, not only to orders."""
    sim.faults.add("status", path="/ssodh/init", status=500)
    sim.lose_brokerage()
    bridge.bridge.profile.keeper.request_check()
    await bridge.wait_until(SessionState.OPENING)
    change = ("/iserver/account", {"acctId": "DU7654321"})
    waiting = asyncio.create_task(bridge.post(*change, key=PREVIOUS_KEY, headers=PATIENT))
    await asyncio.sleep(0)
    rotate(bridge, IBKR_BRIDGE_KEY=KEY)
    sim.faults.clear()
    sim.market.world.sessions.open_brokerage(sim.clock.now(), compete=True, is_established=True)
    bridge.bridge.profile.keeper.request_check()

    reply = await with_timeout(waiting)

    assert (reply.status, reply.code) == (401, "invalid_key")
    assert not [call for call in sim.gateway_calls(change[0]) if call.method == "POST" and "ssodh" not in call.target]
