"""Single flight: identical reads that are running at the same time share one call.

A shared call survives the first caller. If all callers leave before it was sent, it is cancelled. Once it was sent, it
completes and its response is cached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.calls.messages import Response, discard
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import RateLimited

IsConnected = Callable[[], bool]
"""Whether a waiting caller is still connected."""
WAIT_TOLERANCE_S = 0.5  # seconds by which the waits of two callers may differ
GenerationOf = Callable[[], int]
"""The current generation: responses to calls of an earlier one are stale."""
DEFAULT_RETRY_S = 1.0  # seconds; Retry-After if the wait is unknown


@dataclass(eq=False)
class SharedCall:
    """One call for several callers."""

    clock: Clock
    generation: GenerationOf
    max_wait_s: float
    """Seconds that it may wait for admission."""
    waiters: list[IsConnected] = field(default_factory=list)
    sent_event: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its first byte may have been sent."""
    has_reduced_share: bool = False
    """Whether it waits within the reduced share of its first caller."""
    leader_gone: bool = False
    """Whether its first caller has left."""
    sent_at: float = 0.0
    """When it was sent, in seconds of the clock."""
    sent_generation: int | None = None
    """The generation in which it was sent: its response includes all earlier changes."""
    expected_at: float = 0.0
    """When it will probably be admitted, in seconds of the clock."""
    task: asyncio.Task[Response] | None = None

    def on_estimate(self, seconds: float) -> None:
        """Record in how many seconds it will probably be admitted."""
        self.expected_at = self.clock.now() + seconds

    def mark_sent(self) -> None:
        """Record that its first byte leaves now."""
        if not self.is_sent:
            self.sent_generation, self.sent_at = self.generation(), self.clock.now()
            self.sent_event.set()

    @property
    def is_sent(self) -> bool:
        """Whether its first byte may have been sent."""
        return self.sent_event.is_set()

    @property
    def is_done(self) -> bool:
        """Whether it has ended; its result belongs to the callers that waited."""
        return self.task is not None and self.task.done()

    def discard_result(self) -> None:
        """Close the stream of a large response that has come, if any; its first caller would have read it."""
        if self.task is not None and self.task.done() and not self.task.cancelled() and not self.task.exception():
            discard(self.task.result())

    def is_wanted(self) -> bool:
        """Whether any caller still waits for it."""
        return any(is_connected() for is_connected in self.waiters)


Fetch = Callable[[SharedCall], Coroutine[Any, Any, Response]]
"""Sends the call for all callers that wait for it."""


class SingleFlight:
    """The shared calls of one profile.

    Args:
        clock: the time, for callers that wait less long than the shared call.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shared_calls: dict[Hashable, SharedCall] = {}
        self._running: set[asyncio.Task[Response]] = set()  # also of a call that hangs, whose key another one has now
        self.joined_count = 0
        """Calls that were answered by the shared call of another."""

    def __repr__(self) -> str:
        return f"<SingleFlight {len(self._shared_calls)} shared calls>"

    def find_joinable(self, key: Hashable, *, max_wait_s: float, unsent: bool) -> SharedCall | None:
        """A shared call to join: it waits about as long or longer, and its response will not be stale.

        Args:
            unsent: whether only a call that has not been sent yet is new enough.
        """
        shared_call = self._shared_calls.get(key)
        if shared_call is None or shared_call.is_done:
            return None
        if shared_call.is_sent:
            return None if unsent or shared_call.sent_generation != shared_call.generation() else shared_call
        return None if shared_call.max_wait_s < max_wait_s - WAIT_TOLERANCE_S else shared_call

    def start(self, key: Hashable, generation: GenerationOf, max_wait_s: float, fetch: Fetch) -> SharedCall:
        """Start a call that others may join."""
        shared_call = SharedCall(self._clock, generation, max_wait_s)
        shared_call.task = asyncio.create_task(fetch(shared_call), name="shared call")  # outlives its first caller
        self._shared_calls[key] = shared_call
        self._running.add(shared_call.task)
        shared_call.task.add_done_callback(self._running.discard)
        shared_call.task.add_done_callback(lambda _: self._on_done(key, shared_call))
        return shared_call

    def _on_done(self, key: Hashable, shared_call: SharedCall) -> None:
        if self._shared_calls.get(key) is shared_call:
            del self._shared_calls[key]
        shared_call.sent_event.set()
        if shared_call.task is not None and not shared_call.task.cancelled():
            shared_call.task.exception()  # retrieved, so that asyncio does not report it if no caller waited

    async def join(self, shared_call: SharedCall, is_connected: IsConnected, max_wait_s: float) -> Response:
        """Wait for the response of a shared call.

        Args:
            is_connected: whether this caller still waits.
            max_wait_s: seconds that the caller would wait for admission.

        Raises:
            RateLimited: the shared call waits longer than that.
            BridgeError: the error of the shared call.
        """
        if shared_call.task is None:
            raise RuntimeError("a shared call that has not been started")
        shared_call.waiters.append(is_connected)
        try:
            if max_wait_s < shared_call.max_wait_s:
                await self._wait_until_sent(shared_call, max_wait_s)
            return await asyncio.shield(shared_call.task)
        except (asyncio.CancelledError, RateLimited):
            shared_call.waiters.remove(is_connected)
            if not shared_call.waiters and not shared_call.is_sent:
                shared_call.task.cancel()
            raise

    async def _wait_until_sent(self, shared_call: SharedCall, max_wait_s: float) -> None:
        if not shared_call.is_sent and not await self._clock.wait(shared_call.sent_event, max_wait_s):
            expected_s = shared_call.expected_at - self._clock.now()
            retry_after_s = expected_s if expected_s > 0 else DEFAULT_RETRY_S
            raise RateLimited(
                "IBKR's rate limit for this call is used up",
                retry_after=retry_after_s,
            )

    async def close(self) -> None:
        """Cancel all shared calls that are running."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
