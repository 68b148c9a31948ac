"""How a call is asked so that its answer is a whole one.

First what IBKR wants to be asked first; then the call; then, where it reads, once more if IBKR says that it wanted
something else before, or if its first answer is a thin one, and snapshots until they are filled. What changes something
is asked once, whatever comes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from ibkr_bridge.calls.messages import Call, FetchCall, Response, discard
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BridgeError, TemporarilyUnavailable
from ibkr_bridge.ibkr.bodies import demands_accounts_first, is_partial
from ibkr_bridge.ibkr.endpoint import Composition, Endpoint, Prerequisite
from ibkr_bridge.quirks.prerequisites import Observer, Prerequisites
from ibkr_bridge.quirks.snapshot_completion import SnapshotCompletion

PREREQUISITE_TIMEOUT_S = 0.5  # seconds that a call which changes something waits for what IBKR wants first


class CallHandle(Protocol):
    """One call, and the ways to ask for it and for what it takes."""

    endpoint: Endpoint
    call: Call

    async def send(self, extra_wait_s: float) -> Response:
        """Ask for it; wait for its turn so many seconds longer than its caller would."""
        ...

    async def fetch(self, call: Call) -> Response:
        """Ask another one, the whole road."""
        ...

    async def fetch_fresh(self, call: Call) -> Response:
        """The same, but for what may be remembered wrongly."""
        ...


class CompleteReads:
    """What one line knows of how IBKR wants to be asked.

    Args:
        clock: time, for the pauses between two looks.
    """

    def __init__(self, clock: Clock) -> None:
        self._prerequisites = Prerequisites()
        self._snapshots = SnapshotCompletion(clock)

    def __repr__(self) -> str:
        return f"<CompleteReads {self._prerequisites!r} {self._snapshots!r}>"

    def reset_session(self) -> None:
        """Another session begins anew."""
        self._prerequisites.reset_session()
        self._snapshots.reset_session()

    def observer(self) -> Observer:
        """Somebody asks: what is to be told of the answer. It counts for the session in which it was asked for."""
        return self._prerequisites.observer()

    async def handle(self, handle: CallHandle) -> Response:
        """The answer, as whole as it can be had.

        Raises:
            BridgeError: what came of it instead.
        """
        endpoint = handle.endpoint
        if endpoint.prerequisites:
            await self._ensure_prerequisites(handle)
        if not endpoint.is_read:
            return await handle.send(0.0)
        response = await self._repeat_after_accounts(handle, await handle.send(0.0))
        if Prerequisite.TWICE in endpoint.prerequisites and self._is_partial(handle, response):
            response = await self._fetch_again(handle, response)
        if endpoint.composition is Composition.FILLED:
            response = await self._fill_snapshot(handle, response)
        return response

    async def _ensure_prerequisites(self, handle: CallHandle) -> None:
        other = _discarding(handle.fetch)
        if handle.endpoint.is_read:
            await self._prerequisites.ensure(handle.endpoint, handle.call, other)
            return
        with suppress(BridgeError, TimeoutError):  # getting out must not depend on it; IBKR says what is missing
            async with asyncio.timeout(PREREQUISITE_TIMEOUT_S):
                await self._prerequisites.ensure(handle.endpoint, handle.call, other)

    async def _repeat_after_accounts(self, handle: CallHandle, response: Response) -> Response:
        """IBKR has forgotten that it was asked for the accounts: it is asked again, and so is the call."""
        if response.status == 200 or not demands_accounts_first(response.body):
            return response
        discard(response)
        await self._prerequisites.fetch(Prerequisite.ACCOUNTS, _discarding(handle.fetch_fresh))
        return await handle.send(0.0)

    def _is_partial(self, handle: CallHandle, response: Response) -> bool:
        if response.status != 200 or response.body_stream is not None:
            return False
        if handle.endpoint.rate_limit is not None:
            return is_partial(response.body)  # a second look costs its callers seconds: only where IBKR says so
        return self._prerequisites.is_first_request(handle.call)

    async def _fill_snapshot(self, handle: CallHandle, response: Response) -> Response:
        async def again() -> Response:
            return await handle.send(0.0)

        async def help_out(instruments: list[str]) -> None:
            await self._prerequisites.ensure_underlyings(instruments, _discarding(handle.fetch))

        return await self._snapshots.fill(handle.call, response, again, help_out)

    async def _fetch_again(self, handle: CallHandle, first: Response) -> Response:
        """Ask once more, as late as the row's own limit makes that; where it cannot be, the first answer has to do."""
        try:
            return await handle.send(handle.endpoint.rate_limit.period_s if handle.endpoint.rate_limit else 0.0)
        except TemporarilyUnavailable:
            self._prerequisites.unmark(handle.call)
            return replace(first, is_provisional=True)


def _discarding(handle: FetchCall) -> FetchCall:
    """For whoever only wants to know what stands at the beginning of an answer."""

    async def asking(call: Call) -> Response:
        response = await handle(call)
        discard(response)
        return response

    return asking
