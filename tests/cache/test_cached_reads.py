"""Reads through the cache: the stream of a large body belongs to one of the callers that share the read."""

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
OPTIONS = ReadOptions(5.0, None, lambda: True)


class Gateway:
    """Responds when `may_respond` is set, each time with a new body stream."""

    def __init__(self) -> None:
        self.may_respond = asyncio.Event()
        self.body_streams: list[FakeBodyStream] = []

    async def fetch(self, shared_call: SharedCall) -> Response:
        """See `Fetch`."""
        shared_call.mark_sent()
        await self.may_respond.wait()
        self.body_streams.append(FakeBodyStream())
        return Response(200, {}, b"[", self.body_streams[-1])


async def start_read(reads: CachedReads, gateway: Gateway) -> asyncio.Task[ReadResult]:
    """Start a read, and return when it waits for the Gateway."""
    task = asyncio.create_task(reads.read(META, CALL, OPTIONS, gateway.fetch))
    await asyncio.sleep(0)
    return task


async def test_the_first_caller_gets_the_body_stream_and_the_second_fetches_again() -> None:
    """A stream can be read only once."""
    reads, gateway = CachedReads(ManualClock()), Gateway()
    first, second = await start_read(reads, gateway), await start_read(reads, gateway)

    gateway.may_respond.set()
    streams_of_callers = [(await task).response.body_stream for task in (first, second)]

    assert streams_of_callers == gateway.body_streams
    assert [body_stream.close_count for body_stream in gateway.body_streams] == [0, 0]


@pytest.mark.parametrize("is_joined", [False, True])
async def test_the_body_stream_of_a_cancelled_caller_is_closed(is_joined: bool) -> None:
    """A caller that joined the read gets a stream of its own."""
    reads, gateway = CachedReads(ManualClock()), Gateway()
    first = await start_read(reads, gateway)
    second = await start_read(reads, gateway) if is_joined else None

    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    gateway.may_respond.set()
    result = await second if second else None
    for _ in range(5):
        await asyncio.sleep(0)

    assert gateway.body_streams[0].close_count == 1
    assert result is None or result.response.body_stream is gateway.body_streams[1]
    assert [body_stream.close_count for body_stream in gateway.body_streams[1:]] == [0] * is_joined
