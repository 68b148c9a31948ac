"""Connections to the Gateway: kept while they rest, and never used again once there is any doubt."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from ibkr_bridge.upstream.gateway.connection import GatewayConnection
from ibkr_bridge.upstream.gateway.connection_pool import ConnectionPool, ssl_context
from tests.upstream.gateway.scripted_gateway import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A Gateway that answers."""
    async with Stage() as opened:
        yield opened


@pytest.fixture
async def pool(stage: Stage) -> AsyncIterator[ConnectionPool]:
    """Connections to it."""
    made = ConnectionPool(URL(stage.url), tls=False)
    yield made
    made.close()


async def used(pool: ConnectionPool) -> GatewayConnection:
    """A connection on which one call was answered."""
    connection = await pool.connect()
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    _, body = await connection.read_head()
    await body.read()
    return connection


async def test_a_connection_that_was_released_is_used_again(pool: ConnectionPool) -> None:
    """The one that rested the shortest time first."""
    first, second = await used(pool), await used(pool)

    pool.release(first)
    pool.release(second)

    assert (pool.idle(), pool.idle(), pool.idle()) == (second, first, None)


async def test_a_connection_whose_answer_is_not_whole_is_not_kept(pool: ConnectionPool, stage: Stage) -> None:
    """What comes next on it would be taken for another answer."""
    connection = await used(pool)
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")

    pool.release(connection)

    assert pool.idle() is None


async def test_a_resting_connection_that_has_ended_is_passed_over(pool: ConnectionPool) -> None:
    """The one behind it is given out."""
    first, second = await used(pool), await used(pool)
    pool.release(first)
    pool.release(second)
    second.abort()
    await asyncio.sleep(0)

    assert pool.idle() is first


async def test_after_close_nothing_is_kept_nor_made(pool: ConnectionPool, stage: Stage) -> None:
    """And closing again does no harm."""
    out = await used(pool)
    pool.release(await used(pool))

    pool.close()
    pool.close()
    pool.release(out)

    assert (pool.idle(), out.is_connected()) == (None, False)
    with pytest.raises(ConnectionAbortedError):
        await pool.connect()
    await stage.until(lambda: stage.connections >= 2)


async def test_nothing_that_listens_is_an_error_of_the_system(unused_tcp_port: int) -> None:
    """Whoever sends a call makes words of it."""
    with pytest.raises(OSError, match=r".*"):
        await ConnectionPool(URL(f"http://127.0.0.1:{unused_tcp_port}"), tls=False).connect()


@pytest.mark.parametrize("tls", [False, aiohttp.Fingerprint(b"x" * 32)])
def test_a_certificate_that_is_not_judged_by_its_issuer_is_let_in(tls: aiohttp.Fingerprint | bool) -> None:
    """The Gateway signs its own; a pinned one is compared afterwards."""
    context = ssl_context(tls)

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_a_context_of_a_ca_file_is_used_as_it_is() -> None:
    """It judges by itself."""
    context = ssl.create_default_context()

    assert ssl_context(context) is context
