"""The Client Portal Gateway, asked with patience that ends.

The Gateway itself never gives up: it answers when IBKR does, or never, and goes on working on a call whose sender
has left. So every call has a deadline for the connection, the head and each piece of the body. When one passes, the
caller is told, and the connection stays as a ghost: it is read on until the answer comes or two minutes are over, and
only then is it said that the call has left the Gateway.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from yarl import URL

from ibkr_bridge.calls.messages import (
    Call,
    OnLateResponse,
    OnReleased,
    Precondition,
    Response,
    call_once,
    noop,
    noop_precondition,
)
from ibkr_bridge.errors import BridgeError, GatewayProtocolError
from ibkr_bridge.upstream.gateway.connection_pool import ConnectionPool
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.exchange import ConnectionLost, Exchange, Work
from ibkr_bridge.upstream.gateway.tls import Tls

ABANDONED_FOR_S = 120.0  # seconds after which a call without an answer is taken to have left the Gateway


class GatewayClient:
    """One Gateway.

    Args:
        address: scheme, host and port, without a path.
        jar: the cookies it sets.
        timeout: longest wait for a head, and for each piece of a body, seconds.
        tls: how its certificate is judged.
        ghost_for: seconds a call without an answer is taken to be at work over there.
        path: a Unix socket that leads there, where its port cannot be reached.
    """

    def __init__(
        self,
        address: str,
        cookies: CookieStore,
        timeout: float,
        tls: Tls,
        abandoned_for_s: float = ABANDONED_FOR_S,
        unix_socket: Path | None = None,
    ) -> None:
        self._base = URL(address)
        self._cookies = cookies
        self._timeout = timeout
        self._ghost_for = abandoned_for_s
        self._ghosts: set[asyncio.Task[None]] = set()
        self._closed = False
        self._pool = ConnectionPool(self._base, tls, unix_socket)

    def __repr__(self) -> str:
        return f"<GatewayClient {self._base}, {len(self._ghosts)} ghosts>"

    @property
    def abandoned(self) -> int:
        """Calls given up here that may still hold a slot over there."""
        return len(self._ghosts)

    async def close(self) -> None:
        """Let go of every connection and every ghost."""
        self._closed = True
        for ghost in self._ghosts:
            ghost.cancel()
        await asyncio.gather(*self._ghosts, return_exceptions=True)
        self._pool.close()

    async def send(
        self,
        call: Call,
        on_released: OnReleased = noop,
        precondition: Precondition = noop_precondition,
        *,
        timeout_s: float | None = None,
        on_late_response: OnLateResponse | None = None,
    ) -> Response:
        """See `Upstream.ask`. A read is sent once more when its connection ends before the first byte of an answer.

        Args:
            within: the deadline for the head where it differs from the usual one, seconds.
            late: is told an answer that comes after that, if it comes.
        """
        loop, on_released = asyncio.get_running_loop(), call_once(on_released)
        until = loop.time() + (timeout_s or self._timeout)
        try:
            return await self._exchange(on_released, until - loop.time(), on_late_response).run(call, precondition)
        except ConnectionLost as exc:
            if call.is_change or not exc.before_response or self._closed:
                raise self._connection_lost_error(on_released) from exc
        try:
            return await self._exchange(on_released, max(0.0, until - loop.time())).run(call, precondition)
        except ConnectionLost as exc:
            raise self._connection_lost_error(on_released) from exc

    def _connection_lost_error(self, on_released: OnReleased) -> BridgeError:
        on_released()
        return GatewayProtocolError("the Gateway broke off before it answered")

    def _exchange(
        self, on_released: OnReleased, max_wait_s: float, on_late_response: OnLateResponse | None = None
    ) -> Exchange:
        return Exchange(self._pool, self._base, self._cookies, max_wait_s, on_released, self._detach, on_late_response)

    def _detach(self, work: Work, on_released: OnReleased) -> None:
        """Let work go on that nobody waits for: the answer of a call that was given up. Its end frees the slot."""
        if self._closed:
            on_released()
            return
        ghost = asyncio.create_task(self._with_time_limit(work), name="ghost")  # outlives the call it belonged to
        self._ghosts.add(ghost)
        ghost.add_done_callback(self._ghosts.discard)
        ghost.add_done_callback(lambda _: on_released())

    async def _with_time_limit(self, work: Work) -> None:
        with suppress(Exception):  # whatever ends a ghost, nobody is left to be told
            async with asyncio.timeout(self._ghost_for):
                await work()
