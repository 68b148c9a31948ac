"""Responses without a body, which the Gateway ends with the last chunk of a chunked body all the same."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.http.connection import MAX_HEAD_BYTES, HttpConnection
from tests.upstream.gateway.scripted_gateway import (
    OK,
    TEST_TIMEOUT_S,
    Connection,
    Request,
    Script,
    ScriptedGateway,
    never_respond,
    respond_ok,
)

STRAY_CHUNK_END = b"0\r\n\r\n"
HEADS = {
    204: b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n",
    304: b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n",
}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
SHORT_TIMEOUT_S = 0.3  # a timeout in seconds for tests in which the Gateway stays silent on purpose


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A scripted Gateway."""
    async with ScriptedGateway() as running:
        yield running


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[GatewayClient]:
    """A client of the scripted Gateway."""
    client = GatewayClient(gateway.url, CookieStore(None, Bus(), Redactor(), SystemClock()), TEST_TIMEOUT_S, tls=False)
    yield client
    await client.close()


async def send(client: GatewayClient, target: str = "/v1/api/x", method: str = "GET") -> Response:
    """Send one call; every method but GET is a change."""
    return await client.send(Call(method, target, is_change=method != "GET"))


def send_first(*pieces: bytes) -> Script:
    """A script that sends these pieces for the first request, and `OK` for all others."""
    responses = itertools.chain([pieces], itertools.repeat((OK,)))

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(*next(responses))

    return script


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_stray_chunk_end_in_the_same_segment_is_ignored(
    gateway: ScriptedGateway, client: GatewayClient, status: int, method: str
) -> None:
    """Read as a response, it would take the place of the real one."""
    gateway.script = send_first(HEADS[status] + STRAY_CHUNK_END)

    empty = await send(client, method=method)
    following = [(await send(client)).status for _ in range(3)]

    assert (empty.status, empty.body, empty.headers["X-A"]) == (status, b"", "b")
    assert following == [200] * 3


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_stray_chunk_end_in_its_own_segment_is_ignored(
    gateway: ScriptedGateway, client: GatewayClient, status: int, method: str
) -> None:
    """It may come while the connection is idle or with the next call on it. Neither may be affected."""
    gateway.script = send_first(HEADS[status], STRAY_CHUNK_END)

    empty = await send(client, method=method)
    following = [(await send(client)).status for _ in range(3)]

    assert (empty.status, empty.body) == (status, b"")
    assert following == [200] * 3


async def test_a_late_stray_chunk_end_does_not_affect_the_next_call(
    gateway: ScriptedGateway, client: GatewayClient
) -> None:
    """The next call is already in flight when the stray bytes come."""
    may_send_stray = asyncio.Event()

    async def script(request: Request, connection: Connection) -> None:
        if request.target.endswith("empty"):
            await connection.send(HEADS[204])
            await may_send_stray.wait()
            await connection.send(STRAY_CHUNK_END)
        else:
            may_send_stray.set()
            await connection.send(OK)

    gateway.script = script

    empty = await send(client, "/v1/api/empty")
    following = await send(client)

    assert (empty.status, following.status, following.body) == (204, 200, b"{}")


@pytest.mark.parametrize("status", [204, 304])
async def test_the_connection_of_an_empty_response_is_not_used_again(
    gateway: ScriptedGateway, client: GatewayClient, status: int
) -> None:
    """More bytes of the Gateway on it belong to no call."""
    gateway.script = send_first(HEADS[status] + STRAY_CHUNK_END)

    await send(client)
    await send(client)

    assert [request.connection_number for request in gateway.requests] == [1, 2]


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("cut", [1, 9, 10, 11, 12, 13, 20, -1])
async def test_the_head_of_an_empty_response_may_come_in_two_pieces(
    gateway: ScriptedGateway, client: GatewayClient, status: int, cut: int
) -> None:
    """TCP may cut it anywhere."""
    head = HEADS[status]
    gateway.script = send_first(head[:cut], head[cut:] + STRAY_CHUNK_END)

    empty = await send(client)
    following = await send(client)

    assert (empty.status, following.status) == (status, 200)


