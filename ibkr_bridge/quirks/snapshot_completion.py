"""Complete quote snapshots: the call is repeated until the requested fields are there.

IBKR's first response for an instrument only opens its stream and has no fields; computed fields come later, some never.
So a caller waits once, at most 4 s, and a header lists the missing fields; for the next 60 s no call waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from ibkr_bridge.calls.messages import Call, Response, discard
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayError, TemporarilyUnavailable
from ibkr_bridge.quirks.snapshot_fields import SnapshotGaps, find_gaps

MISSING_HEADER = "X-Bridge-Missing"
FILL_TIMEOUT_S = 4.0  # seconds
FIRST_INTERVAL_S, INTERVAL_S = 0.3, 0.5  # seconds; IBKR itself updates quotes every half second
GIVEN_UP_TTL_S = 60.0  # seconds
MAX_REMEMBERED = 20_000  # fields that never came

Refetch = Callable[[], Awaitable[Response]]
"""Sends the call once more."""
SearchUnderlyings = Callable[[list[str]], Awaitable[None]]
"""Receives instruments that still have no field in the second response."""


class SnapshotCompletion:
    """Completes the quote snapshots of one profile.

    Args:
        clock: the time, for the pauses between two calls.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._given_up: dict[tuple[str, str], float] = {}

    def __repr__(self) -> str:
        return f"<SnapshotCompletion {len(self._given_up)} fields given up>"

    def reset_session(self) -> None:
        """Forget the missing fields: a new session may have them."""
        self._given_up.clear()

    async def fill(
        self, call: Call, response: Response, refetch: Refetch, search_underlyings: SearchUnderlyings
    ) -> Response:
        """Return the first response with all fields, else the last one, with a header that lists the missing fields.

        Args:
            response: IBKR's first response.
        """
        gaps, until, pause = find_gaps(call, response), self._clock.now() + FILL_TIMEOUT_S, FIRST_INTERVAL_S
        while gaps is not None and self._is_worth_waiting(gaps) and self._clock.now() + pause <= until:
            await self._clock.wait(asyncio.Event(), pause)
            refetched = await _refetch_or_none(refetch)
            later_gaps = find_gaps(call, refetched) if refetched is not None else None
            if refetched is None or later_gaps is None:
                discard(refetched)
                return _with_missing_header(response, gaps)
            if pause == FIRST_INTERVAL_S and later_gaps.empty_instruments:
                with suppress(TemporarilyUnavailable, GatewayError):  # the header lists the missing fields in any case
                    await search_underlyings(later_gaps.empty_instruments)
            response, gaps, pause = refetched, later_gaps, INTERVAL_S
        if gaps is not None:
            self._give_up(gaps)
        return _with_missing_header(response, gaps)

    def _is_worth_waiting(self, gaps: SnapshotGaps) -> bool:
        now = self._clock.now()
        return any(self._given_up.get(pair, now) <= now for pair in _pairs_of(gaps))

    def _give_up(self, gaps: SnapshotGaps) -> None:
        if len(self._given_up) > MAX_REMEMBERED:
            self._given_up.clear()
        now = self._clock.now()
        fresh = [pair for pair in _pairs_of(gaps) if self._given_up.get(pair, now) <= now]
        self._given_up.update(dict.fromkeys(fresh, now + GIVEN_UP_TTL_S))


def _pairs_of(gaps: SnapshotGaps) -> list[tuple[str, str]]:
    return [(conid, field) for conid, fields in gaps.missing.items() for field in fields]


def _with_missing_header(response: Response, gaps: SnapshotGaps | None) -> Response:
    return (
        replace(response, bridge_headers={MISSING_HEADER: gaps.as_header})
        if gaps is not None and gaps.missing
        else response
    )


async def _refetch_or_none(refetch: Refetch) -> Response | None:
    """The next response; None if the call cannot be sent now: there is a partial response already."""
    try:
        return await refetch()
    except (TemporarilyUnavailable, GatewayError):
        return None
