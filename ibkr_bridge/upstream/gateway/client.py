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

from ibkr_bridge.calls.messages import Answer, Call, LastLook, Late, Left, go, nobody, once
from ibkr_bridge.errors import BridgeError, GatewayGarbled
from ibkr_bridge.upstream.gateway.connection_pool import Connections
from ibkr_bridge.upstream.gateway.cookies import Jar
from ibkr_bridge.upstream.gateway.exchange import Broken, Exchange, Work
from ibkr_bridge.upstream.gateway.tls import Tls

GHOST_FOR = 120.0  # seconds after which a call without an answer is taken to have left the Gateway


class Gateway:
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
        jar: Jar,
        timeout: float,
        tls: Tls,
        ghost_for: float = GHOST_FOR,
        path: Path | None = None,
    ) -> None:
        self._base = URL(address)
        self._jar = jar
        self._timeout = timeout
        self._ghost_for = ghost_for
        self._ghosts: set[asyncio.Task[None]] = set()
        self._closed = False
        self._connections = Connections(self._base, tls, path)

    def __repr__(self) -> str:
        return f"<Gateway {self._base}, {len(self._ghosts)} ghosts>"

    @property
    def ghosts(self) -> int:
        """Calls given up here that may still hold a slot over there."""
        return len(self._ghosts)

    async def close(self) -> None:
        """Let go of every connection and every ghost."""
        self._closed = True
        for ghost in self._ghosts:
            ghost.cancel()
        await asyncio.gather(*self._ghosts, return_exceptions=True)
        self._connections.close()

    async def ask(
        self,
        call: Call,
        left: Left = nobody,
        last_look: LastLook = go,
        *,
        within: float | None = None,
        late: Late | None = None,
    ) -> Answer:
        """See `Upstream.ask`. A read is sent once more when its connection ends before the first byte of an answer.

        Args:
            within: the deadline for the head where it differs from the usual one, seconds.
            late: is told an answer that comes after that, if it comes.
        """
        loop, left = asyncio.get_running_loop(), once(left)
        until = loop.time() + (within or self._timeout)
        try:
            return await self._exchange(left, until - loop.time(), late).run(call, last_look)
        except Broken as exc:
            if call.changes or not exc.silent or self._closed:
                raise self._broken(left) from exc
        try:
            return await self._exchange(left, max(0.0, until - loop.time())).run(call, last_look)
        except Broken as exc:
            raise self._broken(left) from exc

    def _broken(self, left: Left) -> BridgeError:
        left()
        return GatewayGarbled("the Gateway broke off before it answered")

    def _exchange(self, left: Left, patience: float, late: Late | None = None) -> Exchange:
        return Exchange(self._connections, self._base, self._jar, patience, left, self._linger, late)

    def _linger(self, work: Work, left: Left) -> None:
        """Let work go on that nobody waits for: the answer of a call that was given up. Its end frees the slot."""
        if self._closed:
            left()
            return
        ghost = asyncio.create_task(self._limited(work), name="ghost")  # outlives the call it belonged to
        self._ghosts.add(ghost)
        ghost.add_done_callback(self._ghosts.discard)
        ghost.add_done_callback(lambda _: left())

    async def _limited(self, work: Work) -> None:
        with suppress(Exception):  # whatever ends a ghost, nobody is left to be told
            async with asyncio.timeout(self._ghost_for):
                await work()
