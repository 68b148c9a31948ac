"""What the system knows of a connection at this moment, asked without giving the event loop a turn."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ibkr_bridge.server.peer_socket import has_hung_up, is_reset
from tests.harness import within

RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """The bridge's end of a connection, and the caller's as a plain socket."""
    made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Door(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.set_result(transport)

        def eof_received(self) -> bool:
            return True  # the bridge's end stays open

    server = await asyncio.get_running_loop().create_server(Door, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as caller:
        transport = await within(made)
        yield transport, caller
        transport.abort()
        server.close()


async def test_a_connection_that_stands_is_neither() -> None:
    """What has not been read yet is no sign of leaving."""
    async with connection() as (transport, caller):
        caller.sendall(b"GET / HTTP/1.1\r\n")

        assert not has_hung_up(transport)
        assert not is_reset(transport)


async def test_a_caller_who_has_closed_has_hung_up_without_a_reset() -> None:
    """They took all that was said, and left in good order."""
    async with connection() as (transport, caller):
        caller.close()

        assert has_hung_up(transport)
        assert not is_reset(transport)


async def test_a_caller_who_only_says_no_more_counts_as_gone() -> None:
    """Nobody closes half of a connection and waits for an order's answer on the other."""
    async with connection() as (transport, caller):
        caller.shutdown(socket.SHUT_WR)

        assert has_hung_up(transport)
        assert not is_reset(transport)


async def test_a_reset_is_seen_before_the_loop_hears_of_it() -> None:
    """Between the two an order could be reported as told."""
    async with connection() as (transport, caller):
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        caller.close()

        assert has_hung_up(transport)
        assert is_reset(transport)
        assert not transport.is_closing()


async def test_closing_with_something_unread_is_a_reset() -> None:
    """The answer came as far as the caller's machine and was never looked at."""
    async with connection() as (transport, caller):
        transport.write(b"an answer")
        caller.recv(1, socket.MSG_PEEK)
        caller.close()

        assert is_reset(transport)


async def test_what_is_written_after_they_hung_up_is_refused() -> None:
    """Only the second look shows it: at the first they had just hung up."""
    async with connection() as (transport, caller):
        caller.close()
        before = is_reset(transport)
        transport.write(b"an answer")

        assert (before, is_reset(transport)) == (False, True)


async def test_a_socket_that_is_closed_on_our_side_is_asked_nothing() -> None:
    """Its number may belong to another connection by now."""
    async with connection() as (transport, _):
        transport.abort()
        while transport.get_extra_info("socket").fileno() >= 0:
            await asyncio.sleep(0)

        assert not has_hung_up(transport)
        assert not is_reset(transport)
