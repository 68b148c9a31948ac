"""Quote snapshots that are fetched again until they have all requested fields."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.errors import GatewayTimeout, RateLimited
from ibkr_bridge.quirks.snapshot_completion import (
    FILL_TIMEOUT_S,
    FIRST_INTERVAL_S,
    GIVEN_UP_TTL_S,
    INTERVAL_S,
    MISSING_HEADER,
    SnapshotCompletion,
)
from tests.body_stream import FakeBodyStream
from tests.clocks import ManualClock
from tests.harness import with_timeout
from tests.quirks.scripted import ok

CALL = Call("GET", "/v1/api/iserver/marketdata/snapshot?conids=8&fields=31,84")
EMPTY, PARTIAL = ok('[{"conid":8}]'), ok('[{"conid":8,"31":"1"}]')
FULL = ok('[{"conid":8,"31":"1","84":"2"}]')


class FillHarness:
    """Fills a snapshot, and lists when it was fetched again and for which underlyings a search was sent."""

    def __init__(self, *refetched: Response | Exception) -> None:
        self.clock = ManualClock()
        self.completion = SnapshotCompletion(self.clock)
        self.fetched_at: list[float] = []
        self.searches: list[list[str]] = []
        self._refetched = list(refetched)

    async def refetch(self) -> Response:
        """See `Refetch`."""
        self.fetched_at.append(round(self.clock.now() - 1000.0, 3))
        result = self._refetched.pop(0) if len(self._refetched) > 1 else self._refetched[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def search(self, instruments: list[str]) -> None:
        """See `SearchUnderlyings`."""
        self.searches.append(instruments)

    async def fill(self, first: Response) -> Response:
        """Fill a snapshot, and move the clock whenever the code waits."""
        task = asyncio.create_task(self.completion.fill(CALL, first, self.refetch, self.search))
        while not task.done():
            await asyncio.sleep(0)
            if self.clock._alarms:
                self.clock.advance(self.clock.next_alarm)
        return await with_timeout(task)


async def test_a_complete_snapshot_is_returned_at_once() -> None:
    """It has no header for missing fields."""
    harness = FillHarness()

    response = await harness.fill(FULL)

    assert (response, harness.fetched_at) == (FULL, [])


async def test_a_snapshot_is_fetched_until_it_has_its_fields() -> None:
    """The first interval is short; the others are those at which IBKR has new quotes."""
    harness = FillHarness(PARTIAL, FULL)

    assert await harness.fill(EMPTY) is FULL
    assert harness.fetched_at == [FIRST_INTERVAL_S, FIRST_INTERVAL_S + INTERVAL_S]


async def test_missing_fields_are_given_up_after_four_seconds() -> None:
    """The header names them for the caller."""
    harness = FillHarness(PARTIAL)

    response = await harness.fill(EMPTY)

    assert response.bridge_headers == {MISSING_HEADER: "8:84"}
    assert FILL_TIMEOUT_S - INTERVAL_S < harness.fetched_at[-1] <= FILL_TIMEOUT_S


async def test_missing_fields_are_not_waited_for_again_for_a_minute() -> None:
    """Some fields never come. The next caller gets the header at once and does not lose four seconds."""
    harness = FillHarness(PARTIAL)
    await harness.fill(PARTIAL)
    fetch_count = len(harness.fetched_at)

    response = await harness.fill(PARTIAL)
    assert (len(harness.fetched_at), response.bridge_headers) == (fetch_count, {MISSING_HEADER: "8:84"})
    harness.clock.advance(GIVEN_UP_TTL_S)
    await harness.fill(PARTIAL)

    assert len(harness.fetched_at) > fetch_count


async def test_a_new_session_waits_for_missing_fields_again() -> None:
    """The new session may have what the former one lacked."""
    harness = FillHarness(PARTIAL)
    await harness.fill(PARTIAL)
    fetch_count = len(harness.fetched_at)

    harness.completion.reset_session()
    await harness.fill(PARTIAL)

    assert len(harness.fetched_at) > fetch_count


async def test_the_underlying_is_searched_for_if_the_second_snapshot_is_empty() -> None:
    """The contract may be a derivative. The search is made once."""
    harness = FillHarness(EMPTY, EMPTY, FULL)

    await harness.fill(EMPTY)

    assert harness.searches == [["8"]]


@pytest.mark.parametrize("error", [RateLimited("too often"), GatewayTimeout("silence")])
async def test_a_partial_snapshot_is_returned_if_the_refetch_fails(error: Exception) -> None:
    """A partial snapshot is better than none."""
    response = await FillHarness(error).fill(PARTIAL)

    assert (response.body, response.bridge_headers) == (PARTIAL.body, {MISSING_HEADER: "8:84"})


async def test_a_response_other_than_a_snapshot_is_closed() -> None:
    """The last valid snapshot is returned."""
    body_stream = FakeBodyStream()

    response = await FillHarness(replace(ok("["), body_stream=body_stream)).fill(PARTIAL)

    assert (response.body, body_stream.close_count) == (PARTIAL.body, 1)


async def test_a_refusal_is_passed_on() -> None:
    """IBKR's refusal is the response for the caller."""
    refusal, harness = ok('{"error":"no"}'), FillHarness()

    assert await harness.fill(refusal) is refusal
    assert harness.fetched_at == []
