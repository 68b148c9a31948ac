"""The port to IBKR: what every upstream offers, and what differs from one kind to the next.

The Client Portal Gateway is one upstream. Everything above `upstream/` knows only these protocols.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Precondition, Response, noop
from ibkr_bridge.ibkr.endpoint import Composition, Endpoint, Prerequisite, Priority, RateLimit


@dataclass(frozen=True)
class BeforeSending:
    """What runs between "connected" and "first byte"; every upstream runs it in the same way."""

    preconditions: Sequence[Precondition] = ()
    before_first_byte: Callable[[], Awaitable[None]] | None = None
    on_sent: Callable[[], None] = noop

    async def run(self, check_connection: Callable[[], None]) -> None:
        """Check everything, write the journal entry if there is one, check again, and note that the call leaves.

        The disk takes time, so everything is checked once more after it. Nothing is awaited between the last check and
        the return of this function: the caller writes the first byte in the same step of the event loop.

        Args:
            check_connection: raises if the connection has ended.

        Raises:
            BridgeError, CallerGone: what the first failing check raises; nothing was sent.
        """
        self._check()
        if self.before_first_byte is not None:
            await self.before_first_byte()
            self._check()
            check_connection()
        self.on_sent()

    def _check(self) -> None:
        for precondition in self.preconditions:
            precondition()


@dataclass(frozen=True)
class UpstreamTraits:
    """What is fixed for one kind of upstream."""

    name: str
    """"gateway", "oauth", "tws"."""
    slots: int | None
    """Calls inside at a time; None where there is no such limit."""
    slots_for_orders: int
    """Slots that no read may take."""
    total: RateLimit | None
    """The limit of all calls together."""
    by_priority: Mapping[Priority, RateLimit]
    """The share of each kind of call."""
    prerequisites: frozenset[Prerequisite] = frozenset(Prerequisite)
    """Which calls IBKR wants before others."""
    compositions: frozenset[Composition] = frozenset(Composition)
    """Which responses are made of several calls."""
    abandoned_for_s: float = 120.0
    """How long a ghost call holds its slot."""
    penalty_s: float = 900.0
    """How long IBKR's penalty box lasts."""
    has_stream: bool = True
    """Whether it has IBKR's websocket."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Endpoint paths that this upstream does not have, with the reason."""

    def has(self, endpoint: Endpoint) -> bool:
        """Whether this upstream serves an endpoint of the catalogue."""
        return endpoint.path not in self.missing

    def limit(self, endpoint: Endpoint) -> RateLimit | None:
        """IBKR's limit for one endpoint on this upstream."""
        return endpoint.rate_limit


class StreamSocket(Protocol):
    """IBKR's websocket, as far as the feed uses it."""

    async def receive(self) -> bytes | None:
        """The next message; None at the end."""
        ...

    async def send(self, text: str) -> None:
        """Send a command."""
        ...


class Upstream(Protocol):
    """A way to reach IBKR."""

    @property
    def traits(self) -> UpstreamTraits:
        """What is fixed for this kind of upstream."""
        ...

    @property
    def abandoned(self) -> int:
        """Ghost calls: given up here, perhaps still running at the upstream."""
        ...

    async def send(
        self,
        call: Call,
        *,
        timeout_s: float | None = None,
        preconditions: Sequence[Precondition] = (),
        before_first_byte: Callable[[], Awaitable[None]] | None = None,
        on_sent: Callable[[], None] = noop,
        on_released: OnReleased = noop,
        on_given_up: Callable[[], None] = noop,
        on_late_response: OnLateResponse | None = None,
    ) -> Response:
        """Send one call and return its response.

        Args:
            timeout_s: deadline for the head of the response; the upstream's own if left out.
            preconditions: checked when the connection is open and nothing has been sent; the first that raises stops
                the call. They are checked again after `before_first_byte`.
            before_first_byte: awaited after the preconditions; if it raises, nothing is sent.
            on_sent: called in the step in which the first byte leaves.
            on_released: called exactly once, when the upstream no longer works on the call.
            on_given_up: called before it, if the call passes a deadline and the upstream may still work on it.
            on_late_response: receives a response that comes after the deadline.

        Raises:
            GatewayUnreachable: no connection; nothing was sent.
            GatewayTimeout: no response within the deadline. The upstream may still work on the call.
            GatewayProtocolError: the connection broke, or what came is not HTTP.
        """
        ...

    def open_stream(self) -> AbstractAsyncContextManager[StreamSocket]:
        """IBKR's websocket, for the length of an `async with`.

        Raises:
            GatewayError: it cannot be opened.
        """
        ...

    async def close(self) -> None:
        """Release every connection. Calling it twice does no harm."""
        ...


class UpstreamState(Protocol):
    """What an upstream keeps over a restart, such as cookies."""

    def load(self) -> None:
        """Read what an earlier run saved."""
        ...

    def save(self) -> None:
        """Write it to the state directory."""
        ...

    async def run_loop(self) -> NoReturn:
        """Save whenever it changed, until cancelled."""
        ...
