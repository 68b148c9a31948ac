"""The Gateway's front: TLS on loopback, connections, start, stop, cutting all connections.

It reads and writes raw bytes on purpose: an HTTP library would answer correctly where the Gateway does not.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import Faults
from ibkr_bridge.sim.gateway.connection import Hangup, SimConnection
from ibkr_bridge.sim.gateway.jar import Jar
from ibkr_bridge.sim.gateway.responder import Responder
from ibkr_bridge.sim.gateway.rules import Settings
from ibkr_bridge.sim.gateway.session_lifecycle import SessionLifecycle
from ibkr_bridge.sim.gateway.sockets import Sockets
from ibkr_bridge.sim.gateway.upstream import Upstream
from ibkr_bridge.sim.request_log import RequestLog
from ibkr_bridge.sim.tasks import Tasks

CERTIFICATE = Path(__file__).with_name("certificate.pem")
"""Self-signed, expired, without names, and with its key in the same file, all like the real Gateway's. The key is not
secret: it is published with this program and protects only a simulator on this machine."""

HOST = "127.0.0.1"


class Gateway:
    """The simulated Gateway on one port. `start` after `stop` is a restart: the same port, an empty cookie jar."""

    def __init__(
        self,
        clock: SimClock,
        faults: Faults,
        settings: Settings | None = None,
        *,
        port: int = 0,
        tickle_interval_s: float = 30.0,
        auth_delay_s: float = 3.0,
    ) -> None:
        self.port = port
        self.jar = Jar()
        self._call_tasks = Tasks()
        self._client_tasks = Tasks()
        self.upstream = Upstream(clock, self._call_tasks)
        self.lifecycle = SessionLifecycle(clock, self.upstream, self.jar, tickle_interval_s, auth_delay_s)
        self._sockets = Sockets(self._call_tasks, self.jar.cookie_header, lambda: self.upstream.is_reachable)
        self._responder = Responder(
            clock, faults, settings or Settings(), self.jar, self.upstream, self._sockets, self.lifecycle
        )
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._listener: socket.socket | None = None
        self._is_started = False

    @property
    def log(self) -> RequestLog:
        """The requests that reached this port."""
        return self._responder.log

    async def start(self, market_port: int) -> None:
        """Listen, and forward calls to the market on `market_port`."""
        self.upstream.port = self._sockets.market_port = market_port
        self._is_started = True
        self.open_port()
        await self._listen()

    async def stop(self) -> None:
        """Stop as on SIGTERM: end connections without a response, delete cookies, cancel calls in flight."""
        self._is_started = False
        self.close_port()
        self.jar.clear()
        async with AsyncExitStack() as stack:  # each part is stopped even if stopping another one raises
            stack.push_async_callback(self._call_tasks.stop)
            stack.push_async_callback(self.lifecycle.stop)
            stack.push_async_callback(self._client_tasks.stop)

    def open_port(self) -> None:
        """Bind the port without a suspension: a client that connects from now on will be served."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio leaves Nagle on
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self.port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._listener = listener

    def reopen_port(self) -> None:
        """Listen again after `close_port`; do nothing after a stop, or if a restart has opened the port meanwhile."""
        if self._listener is not None or not self._is_started:
            return
        self.open_port()
        self._call_tasks.start(self._listen(), name="gateway port")

    def close_port(self) -> None:
        """Refuse new connections and drop the present ones; calls in flight go on."""
        if self._server is not None:
            self._server.close()
        elif self._listener is not None:
            self._listener.close()
        self._server = self._listener = None
        for writer in self._writers:
            writer.transport.abort()

    async def _listen(self) -> None:
        if self._listener is None or self._server is not None:
            return
        # `start_serving=False` does not suspend, so `close_port` always finds the server that owns the socket.
        self._server = await asyncio.start_server(
            self._accept, sock=self._listener, ssl=server_tls(), start_serving=False
        )
        await self._server.start_serving()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:  # the TLS handshake had begun before the port was closed
            writer.transport.abort()
            return
        self._writers.add(writer)
        client = self._client_tasks.start(self._serve_client(reader, writer), name="gateway client")
        # A task that is cancelled before its first step never enters the coroutine, nor its `finally`.
        client.add_done_callback(lambda task: self._close_client(writer))

    def _close_client(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        with suppress(AttributeError):  # Python 3.11.2 reaches for the protocol of a connection that has ended
            writer.transport.abort()

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until either side ends the connection; a disconnect is noticed even during a call."""
        answering = self._client_tasks.start(
            self._answer_requests(SimConnection(reader, writer)), name="gateway requests"
        )
        closing = self._client_tasks.start(_wait_closed(writer), name="gateway client closing")
        try:
            await asyncio.wait((answering, closing), return_when=asyncio.FIRST_COMPLETED)
            if not closing.done():
                writer.close()
                await asyncio.wait((closing,))
        finally:
            answering.cancel()

    async def _answer_requests(self, client: SimConnection) -> None:
        with suppress(Hangup, OSError, ValueError):
            async for head in client.requests():
                await self._responder.respond(head, client)


async def _wait_closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.wait_closed()


def server_tls() -> ssl.SSLContext:
    """TLS 1.2 only, as the Gateway has it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(CERTIFICATE)
    return context
