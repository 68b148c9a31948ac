"""Quote snapshots that are asked for again until their fields are there."""

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
from tests.harness import within
from tests.quirks.scripted import good

CALL = Call("GET", "/v1/api/iserver/marketdata/snapshot?conids=8&fields=31,84")
EMPTY, HALF = good('[{"conid":8}]'), good('[{"conid":8,"31":"1"}]')
FULL = good('[{"conid":8,"31":"1","84":"2"}]')


class World:
    """A snapshot that is filled, and what is asked for meanwhile."""

    def __init__(self, *later: Response | Exception) -> None:
        self.clock = ManualClock()
        self.completion = SnapshotCompletion(self.clock)
        self.asked_at: list[float] = []
        self.searched: list[list[str]] = []
        self._later = list(later)

    async def again(self) -> Response:
        """See `Refetch`."""
        self.asked_at.append(round(self.clock.now() - 1000.0, 3))
        found = self._later.pop(0) if len(self._later) > 1 else self._later[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def search(self, instruments: list[str]) -> None:
        """See `SearchUnderlyings`."""
        self.searched.append(instruments)

    async def fill(self, first: Response) -> Response:
        """Fill a snapshot, moving time on whenever it waits."""
        task = asyncio.create_task(self.completion.fill(CALL, first, self.again, self.search))
        while not task.done():
            await asyncio.sleep(0)
            if self.clock._alarms:
                self.clock.advance(self.clock.next_alarm)
        return await within(task)


async def test_a_snapshot_that_is_full_is_told_at_once() -> None:
    """And without a note."""
    world = World()

    response = await world.fill(FULL)

    assert (response, world.asked_at) == (FULL, [])


async def test_a_snapshot_is_asked_for_until_its_fields_are_there() -> None:
    """Soon at first, and then as often as IBKR has new quotes."""
    world = World(HALF, FULL)

    assert await world.fill(EMPTY) is FULL
    assert world.asked_at == [FIRST_INTERVAL_S, FIRST_INTERVAL_S + INTERVAL_S]


async def test_what_never_comes_is_given_up_after_four_seconds_with_a_note() -> None:
    """The caller is told which field is missing."""
    world = World(HALF)

    response = await world.fill(EMPTY)

    assert response.bridge_headers == {MISSING_HEADER: "8:84"}
    assert FILL_TIMEOUT_S - INTERVAL_S < world.asked_at[-1] <= FILL_TIMEOUT_S


async def test_what_was_given_up_is_not_waited_for_again_for_a_minute() -> None:
    """Some fields never come; the next caller must not lose four seconds, and is told all the same."""
    world = World(HALF)
    await world.fill(HALF)
    asked = len(world.asked_at)

    response = await world.fill(HALF)
    assert (len(world.asked_at), response.bridge_headers) == (asked, {MISSING_HEADER: "8:84"})
    world.clock.advance(GIVEN_UP_TTL_S)
    await world.fill(HALF)

    assert len(world.asked_at) > asked


async def test_another_session_may_have_what_this_one_had_not() -> None:
    """So it is waited for again."""
    world = World(HALF)
    await world.fill(HALF)
    asked = len(world.asked_at)

    world.completion.reset_session()
    await world.fill(HALF)

    assert len(world.asked_at) > asked


async def test_what_is_still_empty_at_the_second_look_may_be_a_derivative() -> None:
    """Its underlying is searched for, once."""
    world = World(EMPTY, EMPTY, FULL)

    await world.fill(EMPTY)

    assert world.searched == [["8"]]


@pytest.mark.parametrize("error", [RateLimited("too often"), GatewayTimeout("silence")])
async def test_an_answer_that_is_there_must_do_where_none_can_be_had(error: Exception) -> None:
    """A thin answer is better than none."""
    response = await World(error).fill(HALF)

    assert (response.body, response.bridge_headers) == (HALF.body, {MISSING_HEADER: "8:84"})


async def test_an_answer_that_is_no_snapshot_is_let_go_of() -> None:
    """The last good one is told."""
    rest = FakeBodyStream()

    response = await World(replace(good("["), body_stream=rest)).fill(HALF)

    assert (response.body, rest.close_count) == (HALF.body, 1)


async def test_what_is_no_list_of_rows_is_passed_on() -> None:
    """IBKR's refusal is the caller's answer."""
    refusal, world = good('{"error":"no"}'), World()

    assert await world.fill(refusal) is refusal
    assert world.asked_at == []
