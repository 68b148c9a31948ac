"""Requests that are handled at the same time: each key has a share, and the open routes always have a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.errors import Busy
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.server.app_keys import REQUEST_SHARES
from ibkr_bridge.server.connection import MAX_CONNECTIONS
from ibkr_bridge.server.request_shares import RequestShares
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import KEY, READONLY_KEY, Harness, settings_for, with_timeout


def begin(shares: RequestShares, label: str, count: int, *, is_reduced: bool = False) -> int:
    """Begin so many requests. Returns how many were accepted."""
    accepted = 0
    for _ in range(count):
        try:
            shares.begin(label, has_reduced_share=is_reduced)
        except Busy:
            break
        accepted += 1
    return accepted


def test_no_key_has_more_than_three_quarters() -> None:
    """The rest is left to the others, down to the connections that the open routes need."""
    shares = RequestShares()

    assert MAX_CONNECTIONS == 512
    assert (begin(shares, "full", 500), begin(shares, "previous", 500)) == (372, 124)
    assert repr(shares) == "<RequestShares 496/496 requests>"


def test_all_keys_with_a_reduced_share_have_three_quarters_together() -> None:
    """Two of them do not add up to everything."""
    shares = RequestShares(40)

    assert begin(shares, "read-only", 20, is_reduced=True) == 20
    assert begin(shares, "read-only token", 20, is_reduced=True) == 10
    assert begin(shares, "full", 20) == 10


def test_a_request_that_ends_gives_its_place_back() -> None:
    """Whatever ends it."""
    shares = RequestShares(4)
    ends = [shares.begin("read-only", has_reduced_share=True) for _ in range(3)]
    with pytest.raises(Busy) as error:
        shares.begin("read-only", has_reduced_share=True)
    ends[0]()

    assert error.value.retryable
    assert begin(shares, "read-only", 3, is_reduced=True) == 1


@pytest.fixture
async def shared_harness(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge that shares identical reads, as an operator's does."""
    settings = settings_for(sim.url, tmp_path, IBKR_BRIDGE_READONLY_KEY=READONLY_KEY, IBKR_GATEWAY_TIMEOUT="60")
    async with Harness(settings, options=ProfileOptions()) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


async def test_waiting_reads_of_one_key_leave_connections_to_an_order_and_to_health(
    shared_harness: Harness, sim: Simulator
) -> None:
    """Five hundred identical reads need one slot, but each holds a connection."""
    harness = shared_harness
    sim.faults.add("done-silence", path="/portfolio/DU1234567/meta")
    request = f"GET /portfolio/DU1234567/meta HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {READONLY_KEY}\r\n\r\n"
    writers = []
    for _ in range(500):
        _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
        writer.write(request.encode())
        writers.append(writer)
    runner = harness.bridge._runner
    assert runner is not None
    await with_timeout(_wait_for_requests(runner.app[REQUEST_SHARES], 372))

    read = await harness.get("/portfolio/accounts", key=KEY)
    refused = await harness.get("/portfolio/accounts", key=READONLY_KEY)

    cancel = await harness.request("DELETE", "/iserver/account/DU1234567/order/4711", key=READONLY_KEY)

    assert (read.status, refused.status, refused.code) == (200, 503, "busy")
    assert cancel.code == "insufficient_scope"  # it passed this check: a cancel is tried in any case
    assert (await harness.get("/health")).status == 200
    for writer in writers:
        writer.close()
    sim.faults.clear()
    sim.market.release_held_calls()  # else the bridge would wait for them before it ends


async def _wait_for_requests(shares: RequestShares, count: int) -> None:
    while shares.total < count:
        await asyncio.sleep(0.01)
