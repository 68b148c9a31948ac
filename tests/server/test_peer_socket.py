"""The state of a connection in the kernel, read without running the event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ibkr_bridge.server.peer_socket import has_hung_up, is_reset, unread_bytes
from tests.harness import with_timeout

RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds


@asynccontextmanager
async def connect() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """Yield the transport of the bridge and the socket of the caller of one connection."""
    accepted: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class ServerSide(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            accepted.set_result(transport)

        def eof_received(self) -> bool:
            return True  # the bridge's side stays open

    server = await asyncio.get_running_loop().create_server(ServerSide, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as caller:
        transport = await with_timeout(accepted)
        yield transport, caller
        transport.abort()
        server.close()


async def test_an_open_connection_is_neither_hung_up_nor_reset() -> None:
    """Unread bytes do not mean that the caller has left."""
    async with connect() as (transport, caller):
        caller.sendall(b"GET / HTTP/1.1\r\n")

        assert not has_hung_up(transport)
        assert not is_reset(transport)


async def test_a_closed_connection_is_hung_up_but_not_reset() -> None:
    """The caller has read everything before closing."""
    async with connect() as (transport, caller):
        caller.close()

        assert has_hung_up(transport)
        assert not is_reset(transport)


async def test_a_half_closed_connection_counts_as_hung_up() -> None:
    """No client closes its sending side and then waits for the response to an order."""
    async with connect() as (transport, caller):
        caller.shutdown(socket.SHUT_WR)

        assert has_hung_up(transport)
        assert not is_reset(transport)


async def test_a_reset_is_noticed_before_the_loop_notices_it() -> None:
    """In between, an order could be recorded as delivered."""
    async with connect() as (transport, caller):
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        caller.close()

        assert has_hung_up(transport)
        assert is_reset(transport)
        assert not transport.is_closing()


async def test_closing_with_unread_bytes_is_a_reset() -> None:
    """The response reached the caller's machine, but the caller did not read it."""
    async with connect() as (transport, caller):
        transport.write(b"an answer")
        caller.recv(1, socket.MSG_PEEK)
        caller.close()

        assert is_reset(transport)


async def test_a_write_after_a_hang_up_causes_a_reset() -> None:
    """Only the second check shows it: before the write the caller had only hung up."""
    async with connect() as (transport, caller):
        caller.close()
        before = is_reset(transport)
        transport.write(b"an answer")

        assert (before, is_reset(transport)) == (False, True)


async def test_a_socket_that_the_bridge_has_closed_is_not_read() -> None:
    """Its descriptor may belong to another connection by now."""
    async with connect() as (transport, _):
        transport.abort()
        while transport.get_extra_info("socket").fileno() >= 0:
            await asyncio.sleep(0)

        assert not has_hung_up(transport)
        assert not is_reset(transport)


async def test_what_the_caller_has_not_read_is_counted_until_it_reads() -> None:
    """In the buffers of both machines' kernels there is room for some megabytes at most."""
    async with connect() as (transport, caller):
        assert unread_bytes(transport) == 0
        transport.write(bytes(32 * 1024 * 1024))
        before = unread_bytes(transport)

        caller.setblocking(False)
        received = 0
        while received < 32 * 1024 * 1024:
            received += len(await with_timeout(asyncio.get_running_loop().sock_recv(caller, 1024 * 1024)))

        assert before > 16 * 1024 * 1024
        assert transport.get_write_buffer_size() == 0
        assert unread_bytes(transport) < 1024 * 1024