@pytest.mark.parametrize("raw_response", [CHUNKED, OK, HEADS[204] + STRAY_CHUNK_END, HEADS[304] + STRAY_CHUNK_END])
async def test_a_response_may_come_byte_by_byte(
    gateway: ScriptedGateway, client: GatewayClient, raw_response: bytes
) -> None:
    """Each of the four kinds, which the client can then tell apart only at the last moment."""
    gateway.script = send_first(*(bytes([byte]) for byte in raw_response))

    response = await send(client)
    following = await send(client)

    assert response.body == (b"" if response.status in (204, 304) else b"{}")
    assert following.status == 200


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 2", b"HTTP/1.1 20", b"HTTP/1.1 30", b"HTTP/1.0 20"])
async def test_a_head_that_begins_like_an_empty_response_keeps_its_body(
    gateway: ScriptedGateway, client: GatewayClient, beginning: bytes
) -> None:
    """200, 201 and 302 have bodies, and are passed on with them."""
    rest = {b"2": b"01 Created", b"0": b"0 OK"}[b"2" if beginning.endswith(b"2") else b"0"]
    rest = b"2 Found" if beginning.endswith(b"30") else rest
    gateway.script = send_first(beginning, rest + b"\r\nContent-Length: 2\r\n\r\n{}")

    response = await send(client)

    assert response.body == b"{}"


async def test_the_connection_of_an_ordinary_response_is_used_again(
    gateway: ScriptedGateway, client: GatewayClient
) -> None:
    """Only an empty response costs a connection."""
    gateway.script = send_first(CHUNKED)

    for _ in range(4):
        await send(client)

    assert gateway.connection_count == 1


async def test_a_redirect_is_not_followed(gateway: ScriptedGateway, client: GatewayClient) -> None:
    """The Gateway redirects unknown callers to IBKR's host. The redirect is the response."""
    gateway.script = send_first(
        b"HTTP/1.1 302 Found\r\nLocation: "
        + gateway.url.encode()
        + b"/elsewhere\r\nTransfer-Encoding: chunked\r\n\r\n",
        STRAY_CHUNK_END,
    )

    response = await send(client)

    assert (response.status, len(gateway.requests)) == (302, 1)


async def test_a_compressed_body_is_not_decompressed(gateway: ScriptedGateway, client: GatewayClient) -> None:
    """The caller decompresses it."""
    gateway.script = send_first(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip")

    assert (await send(client)).body == b"no gzip"


async def test_a_204_whose_head_never_ends_is_a_timeout(gateway: ScriptedGateway, client: GatewayClient) -> None:
    """Bytes that are held back do not extend the caller's timeout."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(HEADS[204][:-2])
        await never_respond()

    gateway.script = script

    with pytest.raises(GatewayTimeout):
        await client.send(Call("GET", "/v1/api/x"), timeout_s=SHORT_TIMEOUT_S)


async def test_a_204_whose_head_is_cut_off_is_a_protocol_error(gateway: ScriptedGateway, client: GatewayClient) -> None:
    """The Gateway may have carried out the cancel, so the client does not send it again."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(HEADS[204][:-2])
        await connection.close()

    gateway.script = script

    with pytest.raises(GatewayProtocolError):
        await send(client, method="DELETE")

    assert len(gateway.requests) == 1


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    "before", [b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 3]
)
async def test_bytes_before_an_empty_response_do_not_hide_it(
    gateway: ScriptedGateway, client: GatewayClient, status: int, before: bytes
) -> None:
    """They come in one segment with it, or byte by byte."""
    gateway.script = send_first(before + HEADS[status] + STRAY_CHUNK_END)
    in_one_segment = await send(client, method="DELETE")
    gateway.script = send_first(*(bytes([byte]) for byte in before + HEADS[status] + STRAY_CHUNK_END))
    byte_by_byte = await send(client, method="DELETE")

    assert [(response.status, response.body) for response in (in_one_segment, byte_by_byte)] == [(status, b"")] * 2


