"""The client of the Client Portal Gateway: every call has deadlines.

The Gateway itself never gives up: it answers when IBKR does, or never, and it continues to work on a call whose sender
has disconnected. So every call has a deadline for the connection, the head and each chunk of the body. When one passes,
the caller gets an error, and the call becomes a ghost call: the bridge reads on until the response comes or 120 s are
over, and only then calls `on_released`.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from yarl import URL

from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Precondition, Response, call_once, noop
from ibkr_bridge.calls.upstream_port import BeforeSending, StreamSocket
from ibkr_bridge.errors import BridgeError, GatewayProtocolError
from ibkr_bridge.upstream.gateway.connection_pool import ConnectionPool
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.exchange import ConnectionLost, Detach, Exchange, Work
from ibkr_bridge.upstream.gateway.tls import Tls
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from ibkr_bridge.upstream.gateway.websocket import WebSocketFactory


class GatewayClient:
    """One Client Portal Gateway: an `Upstream`.

    Args:
        address: scheme, host and port, without a path.
        cookies: the store of the cookies that it sets.
        timeout_s: longest wait for a head, and for each chunk of a body.
        tls: how its certificate is checked.
        abandoned_for_s: seconds for which a call without a response is assumed to occupy the Gateway.
        unix_socket: a Unix socket that leads there, if its port cannot be reached.
        session_id: returns IBKR's session id, which the websocket sends; empty if none is known.
    """

    traits = GATEWAY_TRAITS

    def __init__(
        self,
        address: str,
        cookies: CookieStore,
        timeout_s: float,
        tls: Tls,
        abandoned_for_s: float = GATEWAY_TRAITS.abandoned_for_s,
        unix_socket: Path | None = None,
        session_id: Callable[[], str] = str,
    ) -> None:
        self._base = URL(address)
        self._cookies = cookies
        self._timeout_s = timeout_s
        self._abandoned_for_s = abandoned_for_s
        self._ghosts: set[asyncio.Task[None]] = set()
        self._closed = False
        self._pool = ConnectionPool(self._base, tls, unix_socket)
        self._websockets = WebSocketFactory(address, cookies, tls, unix_socket, session_id)

    def __repr__(self) -> str:
        return f"<GatewayClient {self._base}, {len(self._ghosts)} ghost calls>"

    @property
    def abandoned(self) -> int:
        """See `Upstream.abandoned`."""
        return len(self._ghosts)

    def open_stream(self) -> AbstractAsyncContextManager[StreamSocket]:
        """See `Upstream.open_stream`."""
        return self._websockets.open()

    async def close(self) -> None:
        """Release every connection, and stop reading for ghost calls."""
        self._closed = True
        for ghost in self._ghosts:
            ghost.cancel()
        await asyncio.gather(*self._ghosts, return_exceptions=True)
        self._pool.close()

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
        """See `Upstream.send`. A read is sent once more if its connection ends before the first byte of a response."""
        on_released = call_once(on_released)
        detach = functools.partial(self._detach, call_once(on_given_up))
        deadline = time.monotonic() + (timeout_s or self._timeout_s)
        before_sending = BeforeSending(preconditions, before_first_byte, on_sent)
        try:
            first = self._exchange(on_released, timeout_s or self._timeout_s, detach, on_late_response)
            return await first.run(call, before_sending)
        except ConnectionLost as exc:
            if call.is_change or not exc.before_response or self._closed:
                raise self._connection_lost_error(on_released) from exc
        try:
            remaining_s = max(0.0, deadline - time.monotonic())
            second = self._exchange(on_released, remaining_s, detach, on_late_response)
            return await second.run(call, before_sending)
        except ConnectionLost as exc:
            raise self._connection_lost_error(on_released) from exc

    def _connection_lost_error(self, on_released: OnReleased) -> BridgeError:
        on_released()
        return GatewayProtocolError("the Gateway closed the connection before it answered")

    def _exchange(
        self, on_released: OnReleased, timeout_s: float, detach: Detach, on_late_response: OnLateResponse | None
    ) -> Exchange:
        return Exchange(self._pool, self._base, self._cookies, timeout_s, on_released, detach, on_late_response)

    def _detach(self, on_given_up: Callable[[], None], work: Work, on_released: OnReleased) -> None:
        """Run the reading of a ghost call's response in a task of its own; the end of the task releases the slot."""
        if self._closed:
            on_released()
            return
        on_given_up()
        ghost = asyncio.create_task(self._with_time_limit(work), name="ghost")  # outlives the deadline of its caller
        self._ghosts.add(ghost)
        ghost.add_done_callback(self._ghosts.discard)
        ghost.add_done_callback(lambda _: on_released())

    async def _with_time_limit(self, work: Work) -> None:
        with suppress(Exception):  # whatever ends a ghost call, no caller waits for it
            async with asyncio.timeout(self._abandoned_for_s):
                await work()
