"""Connections to the Gateway: kept while they are idle, and never used again if a response may be incomplete."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from ibkr_bridge.upstream.http.connection import HttpConnection
from ibkr_bridge.upstream.http.connection_pool import ConnectionPool
from ibkr_bridge.upstream.http.tls import ssl_context
from tests.upstream.gateway.scripted_gateway import ScriptedGateway


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A Gateway that responds to each request with `OK`."""
    async with ScriptedGateway() as running:
        yield running


@pytest.fixture
async def pool(gateway: ScriptedGateway) -> AsyncIterator[ConnectionPool]:
    """The connections to the scripted Gateway."""
    new_pool = ConnectionPool(URL(gateway.url), tls=False)
    yield new_pool
    new_pool.close()


async def connect_and_send(pool: ConnectionPool) -> HttpConnection:
    """Open a connection, send one call on it and read the response."""
    connection = await pool.connect()
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    _, body = await connection.read_head()
    await body.read()
    return connection


async def test_released_connections_are_used_again(pool: ConnectionPool) -> None:
    """The connection that was released last is used first."""
    first, second = await connect_and_send(pool), await connect_and_send(pool)

    pool.release(first)
    pool.release(second)

    assert (pool.idle(), pool.idle(), pool.idle()) == (second, first, None)


async def test_a_connection_with_an_incomplete_response_is_not_kept(
    pool: ConnectionPool, gateway: ScriptedGateway
) -> None:
    """Its next bytes would be taken for the response to another call."""
    connection = await connect_and_send(pool)
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")

    pool.release(connection)

    assert pool.idle() is None


async def test_an_idle_connection_that_has_ended_is_skipped(pool: ConnectionPool) -> None:
    """The pool returns the next idle connection."""
    first, second = await connect_and_send(pool), await connect_and_send(pool)
    pool.release(first)
    pool.release(second)
    second.abort()
    await asyncio.sleep(0)

    assert pool.idle() is first


async def test_a_closed_pool_keeps_and_opens_no_connection(pool: ConnectionPool, gateway: ScriptedGateway) -> None:
    """A second `close` does no harm."""
    in_use = await connect_and_send(pool)
    pool.release(await connect_and_send(pool))

    pool.close()
    pool.close()
    pool.release(in_use)

    assert (pool.idle(), in_use.is_connected()) == (None, False)
    with pytest.raises(ConnectionAbortedError):
        await pool.connect()
    await gateway.wait_until(lambda: gateway.connection_count >= 2)


async def test_a_port_without_a_listener_raises_an_oserror(unused_tcp_port: int) -> None:
    """The client turns it into an error for the caller."""
    with pytest.raises(OSError, match=r".*"):
        await ConnectionPool(URL(f"http://127.0.0.1:{unused_tcp_port}"), tls=False).connect()


@pytest.mark.parametrize("tls", [False, aiohttp.Fingerprint(b"x" * 32)])
def test_the_issuer_of_a_certificate_is_checked_only_with_a_ca_file(tls: aiohttp.Fingerprint | bool) -> None:
    """The Gateway signs its own certificate; a pinned one is compared after the handshake."""
    context = ssl_context(tls)

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_the_context_of_a_ca_file_is_used_unchanged() -> None:
    """It checks the certificate itself."""
    context = ssl.create_default_context()

    assert ssl_context(context) is context
