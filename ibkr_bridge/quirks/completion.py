"""Stage `CompleteReads`: responses that lack nothing the caller requested.

It sends what IBKR wants before a call, then the call. A read is sent once more if IBKR demands the accounts first, or
if its first response is partial, and a quote snapshot until its fields are there. A change is sent once, whatever
comes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, FetchCall, Response, discard
from ibkr_bridge.calls.reader import fetch
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.calls.upstream_port import UpstreamTraits
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BridgeError, TemporarilyUnavailable
from ibkr_bridge.ibkr.bodies import demands_accounts_first, is_partial
from ibkr_bridge.ibkr.endpoint import Composition, Prerequisite
from ibkr_bridge.quirks.prerequisites import Observer, Prerequisites
from ibkr_bridge.quirks.snapshot_completion import SnapshotCompletion

PREREQUISITE_TIMEOUT_S = 0.5  # a change waits no longer for its prerequisites: a cancel must not depend on them


class CompleteReads:
    """Completes the responses of one profile.

    Args:
        clock: time, for the pauses between two snapshots.
        traits: the prerequisites and limits of this upstream.
    """

    def __init__(self, clock: Clock, traits: UpstreamTraits) -> None:
        self._traits = traits
        self._prerequisites = Prerequisites()
        self._snapshots = SnapshotCompletion(clock)

    def __repr__(self) -> str:
        return f"<CompleteReads {self._prerequisites!r} {self._snapshots!r}>"

    def reset_session(self) -> None:
        """Forget what was fetched in the former IBKR session."""
        self._prerequisites.reset_session()
        self._snapshots.reset_session()

    def observer(self) -> Observer:
        """Returns what learns from a response; it counts for the session in which the call was sent."""
        return self._prerequisites.observer()

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`."""
        send = _Sender(self._prerequisites, context, proceed)
        if context.endpoint.prerequisites and not self._traits.prerequisites.isdisjoint(context.endpoint.prerequisites):
            await self._ensure_prerequisites(context)
        if not context.endpoint.is_read:
            return await send.change()
        response = await self._repeat_after_accounts(context, send, await send.read())
        if Prerequisite.TWICE in context.endpoint.prerequisites and self._is_partial(context, response):
            response = await self._fetch_again(context, send, response)
        if context.endpoint.composition is Composition.FILLED:
            response = await self._fill_snapshot(context, send, response)
        return response

    async def prepare(self, context: CallContext) -> None:
        """Fetch what IBKR wants before a call, if it is not known to have been fetched in this session.

        Raises:
            BridgeError: see `Stage`.
        """
        if context.endpoint.prerequisites:
            await self._ensure_prerequisites(context)

    async def _ensure_prerequisites(self, context: CallContext) -> None:
        other = _discarding(context)
        if context.endpoint.is_read:
            await self._prerequisites.ensure(context.endpoint, context.call, other)
            return
        with suppress(BridgeError, TimeoutError):  # IBKR's response to the change says what is missing
            async with asyncio.timeout(PREREQUISITE_TIMEOUT_S):
                await self._prerequisites.ensure(context.endpoint, context.call, other)

    async def _repeat_after_accounts(self, context: CallContext, send: _Sender, response: Response) -> Response:
        """IBKR demands the accounts again: list them, and send the call once more."""
        if response.status == 200 or not demands_accounts_first(response.status, response.body):
            return response
        discard(response)
        await self._prerequisites.fetch(Prerequisite.ACCOUNTS, _discarding(context, max_age_s=0.0))
        return await send.read()

    def _is_partial(self, context: CallContext, response: Response) -> bool:
        if response.status != 200 or response.body_stream is not None:
            return False
        if self._traits.limit(context.endpoint) is not None:
            return is_partial(response.body)  # sending it again costs seconds: only if IBKR marks it as partial
        return self._prerequisites.is_first_request(context.call)

    async def _fill_snapshot(self, context: CallContext, send: _Sender, response: Response) -> Response:
        async def search_underlyings(instruments: list[str]) -> None:
            await self._prerequisites.ensure_underlyings(instruments, _discarding(context))

        return await self._snapshots.fill(context.call, response, send.read, search_underlyings)

    async def _fetch_again(self, context: CallContext, send: _Sender, first: Response) -> Response:
        """Send it once more, when its rate limit allows that; if it cannot be sent, the first response counts."""
        limit = self._traits.limit(context.endpoint)
        try:
            return await send.read(limit.period_s if limit is not None else 0.0)
        except TemporarilyUnavailable:
            self._prerequisites.unmark(context.call)
            return replace(first, is_provisional=True)


class _Sender:
    """Sends one call through the following stages, and records which prerequisite its response satisfies."""

    def __init__(self, prerequisites: Prerequisites, context: CallContext, proceed: Proceed) -> None:
        self._prerequisites = prerequisites
        self._context = context
        self._proceed = proceed

    async def change(self) -> Response:
        """Send the call itself. It may change something, so this happens once."""
        return await self._send(self._context)

    async def read(self, extra_wait_s: float = 0.0) -> Response:
        """Send a read; each sending has preconditions and a permit of its own."""
        needs_body = self._context.endpoint.composition is not None
        return await self._send(self._context.attempt(extra_wait_s=extra_wait_s, needs_complete_body=needs_body))

    async def _send(self, context: CallContext) -> Response:
        endpoint = context.endpoint
        observe = self._prerequisites.observer() if endpoint.satisfies is not None else None
        response = await self._proceed(context)
        if observe is not None:
            observe(endpoint, context.call, response)
        return response


def _discarding(context: CallContext, *, max_age_s: float | None = None) -> FetchCall:
    """Fetches for the call of a context; only the beginning of the response is read."""

    async def fetch_beginning(call: Call) -> Response:
        response = await fetch(context, call, max_age_s=max_age_s)
        discard(response)
        return response

    return fetch_beginning
