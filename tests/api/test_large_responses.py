"""Streaming large responses from the Gateway to the caller, with slow, broken and disconnecting peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.api import passthrough
from ibkr_bridge.events import RequestServed
from ibkr_bridge.session.state_machine import SessionState
from tests.conftest import OpenHarness
from tests.harness import KEY, Harness, settings_for
from tests.upstream.gateway.scripted_gateway import (
    TEST_TIMEOUT_S,
    Connection,
    Request,
    Script,
    ScriptedGateway,
    never_respond,
)

LARGE = 1_000_000  # bytes; a response of more than 256 KiB is streamed
HUGE = 50_000_000  # bytes; more than all buffers on the way can hold
PATH = "/portfolio/large"
KEEPER_RESPONSES = {
    "/iserver/account/orders": b'{"orders":[],"snapshot":false}',
    "/iserver/auth/status": b'{"authenticated":true,"connected":true,"competing":false,"established":true}',
    "/tickle": b'{"session":"0123456789abcdef","ssoExpires":600000}',
    "/iserver/accounts": b'{"accounts":["DU1234567"],"isPaper":true}',
    "/portfolio/accounts": b'[{"id":"DU1234567"}]',
    "/sso/validate": b'{"RESULT":true,"LOGIN_TYPE":2}',
}
RAW_REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nConnection: close\r\n\r\n".encode()


def head_of(size: int, status: str = "200 OK") -> bytes:
    """The head of a response with this length."""
    return f"HTTP/1.1 {status}\r\nContent-Type: text/x-large\r\nContent-Length: {size}\r\n\r\n".encode()


def respond_with(size: int, status: str = "200 OK") -> Script:
    """A script that sends this number of bytes, as fast as they are read."""

    async def script(_: Request, connection: Connection) -> None:
        connection.write(head_of(size, status) + b"x" * size)
        await connection.wait_until_drained()

    return script


def respond_in_halves(go: asyncio.Event) -> Script:
    """A script that sends the second half of a large response when it may."""

    async def script(_: Request, connection: Connection) -> None:
        connection.write(head_of(LARGE) + b"x" * (LARGE // 2))
        await go.wait()
        connection.write(b"x" * (LARGE - LARGE // 2))
        await connection.wait_until_drained()

    return script


async def read_chunked(reader: asyncio.StreamReader) -> int:
    """Read a chunked body to its end. Returns its length."""
    size = 0
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while length := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(length + 2)
            size += length
    return size


class FakeGateway:
    """Answers the keeper as the Gateway does, and all other calls with the script of a test."""

    def __init__(self) -> None:
        self.large: Script = respond_with(LARGE)
        self.connections: list[Connection] = []

    async def __call__(self, request: Request, connection: Connection) -> None:
        """Answer one request."""
        body = KEEPER_RESPONSES.get(request.target.removeprefix("/v1/api"))
        if body is not None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
            return
        if request.target.startswith("/v1/api/ws"):
            return  # this Gateway has no websocket
        self.connections.append(connection)
        await self.large(request, connection)


@pytest.fixture
def gateway() -> FakeGateway:
    """The scripted Gateway."""
    return FakeGateway()


@pytest.fixture
async def server(gateway: FakeGateway) -> AsyncIterator[ScriptedGateway]:
    """The server of the Gateway, without TLS."""
    async with ScriptedGateway(gateway) as running:
        yield running


@pytest.fixture
async def harness(open_harness: OpenHarness, server: ScriptedGateway) -> Harness:
    """A bridge in front of it. The timeout is long, since large responses take time on a slow machine."""
    return await open_harness(gateway=server.url, IBKR_GATEWAY_TIMEOUT="10")


async def read_until_closed(harness: Harness) -> bytes:
    """Everything that a caller received before its connection ended; nothing if it was reset."""
    try:
        return await harness.send_raw(RAW_REQUEST)
    except ConnectionResetError:
        return b""


async def wait_until_free(harness: Harness) -> None:
    """Wait until every slot is free again."""
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while harness.bridge.profile.admission.slots_taken:
            await asyncio.sleep(0)


async def wait_for_log_line(harness: Harness) -> RequestServed:
    """Wait for the event of the large call."""
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while True:
            for event in harness.events_seen:
                if isinstance(event, RequestServed) and event.route.startswith("/portfolio"):
                    return event
            await asyncio.sleep(0)


async def test_a_response_without_a_content_type_gets_none(harness: Harness) -> None:
    """aiohttp would add application/octet-stream."""
    assert "Content-Type" not in (await harness.get("/portfolio/accounts")).headers


async def test_a_gateway_may_use_plain_http(harness: Harness) -> None:
    """With `http://` on this machine, when another program terminates TLS."""
    assert harness.bridge.profile.keeper.session.state is SessionState.READY
    assert (await harness.get("/portfolio/accounts")).json == [{"id": "DU1234567"}]


@pytest.mark.parametrize("size", [1, 256 * 1024, 256 * 1024 + 1, 600_000, 3_000_001])
async def test_a_response_of_any_size_arrives_complete(harness: Harness, gateway: FakeGateway, size: int) -> None:
    """Also around the size from which on it is streamed."""
    body = bytes(range(256)) * (size // 256 + 1)

    async def script(_: Request, connection: Connection) -> None:
        connection.write(head_of(size) + body[:size])
        await connection.wait_until_drained()

    gateway.large = script

    reply = await harness.get(PATH)

    assert (reply.status, reply.body == body[:size]) == (200, True)
    assert reply.headers["Content-Type"] == "text/x-large"
    assert reply.headers["X-Bridge-Source"] == "gateway"
    await wait_until_free(harness)


@pytest.mark.parametrize("status", ["404 Not Found", "500 Server Error"])
async def test_a_large_response_keeps_its_status(harness: Harness, gateway: FakeGateway, status: str) -> None:
    """Error pages of IBKR can be long."""
    gateway.large = respond_with(LARGE, status)

    reply = await harness.get(PATH)

    assert (reply.status, len(reply.body)) == (int(status[:3]), LARGE)


@pytest.mark.parametrize(
    ("status", "code"), [("401 Unauthorized", "upstream_refused"), ("429 Too Many", "rate_limited")]
)
async def test_a_large_response_that_becomes_an_error_of_the_bridge_is_discarded(
    harness: Harness, gateway: FakeGateway, status: str, code: str
) -> None:
    """Its body is not sent on, and its slot becomes free."""
    gateway.large = respond_with(HUGE, status)

    assert (await harness.get(PATH)).code == code
    await wait_until_free(harness)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_truncated_large_response_is_truncated_for_the_caller(
    harness: Harness, gateway: FakeGateway, chunked: bool
) -> None:
    """Without the last chunk no client takes it for complete."""

    async def script(_: Request, connection: Connection) -> None:
        half = b"x" * (LARGE // 2)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(half):x}\r\n".encode()
        connection.write(head + half + b"\r\n" if chunked else head_of(LARGE) + half)
        await connection.wait_until_drained()
        await connection.close()

    gateway.large = script

    reply = await read_until_closed(harness)

    assert not reply.endswith(b"0\r\n\r\n")
    assert (await wait_for_log_line(harness)).code == "gateway_protocol_error"
    await wait_until_free(harness)


@pytest.mark.unanswered
async def test_a_large_response_that_stops_is_truncated_for_the_caller(
    open_harness: OpenHarness, server: ScriptedGateway, gateway: FakeGateway
) -> None:
    """The Gateway does not close the connection if IBKR fails; the bridge's own timeout ends it."""
    harness = await open_harness(gateway=server.url)

    async def script(_: Request, connection: Connection) -> None:
        connection.write(head_of(LARGE) + b"x" * (LARGE // 2))
        await never_respond()

    gateway.large = script

    reply = await read_until_closed(harness)

    assert not reply.endswith(b"0\r\n\r\n")
    assert (await wait_for_log_line(harness)).code == "gateway_timeout"
    assert harness.bridge.profile.admission.slots_taken == 1  # the Gateway may still work on it


async def test_a_truncated_small_response_is_an_error_of_the_bridge(harness: Harness, gateway: FakeGateway) -> None:
    """It is buffered until it is complete, so an error can still be sent."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(head_of(1000) + b"x" * 500)
        await connection.close()

    gateway.large = script

    reply = await harness.get(PATH)

    assert (reply.status, reply.code) == (502, "gateway_protocol_error")


async def test_a_slow_caller_slows_the_gateway_down(harness: Harness, gateway: FakeGateway) -> None:
    """The bridge does not buffer the rest; in the end all of it arrives."""
    gateway.large = respond_with(HUGE)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
    writer.write(RAW_REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    for _ in range(2_000):  # time in which the bridge could read much more
        await asyncio.sleep(0)
    unsent, taken = gateway.connections[0].unsent_bytes, harness.bridge.profile.admission.slots_taken

    size = await read_chunked(reader)

    assert b"chunked" in head
    assert unsent > HUGE // 2
    assert taken == 1  # the Gateway still sends
    assert size == HUGE
    await wait_until_free(harness)
    writer.close()


async def test_a_caller_that_pauses_gets_the_complete_response(harness: Harness, gateway: FakeGateway) -> None:
    """The buffers may be full when the last bytes come; they are sent when there is room again."""
    short = []
    for size in range(5_000_000, 9_000_000, 200_000):
        gateway.large = respond_with(size)
        reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
        writer.write(RAW_REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(2_000):  # until all buffers are full
            await asyncio.sleep(0)
        try:
            if await read_chunked(reader) != size:
                short.append(size)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            short.append(size)
        writer.transport.abort()

    assert short == []


async def test_a_caller_that_never_reads_is_disconnected(
    harness: Harness, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not hold one of the few slots for ever."""
    monkeypatch.setattr(passthrough, "CLIENT_READ_TIMEOUT_S", 0.3)
    gateway.large = respond_with(HUGE)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
    writer.write(RAW_REQUEST)
    await reader.readuntil(b"\r\n\r\n")

    line = await wait_for_log_line(harness)
    await wait_until_free(harness)

    assert line.code == "slow_client"
    writer.transport.abort()


async def test_a_large_response_ends_when_its_key_is_replaced(harness: Harness, gateway: FakeGateway) -> None:
    """It ends as a truncated response, so that no client takes it for complete."""
    key_is_replaced = asyncio.Event()
    gateway.large = respond_in_halves(key_is_replaced)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(RAW_REQUEST)
    await reader.readuntil(b"\r\n\r\n")

    harness.bridge.keys.replace(settings_for("https://127.0.0.1:1", Path("/nowhere"), IBKR_BRIDGE_KEY=f"new-{KEY}"))
    key_is_replaced.set()

    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await read_chunked(reader)
    assert (await wait_for_log_line(harness)).code == "invalid_key"
    await wait_until_free(harness)
    writer.close()


async def test_the_slot_of_a_caller_that_disconnects_is_free_when_the_gateway_has_finished(
    harness: Harness, gateway: FakeGateway
) -> None:
    """The rest is read and dropped, since the Gateway sends it anyway."""
    go = asyncio.Event()
    gateway.large = respond_in_halves(go)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(RAW_REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    await asyncio.sleep(0)
    taken = harness.bridge.profile.admission.slots_taken

    go.set()
    await wait_until_free(harness)

    assert taken == 1
    assert (await harness.get("/portfolio/accounts")).status == 200


async def test_other_calls_are_served_meanwhile(harness: Harness, gateway: FakeGateway) -> None:
    """A long response takes one slot."""
    go = asyncio.Event()
    gateway.large = respond_in_halves(go)
    slow = asyncio.create_task(harness.get(PATH))
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while not gateway.connections:
            await asyncio.sleep(0)

    others = [(await harness.get("/portfolio/accounts")).status for _ in range(10)]
    go.set()

    assert others == [200] * 10
    assert len((await slow).body) == LARGE