async def test_an_empty_response_may_have_bare_line_feeds(gateway: ScriptedGateway, client: GatewayClient) -> None:
    """The parser accepts them, so the client must not wait for more bytes."""
    gateway.script = send_first(b"HTTP/1.1 204 No Content\nX-A: b\n\n")

    assert (await send(client)).status == 204


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No", b"\r\n", b"HTTP/1.1 100 Co"])
async def test_a_head_without_an_end_is_held_back_up_to_a_limit(
    gateway: ScriptedGateway, client: GatewayClient, head: bytes
) -> None:
    """Beyond the limit the parser gets the bytes and decides."""
    send_head = send_first(head + (b"\r\n" if head == b"\r\n" else b"x") * MAX_HEAD_BYTES)
    connections: set[HttpConnection] = set()  # the pool itself holds them weakly

    async def script(request: Request, connection: Connection) -> None:
        connections.update(client._http._pool._all)
        await send_head(request, connection)

    gateway.script = script

    with pytest.raises((GatewayProtocolError, GatewayTimeout)):
        await client.send(Call("GET", "/v1/api/x"), timeout_s=SHORT_TIMEOUT_S)

    assert connections
    assert all(not connection._beginning for connection in connections)


async def test_the_default_script_responds_ok(gateway: ScriptedGateway, client: GatewayClient) -> None:
    """The tests rely on it: one request in, one response out."""
    gateway.script = respond_ok

    assert (await send(client)).body == b"{}"
    assert gateway.requests[0].method == "GET"


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MOMENT_S, LATER_S = 0.01, 0.05  # real time; only the event loop's own clock moves these deadlines


@pytest.fixture
async def connection() -> HttpConnection:
    """A connection to nowhere that expects a response; the test passes the bytes to it."""
    connection = HttpConnection(asyncio.get_running_loop())
    connection.send(b"")
    return connection


async def read_ok(connection: HttpConnection, timeout_s: float) -> None:
    """Let a head come at once, and make the connection expect the next one."""
    reading = asyncio.create_task(connection.read_head(timeout_s))
    await asyncio.sleep(0)
    connection.data_received(OK)
    assert (await reading)[0].code == 200
    connection.send(b"")


async def test_provisional_responses_do_not_move_the_deadline(connection: HttpConnection) -> None:
    """A Gateway that sends one after the other would be waited for without end."""
    reading = asyncio.create_task(connection.read_head(MOMENT_S))
    while not reading.done():
        connection.data_received(CONTINUE)
        await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await reading


async def test_a_head_can_be_read_after_its_deadline(connection: HttpConnection) -> None:
    """The late response may tell what became of an order."""
    with pytest.raises(TimeoutError):
        await connection.read_head(MOMENT_S)

    connection.data_received(OK)

    assert (await connection.read_head())[0].code == 200


async def test_a_shorter_deadline_after_a_longer_one_holds(connection: HttpConnection) -> None:
    """The timer of the earlier call is still set."""
    await read_ok(connection, TEST_TIMEOUT_S)

    with pytest.raises(TimeoutError):
        await connection.read_head(MOMENT_S)


async def test_a_longer_deadline_after_a_shorter_one_is_waited_for(connection: HttpConnection) -> None:
    """The timer of the earlier call must not end this one."""
    await read_ok(connection, MOMENT_S)
    began = asyncio.get_running_loop().time()

    with pytest.raises(TimeoutError):
        await connection.read_head(LATER_S)

    assert asyncio.get_running_loop().time() - began >= LATER_S - time.get_clock_info("monotonic").resolution


async def test_no_timer_outlives_its_connection(connection: HttpConnection) -> None:
    """It would hold the memory of the connection until its time."""
    await read_ok(connection, TEST_TIMEOUT_S)
    timer = connection._head_timer

    connection.connection_lost(None)

    assert timer is not None
    assert timer.cancelled()
