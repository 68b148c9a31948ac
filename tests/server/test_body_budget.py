"""The memory of all request bodies together: small ones always pass, and what is reserved is released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.errors import Busy
from ibkr_bridge.server.app_keys import BODY_BUDGET
from ibkr_bridge.server.body_budget import SMALL_BYTES, BodyBudget
from tests.harness import KEY, Harness, with_timeout

MIB = 1024 * 1024
HEAD = (
    b"POST /iserver/secdef/search HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: %s\r\nContent-Type: application/json\r\n"
)


def test_bodies_are_counted_together() -> None:
    """The one that finds no room is refused; a small one never is."""
    budget = BodyBudget(2 * MIB)
    reserved = [budget.reserve(MIB), budget.reserve(MIB)]

    with pytest.raises(Busy) as error:
        budget.reserve(SMALL_BYTES + 1)
    assert error.value.retryable
    budget.reserve(SMALL_BYTES)
    for release in (*reserved, *reserved):
        release()
    assert budget.used_bytes == 0


def test_callers_with_a_reduced_share_leave_a_quarter_free() -> None:
    """Read-only keys and tokens cannot keep the bodies of the full key out."""
    budget = BodyBudget(4 * MIB)
    reserved = [budget.reserve(MIB, has_reduced_share=True) for _ in range(3)]

    with pytest.raises(Busy):
        budget.reserve(SMALL_BYTES + 1, has_reduced_share=True)
    reserved.append(budget.reserve(MIB))
    with pytest.raises(Busy):
        budget.reserve(SMALL_BYTES + 1)
    for release in reserved:
        release()
    budget.reserve(MIB, has_reduced_share=True)()
    assert budget.used_bytes == 0


def budget_of(harness: Harness) -> BodyBudget:
    """The budget of a bridge."""
    runner = harness.bridge._runner
    assert runner is not None
    return runner.app[BODY_BUDGET]


@pytest.fixture
async def waiting(harness: Harness) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Clients that have announced bodies of 1 MiB, as many as there is room for, and do not send them."""
    writers = []
    for _ in range(32):
        _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
        writer.write(HEAD % KEY.encode() + b"Content-Length: 1048576\r\n\r\n")
        writers.append(writer)
    await with_timeout(_wait_for_bytes(harness, 32 * MIB))
    yield writers
    for writer in writers:
        writer.close()


async def test_a_large_body_beyond_the_budget_is_busy(harness: Harness, waiting: list[asyncio.StreamWriter]) -> None:
    """Its caller may come back; everybody else is served."""
    large = b'{"symbol":"' + b"A" * MIB + b'"}'

    refused = await harness.post("/iserver/secdef/search", large[:-100])
    chunked = await harness.send_raw(
        HEAD % KEY.encode() + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )

    assert (refused.status, refused.code) == (503, "busy")
    assert chunked.startswith(b"HTTP/1.1 503 ")
    assert (await harness.post("/iserver/secdef/search", {"symbol": "AAPL"})).status == 200
    assert (await harness.get("/health")).status == 200


async def test_the_room_of_a_caller_that_leaves_is_free_again(
    harness: Harness, waiting: list[asyncio.StreamWriter]
) -> None:
    """Whatever ends the request."""
    for writer in waiting:
        writer.transport.abort()

    await with_timeout(_wait_for_bytes(harness, 0))


async def test_a_body_without_a_key_takes_no_room(harness: Harness) -> None:
    """It is not read."""
    reply = await harness.send_raw(
        HEAD.replace(b"X-Bridge-Key", b"X-Other") % b"x" + b"Content-Length: 1000000\r\nConnection: close\r\n\r\n"
    )

    assert reply.startswith(b"HTTP/1.1 401 ")
    assert budget_of(harness).used_bytes == 0


async def _wait_for_bytes(harness: Harness, count: int) -> None:
    while budget_of(harness).used_bytes != count:
        await asyncio.sleep(0)
