"""Reads as callers see them: the rest of an answer that is too large to be kept belongs to one of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ibkr_bridge.cache.cached_reads import CachedReads, ReadOptions, ReadResult
from ibkr_bridge.cache.singleflight import SharedCall
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.ibkr.catalogue import match
from tests.body_stream import FakeBodyStream
from tests.clocks import ManualClock

META, CALL = match("GET", ("portfolio", "DU1", "meta")), Call("GET", "/v1/api/portfolio/DU1/meta")
ASKER = ReadOptions(5.0, None, lambda: True)


class Gateway:
    """Answers when a test says so, each time with a rest of its own."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.rests: list[FakeBodyStream] = []

    async def fly(self, shared_call: SharedCall) -> Response:
        """See `sharing.Fly`."""
        shared_call.mark_sent()
        await self.may.wait()
        self.rests.append(FakeBodyStream())
        return Response(200, {}, b"[", self.rests[-1])


async def asked(reads: CachedReads, gateway: Gateway) -> asyncio.Task[ReadResult]:
    """Somebody who waits."""
    task = asyncio.create_task(reads.read(META, CALL, ASKER, gateway.fly))
    await asyncio.sleep(0)
    return task


async def test_who_came_first_reads_the_rest_and_who_joined_asks_alone() -> None:
    """It comes once, and can be read once."""
    reads, gateway = CachedReads(ManualClock()), Gateway()
    first, second = await asked(reads, gateway), await asked(reads, gateway)

    gateway.may.set()
    answers = [(await task).response.body_stream for task in (first, second)]

    assert answers == gateway.rests
    assert [body_stream.close_count for body_stream in gateway.rests] == [0, 0]


@pytest.mark.parametrize("joined", [False, True])
async def test_the_rest_of_somebody_who_has_left_is_let_go(joined: bool) -> None:
    """Whether or not others wait: theirs is another one."""
    reads, gateway = CachedReads(ManualClock()), Gateway()
    first = await asked(reads, gateway)
    second = await asked(reads, gateway) if joined else None

    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    gateway.may.set()
    result = await second if second else None
    for _ in range(5):
        await asyncio.sleep(0)

    assert gateway.rests[0].close_count == 1
    assert result is None or result.response.body_stream is gateway.rests[1]
    assert [body_stream.close_count for body_stream in gateway.rests[1:]] == [0] * joined
