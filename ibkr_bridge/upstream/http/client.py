"""Sends calls to one server: every call has deadlines, and a change is sent once.

A server may continue to work on a call whose sender has disconnected, and may never answer. So every call has a
deadline for the connection, the head and each chunk of the body. When one passes, the caller gets an error, and the
call becomes a ghost call: the bridge reads on until the response comes or some time is over, and only then calls
`on_released`.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from yarl import URL

from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Response, call_once, noop
from ibkr_bridge.calls.upstream_port import BeforeSending
from ibkr_bridge.errors import GatewayError, GatewayProtocolError
from ibkr_bridge.upstream.http.connection_pool import MAX_IDLE_S, ConnectionPool
from ibkr_bridge.upstream.http.exchange import ConnectionLost, Exchange, Work
from ibkr_bridge.upstream.http.far_side import RequestWriter, Wording
from ibkr_bridge.upstream.http.tls import Tls


class HttpClient:
    """The calls to one server.

    Args:
        address: scheme, host and port, without a path.
        wording: how errors name the server.
        timeout_s: longest wait for a head, and for each chunk of a body.
        tls: how its certificate is checked.
        abandoned_for_s: seconds for which a call without a response is assumed to occupy the server.
        unix_socket: a Unix socket that leads there, if its port cannot be reached.
        local_address: the address of this machine to connect from; None leaves the choice to the system.
        max_idle_s: seconds that a connection may be idle.
    """

    def __init__(
        self,
        address: URL,
        wording: Wording,
        timeout_s: float,
        tls: Tls,
        abandoned_for_s: float,
        *,
        unix_socket: Path | None = None,
        local_address: str | None = None,
        max_idle_s: float = MAX_IDLE_S,
    ) -> None:
        self._wording = wording
        self._timeout_s = timeout_s
        self._abandoned_for_s = abandoned_for_s
        self._ghosts: set[asyncio.Task[None]] = set()
        self._closed = False
        self._pool = ConnectionPool(address, tls, unix_socket, local_address, max_idle_s)

    def __repr__(self) -> str:
        return f"<HttpClient {self._pool}, {len(self._ghosts)} ghost calls>"

    @property
    def ghost_count(self) -> int:
        """Calls that were given up here and may still run there."""
        return len(self._ghosts)

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
        writer: RequestWriter,
        before_sending: BeforeSending,
        *,
        timeout_s: float | None = None,
        on_released: OnReleased = noop,
        on_given_up: Callable[[], None] = noop,
        on_late_response: OnLateResponse | None = None,
    ) -> Response:
        """See `Upstream.send`. A read is sent once more if its connection ends before the first byte of a response."""
        on_released, on_given_up = call_once(on_released), call_once(on_given_up)
        deadline = time.monotonic() + (timeout_s or self._timeout_s)

        def exchange(remaining_s: float) -> Exchange:
            detach = functools.partial(self._detach, on_given_up)
            return Exchange(*(self._pool, writer, self._wording, remaining_s, on_released, detach, on_late_response))

        try:
            return await exchange(timeout_s or self._timeout_s).run(call, before_sending)
        except ConnectionLost as exc:
            if call.is_change or not exc.before_response or self._closed:
                raise self._connection_lost_error(on_released) from exc
        try:
            return await exchange(max(0.0, deadline - time.monotonic())).run(call, before_sending)
        except ConnectionLost as exc:
            raise self._connection_lost_error(on_released) from exc

    def _connection_lost_error(self, on_released: OnReleased) -> GatewayError:
        on_released()
        return self._wording.error(GatewayProtocolError, "{name} closed the connection before it answered")

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
