"""The client of the Gateway: what it sends, what it returns, and that it loses, doubles or forgets no call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import BridgeError, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.http.connection_pool import MAX_IDLE_S
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

SHORT_TIMEOUT_S = 0.15  # a timeout in seconds for tests in which the Gateway stays silent on purpose
LARGE = 1_000_000  # the size in bytes of a body that is streamed to the caller
LARGE_HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n".encode()
READ = Call("GET", "/v1/api/x")
CHANGES = [
    Call("POST", "/v1/api/order", body=b"{}", is_change=True),
    Call("PUT", "/v1/api/order", body=b"{}", is_change=True),
    Call("DELETE", "/v1/api/order", is_change=True),
]


def method_of(call: Call) -> str:
    """The id of a test's parameter."""
    return call.method


class Caller:
    """A client of the Gateway, with a count of the slots that it released."""

    def __init__(self, client: GatewayClient) -> None:
        self.client = client
        self.released_count = 0
        self.is_sent = False
        self._changed = asyncio.Event()

    def _mark_sent(self) -> None:
        self.is_sent = True

    def count_release(self) -> None:
        """The callback `on_released`."""
        self.released_count += 1
        self._changed.set()

    async def send(self, call: Call = READ, timeout_s: float | None = None) -> Response:
        """Send one call; `is_sent` is set when its bytes may leave."""
        return await self.client.send(
            call, timeout_s=timeout_s, on_sent=self._mark_sent, on_released=self.count_release
        )

    async def send_and_fail(self, call: Call = READ, timeout_s: float | None = None) -> BridgeError:
        """Send one call that must fail. Returns its error."""
        with pytest.raises(BridgeError) as caught:
            await self.send(call, timeout_s)
        return caught.value

    async def wait_until_released(self) -> None:
        """Wait until a slot has been released."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while not self.released_count:
                self._changed.clear()
                await self._changed.wait()

    async def wait_until_no_ghosts(self) -> None:
        """Wait until the client reads no late response any more."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while self.client.abandoned:
                await asyncio.sleep(0)


@asynccontextmanager
async def open_caller(
    url: str, timeout_s: float = TEST_TIMEOUT_S, abandoned_for_s: float = 120.0
) -> AsyncIterator[Caller]:
    """A caller of the Gateway at this address; its client is closed at the end."""
    cookies = CookieStore(None, Bus(), Redactor(), SystemClock())
    client = GatewayClient(url, cookies, timeout_s, tls=False, abandoned_for_s=abandoned_for_s)
    try:
        yield Caller(client)
    finally:
        await client.close()


OpenGateway = Callable[..., Awaitable[tuple[ScriptedGateway, Caller]]]


@pytest.fixture
async def open_gateway() -> AsyncIterator[OpenGateway]:
    """A function that starts a scripted Gateway and a caller of it; both are closed at the end."""
    async with AsyncExitStack() as resources:

        async def open_both(
            script: Script = respond_ok, *, timeout_s: float = TEST_TIMEOUT_S, abandoned_for_s: float = 120.0
        ) -> tuple[ScriptedGateway, Caller]:
            gateway = await resources.enter_async_context(ScriptedGateway(script))
            caller = await resources.enter_async_context(open_caller(gateway.url, timeout_s, abandoned_for_s))
            return gateway, caller

        yield open_both


# -- before the first byte


@pytest.mark.parametrize("call", CHANGES, ids=method_of)
async def test_a_connection_that_closes_before_the_first_byte_carries_nothing(
    open_gateway: OpenGateway, call: Call
) -> None:
    """`before_first_byte` takes time, for example to write to the journal; the call is known not to have left."""
    gateway, caller = await open_gateway()

    async def write_entry() -> None:
        for writer in gateway._writers:
            writer.transport.abort()
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while any(connection.is_clean for connection in caller.client._http._pool._all):
                await asyncio.sleep(0)

    with pytest.raises(GatewayUnreachable, match="before anything was sent"):
        await caller.client.send(call, before_first_byte=write_entry, on_released=caller.count_release)

    assert (gateway.requests, caller.released_count, caller.client.abandoned) == ([], 1, 0)


async def test_a_call_that_is_cancelled_before_the_first_byte_is_not_sent(open_gateway: OpenGateway) -> None:
    """Its connection is closed and its slot is released."""
    gateway, caller = await open_gateway()
    is_writing = asyncio.Event()

    async def write_entry() -> None:
        is_writing.set()
        await asyncio.get_running_loop().create_future()

    send_task = asyncio.create_task(
        caller.client.send(CHANGES[0], before_first_byte=write_entry, on_released=caller.count_release)
    )
    async with asyncio.timeout(TEST_TIMEOUT_S):
        await is_writing.wait()
    send_task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await send_task
    await gateway.wait_until_closed(1)

    assert (gateway.requests, caller.released_count) == ([], 1)


# -- the bytes of a request


@pytest.mark.parametrize(
    "target",
    [
        "/v1/api/portfolio/accounts",
        "/v1/api/x?",
        "/v1/api/x/?a=b?c=d",
        "/v1/api/x?a=%2F&b=+&&c=&a=|{}",
        "/v1/api/x%20y/%C3%A9?q=%E2%82%AC%25",
        "/v1/api/../x//y/./z",
        "/v1/api/x?a=b;c=d:@!$'()*,~",
    ],
)
async def test_a_target_is_sent_byte_for_byte(open_gateway: OpenGateway, target: str) -> None:
    """The order rules check the target, so IBKR must get exactly the one that they saw."""
    gateway, caller = await open_gateway()

    await caller.send(Call("GET", target))

    assert gateway.requests[0].head.startswith(f"GET {target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_empty_body_is_sent_with_its_length(open_gateway: OpenGateway, method: str) -> None:
    """IBKR answers 411 without a Content-Length."""
    gateway, caller = await open_gateway()

    await caller.send(Call(method, "/v1/api/x"))

    assert gateway.requests[0].header("Content-Length") == "0"
    assert gateway.requests[0].header("Transfer-Encoding") is None


async def test_only_the_headers_of_the_call_are_sent(open_gateway: OpenGateway) -> None:
    """HTTP libraries add headers of their own, and IBKR would see them."""
    gateway, caller = await open_gateway()

    await caller.send(Call("GET", "/v1/api/x", (("Accept", "a/b"), ("User-Agent", "me"))))

    names = {line.split(b":")[0].lower() for line in gateway.requests[0].head.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept", b"user-agent"}


async def test_a_large_body_is_sent_completely(open_gateway: OpenGateway) -> None:
    """A megabyte, with its length and without chunks."""
    gateway, caller = await open_gateway()
    body = b"[" + b" " * (1024 * 1024 - 2) + b"]"

    await caller.send(Call("POST", "/v1/api/x", body=body))

    assert gateway.requests[0].body == body
    assert gateway.requests[0].header("Transfer-Encoding") is None


# -- connections


async def test_reads_share_a_connection(open_gateway: OpenGateway) -> None:
    """The TLS handshake is made once, not for each quote."""
    gateway, caller = await open_gateway()

    for _ in range(5):
        await caller.send()

    assert gateway.connection_count == 1


async def test_a_connection_that_was_idle_too_long_is_closed(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was used in between stays open. Without an open connection, the next read opens one."""
    gateway, caller = await open_gateway()
    loop, offset_s = asyncio.get_running_loop(), [0.0]
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + offset_s[0])
    await asyncio.gather(caller.send(), caller.send())
    offset_s[0] += MAX_IDLE_S * 2 / 3
    await caller.send()
    used_number = gateway.requests[-1].connection_number

    offset_s[0] += MAX_IDLE_S * 2 / 3
    await gateway.wait_until_closed(3 - used_number)
    assert gateway.is_open(used_number)
    offset_s[0] += MAX_IDLE_S * 2 / 3
    await gateway.wait_until_closed(used_number)
    await caller.send()

    assert gateway.requests[-1].connection_number == 3


@pytest.mark.parametrize("extra", [b"H", OK[:15], OK, OK[:-4]])
@pytest.mark.parametrize("when", ["with the response", "while idle"])
async def test_a_connection_that_received_unrequested_bytes_is_not_used_again(
    open_gateway: OpenGateway, extra: bytes, when: str
) -> None:
    """The client would take these bytes for the response to its next call."""
    is_idle = asyncio.Event()

    async def script(request: Request, connection: Connection) -> None:
        unrequested = extra if request.connection_number == 1 else b""
        if when == "with the response":
            await connection.send(OK + unrequested)
        else:
            await connection.send(OK)
            await is_idle.wait()
            await connection.send(unrequested)

    gateway, caller = await open_gateway(script)
    first = await caller.send()
    is_idle.set()
    if when == "while idle":
        for _ in range(20):  # the Gateway runs in the same event loop: let it send, and let the client receive
            await asyncio.sleep(0)
    second = await caller.send()

    assert (first.body, second.body) == (b"{}", b"{}")
    assert [request.connection_number for request in gateway.requests] == [1, 2]


@pytest.mark.parametrize("call", [READ, *CHANGES], ids=method_of)
@pytest.mark.parametrize("behaviour", ["sends", "closes"])
async def test_a_connection_that_sends_or_closes_before_the_request_is_not_used(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch, call: Call, behaviour: str
) -> None:
    """The client would take the early bytes for the response, also to an order. No byte of the call has left."""
    gateway, caller = await open_gateway()
    connections = caller.client._http._pool
    open_now = connections._open

    async def on_connect(connection: Connection) -> None:
        await (connection.send(OK) if behaviour == "sends" else connection.close())

    async def open_late() -> Any:
        connection = await open_now()
        await gateway.wait_until(lambda: gateway.on_connect_count > 0)
        for _ in range(10):
            await asyncio.sleep(0)
        return connection

    gateway.on_connect = on_connect
    monkeypatch.setattr(connections, "_open", open_late)

    error = await caller.send_and_fail(call)

    assert isinstance(error, GatewayUnreachable)
    assert (caller.released_count, caller.is_sent, gateway.requests) == (1, False, [])


@pytest.mark.parametrize("call", CHANGES, ids=method_of)
async def test_each_change_is_sent_on_a_new_connection(open_gateway: OpenGateway, call: Call) -> None:
    """If an old connection ended at the wrong moment, the result of an order would be unknown."""
    gateway, caller = await open_gateway()

    await caller.send()
    await caller.send(call)
    await caller.send(call)
    await caller.send()

    assert [request.connection_number for request in gateway.requests] == [1, 2, 3, 1]


async def test_a_connection_is_not_used_again_after_a_timeout(open_gateway: OpenGateway) -> None:
    """Even if the late response comes completely, the next caller must not get it."""
    may_respond_late = asyncio.Event()

    async def script(request: Request, connection: Connection) -> None:
        if request.target.endswith("late"):
            await may_respond_late.wait()
            await connection.send(OK.replace(b"{}", b"[]"))
        await connection.send(OK)

    gateway, caller = await open_gateway(script, timeout_s=SHORT_TIMEOUT_S)
    error = await caller.send_and_fail(Call("GET", "/v1/api/late"))
    may_respond_late.set()
    await caller.wait_until_released()
    await gateway.wait_until_closed(1)

    response = await caller.send()

    assert isinstance(error, GatewayTimeout)
    assert (response.body, gateway.requests[-1].connection_number) == (b"{}", 2)


async def test_a_call_after_a_timeout_uses_another_connection(open_gateway: OpenGateway) -> None:
    """No call waits behind a ghost call."""

    async def script(request: Request, connection: Connection) -> None:
        await (never_respond() if request.target.endswith("late") else connection.send(OK))

    gateway, caller = await open_gateway(script, timeout_s=SHORT_TIMEOUT_S)
    await caller.send_and_fail(Call("GET", "/v1/api/late"))

    await caller.send()

    assert [request.connection_number for request in gateway.requests] == [1, 2]
    assert gateway.is_open(1)  # the client reads on, since the Gateway still works on the call


# -- timeouts


async def test_without_a_tls_handshake_the_call_times_out_unsent() -> None:
    """The TCP connection is open, but TLS is not: an order was never sent."""
    # this server expects plain HTTP, and so does not answer the TLS handshake
    async with (
        ScriptedGateway() as gateway,
        open_caller(f"https://127.0.0.1:{gateway.port}", timeout_s=SHORT_TIMEOUT_S) as caller,
    ):
        error = await caller.send_and_fail(CHANGES[0])

    assert isinstance(error, GatewayTimeout)
    assert (caller.is_sent, caller.released_count, caller.client.abandoned) == (False, 1, 0)


async def test_a_response_without_a_head_in_time_is_a_timeout(open_gateway: OpenGateway) -> None:
    """The Gateway itself would never give up. It may still work on the call, so the slot stays taken."""
    _, caller = await open_gateway(never_respond, timeout_s=SHORT_TIMEOUT_S)

    error = await caller.send_and_fail()

    assert isinstance(error, GatewayTimeout)
    assert (caller.is_sent, caller.released_count, caller.client.abandoned) == (True, 0, 1)


async def test_half_a_head_does_not_extend_the_timeout(open_gateway: OpenGateway) -> None:
    """Only a complete head ends the wait."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-")
        await never_respond()

    _, caller = await open_gateway(script, timeout_s=SHORT_TIMEOUT_S)

    assert isinstance(await caller.send_and_fail(), GatewayTimeout)


async def test_a_body_that_stops_is_a_timeout(open_gateway: OpenGateway) -> None:
    """IBKR failed in the middle of its response, and the Gateway does not report it."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await never_respond()

    _, caller = await open_gateway(script, timeout_s=SHORT_TIMEOUT_S)

    assert isinstance(await caller.send_and_fail(), GatewayTimeout)


async def test_a_call_may_have_its_own_timeout(open_gateway: OpenGateway) -> None:
    """The keeper's checks have a shorter timeout than a caller's calls."""
    _, caller = await open_gateway(never_respond, timeout_s=TEST_TIMEOUT_S * 10)

    assert isinstance(await caller.send_and_fail(timeout_s=SHORT_TIMEOUT_S), GatewayTimeout)


async def test_a_body_that_arrives_byte_by_byte_is_a_timeout(open_gateway: OpenGateway) -> None:
    """One byte before each deadline must not hold a caller without limit."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await connection.send(b"x")
            await asyncio.sleep(0.05)  # the rate of the bytes, not a wait for an event

    _, caller = await open_gateway(script)

    assert isinstance(await caller.send_and_fail(timeout_s=0.15), GatewayTimeout)


async def test_a_port_without_a_listener_is_unreachable(unused_tcp_port: int) -> None:
    """Nothing was sent, and the slot is released."""
    async with open_caller(f"https://127.0.0.1:{unused_tcp_port}") as caller:
        error = await caller.send_and_fail(CHANGES[0])

    assert isinstance(error, GatewayUnreachable)
    assert (caller.is_sent, caller.released_count) == (False, 1)


# -- retries


async def test_a_read_is_retried_if_its_idle_connection_ends(open_gateway: OpenGateway) -> None:
    """Idle connections end at any time; the caller sees only the response."""

    async def script(request: Request, connection: Connection) -> None:
        if len(gateway.requests) == 2:
            return await connection.close()
        return await connection.send(OK)

    gateway, caller = await open_gateway(script)
    await caller.send()

    response = await caller.send()

    assert (response.status, caller.released_count) == (200, 2)
    assert [request.connection_number for request in gateway.requests] == [1, 1, 2]


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_read_is_sent_twice_at_most(open_gateway: OpenGateway, ending: str) -> None:
    """A Gateway that fails on a call does not get it again and again."""

    async def script(_: Request, connection: Connection) -> None:
        await (connection.close() if ending == "close" else _reset(connection))

    gateway, caller = await open_gateway(script)

    error = await caller.send_and_fail()

    assert isinstance(error, GatewayProtocolError)
    assert (len(gateway.requests), caller.released_count) == (2, 1)


async def _reset(connection: Connection) -> None:
    connection.reset()


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("beginning", [b"H", b"HTTP/1.1 20", b"HTTP/1.1 204 No Con", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_a_read_is_not_retried_after_a_byte_of_its_response(
    open_gateway: OpenGateway, beginning: bytes, ending: str
) -> None:
    """The Gateway has begun to respond. Only a read whose connection ended without any byte is retried."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(beginning)
        await (connection.close() if ending == "close" else _reset(connection))

    gateway, caller = await open_gateway(script)

    error = await caller.send_and_fail()

    assert isinstance(error, GatewayProtocolError)
    assert (len(gateway.requests), caller.released_count) == (1, 1)


async def test_a_retry_does_not_extend_the_timeout(open_gateway: OpenGateway) -> None:
    """A read that is cut late and then gets no response still ends within about one timeout."""

    async def script(_: Request, connection: Connection) -> None:
        if len(gateway.requests) == 1:
            await asyncio.sleep(1.2)  # how late the connection ends, not a wait for an event
            await connection.close()
        await never_respond()

    gateway, caller = await open_gateway(script, timeout_s=2.0)

    send_task = asyncio.create_task(caller.send_and_fail())
    done, _ = await asyncio.wait({send_task}, timeout=3.0)

    assert len(gateway.requests) == 2
    assert done, "the second attempt got the whole timeout again"
    await send_task


@pytest.mark.parametrize("call", CHANGES, ids=method_of)
@pytest.mark.parametrize("ending", ["close", "reset", "garble"])
async def test_a_change_is_never_retried(open_gateway: OpenGateway, call: Call, ending: str) -> None:
    """HTTP libraries retry PUT and DELETE by themselves; an order is sent once."""

    async def script(_: Request, connection: Connection) -> None:
        if ending == "garble":
            await connection.send(b"\x16\x03 no HTTP at all\r\n\r\n")
        await (_reset(connection) if ending == "reset" else connection.close())

    gateway, caller = await open_gateway(script)

    error = await caller.send_and_fail(call)

    assert isinstance(error, GatewayProtocolError)
    assert (caller.is_sent, len(gateway.requests), caller.released_count) == (True, 1, 1)


# -- each call releases its slot exactly once, however the call ends


@pytest.mark.parametrize("call", [READ, *CHANGES], ids=method_of)
async def test_a_response_releases_its_slot_once(open_gateway: OpenGateway, call: Call) -> None:
    """A slot that is released twice would be given away twice."""
    _, caller = await open_gateway()

    await caller.send(call)

    assert caller.released_count == 1


@pytest.mark.parametrize(
    "raw_response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    ],
)
async def test_an_invalid_response_is_reported_at_once_and_releases_its_slot_once(
    open_gateway: OpenGateway, raw_response: bytes
) -> None:
    """Half a response and bytes that are not HTTP are both protocol errors."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(raw_response)
        await connection.close()

    _, caller = await open_gateway(script, timeout_s=TEST_TIMEOUT_S)

    assert isinstance(await caller.send_and_fail(), GatewayProtocolError)
    assert (caller.released_count, caller.client.abandoned) == (1, 0)


async def test_an_invalid_chunk_is_reported_at_once(open_gateway: OpenGateway) -> None:
    """The connection stays open, but no later byte can complete the response."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"zz\r\n")
        await never_respond()

    _, caller = await open_gateway(script)

    assert isinstance(await caller.send_and_fail(), GatewayProtocolError)
    assert caller.released_count == 1


@pytest.mark.parametrize("ending", ["response", "cut", "garble", "large"])
async def test_a_late_end_releases_its_slot_once(open_gateway: OpenGateway, ending: str) -> None:
    """After our timeout the Gateway works on the call until the call ends there."""
    may_end = asyncio.Event()

    async def script(_: Request, connection: Connection) -> None:
        await may_end.wait()
        if ending == "large":
            await connection.send(LARGE_HEAD, b"x" * LARGE)
        elif ending != "cut":
            await connection.send(OK if ending == "response" else b"no HTTP\r\n\r\n")
        await connection.close()

    _, caller = await open_gateway(script, timeout_s=SHORT_TIMEOUT_S)
    await caller.send_and_fail()
    before = (caller.released_count, caller.client.abandoned)

    may_end.set()
    await caller.wait_until_released()
    await caller.wait_until_no_ghosts()

    assert before == (0, 1)
    assert caller.released_count == 1


async def test_a_call_that_never_ends_releases_its_slot_at_last(open_gateway: OpenGateway) -> None:
    """After two minutes the Gateway no longer works on the call, and the connection is closed."""
    gateway, caller = await open_gateway(never_respond, abandoned_for_s=SHORT_TIMEOUT_S, timeout_s=SHORT_TIMEOUT_S)
    await caller.send_and_fail()
    before = caller.released_count

    await caller.wait_until_released()
    await caller.wait_until_no_ghosts()
    await gateway.wait_until_closed(1)

    assert (before, caller.released_count) == (0, 1)


async def test_a_large_response_releases_its_slot_when_it_is_read(open_gateway: OpenGateway) -> None:
    """Its first bytes do not release the slot, since the Gateway is still sending."""
    _, caller = await open_gateway(send_large)
    response = await caller.send()
    assert response.body_stream is not None
    before = caller.released_count

    rest = b"".join([chunk async for chunk in response.body_stream.chunks()])
    response.body_stream.close()
    response.body_stream.close()

    assert (before, caller.released_count) == (0, 1)
    assert len(response.body) + len(rest) == LARGE


async def send_large(_: Request, connection: Connection) -> None:
    """A script that sends a large response at once."""
    await connection.send(LARGE_HEAD, b"x" * LARGE)


async def test_a_large_response_without_a_reader_releases_its_slot_once(open_gateway: OpenGateway) -> None:
    """The caller has left, but the Gateway is still sending, so the client reads to the end."""
    gateway, caller = await open_gateway(send_large)
    response = await caller.send()
    assert response.body_stream is not None

    response.body_stream.close()
    response.body_stream.close()
    await caller.wait_until_released()
    await caller.wait_until_no_ghosts()
    await gateway.wait_until_closed(1)

    assert caller.released_count == 1


async def test_a_truncated_large_response_is_an_error_and_releases_its_slot_once(open_gateway: OpenGateway) -> None:
    """Half of a response must not pass for all of it."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(LARGE_HEAD, b"x" * (LARGE // 2))
        await connection.close()

    _, caller = await open_gateway(script)
    response = await caller.send()
    assert response.body_stream is not None

    with pytest.raises(GatewayProtocolError):
        _ = [chunk async for chunk in response.body_stream.chunks()]
    response.body_stream.close()

    assert caller.released_count == 1


async def test_a_large_response_that_stops_is_a_timeout_and_releases_its_slot_at_last(
    open_gateway: OpenGateway,
) -> None:
    """The Gateway reports nothing if IBKR fails in the middle of a response."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(LARGE_HEAD, b"x" * (LARGE // 2))
        await never_respond()

    _, caller = await open_gateway(script, abandoned_for_s=SHORT_TIMEOUT_S, timeout_s=SHORT_TIMEOUT_S)
    response = await caller.send()
    assert response.body_stream is not None

    with pytest.raises(GatewayTimeout):
        _ = [chunk async for chunk in response.body_stream.chunks()]
    response.body_stream.close()
    await caller.wait_until_released()
    await caller.wait_until_no_ghosts()

    assert caller.released_count == 1


async def test_a_large_response_waits_for_its_reader(open_gateway: OpenGateway) -> None:
    """Bytes that are not read yet stay at the Gateway, not in our memory."""
    size = 50_000_000
    connections_seen: list[Connection] = []

    async def script(_: Request, connection: Connection) -> None:
        connections_seen.append(connection)
        connection.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
        await connection.wait_until_drained()

    _, caller = await open_gateway(script, timeout_s=TEST_TIMEOUT_S)
    response = await caller.send()
    assert response.body_stream is not None
    for _ in range(1_000):  # more than enough turns of the loop for the client to read much more
        await asyncio.sleep(0)

    assert connections_seen[0].unsent_bytes > size // 2
    assert sum([len(chunk) async for chunk in response.body_stream.chunks()]) + len(response.body) == size
    response.body_stream.close()


async def test_a_large_response_ends_for_a_slow_reader_too(open_gateway: OpenGateway) -> None:
    """The whole response is in our buffers, which are full, before its reader goes on."""
    _, caller = await open_gateway(send_large, timeout_s=1.0)
    response = await caller.send()
    assert response.body_stream is not None
    for _ in range(1_000):  # until the whole response is here
        await asyncio.sleep(0)

    rest = b"".join([chunk async for chunk in response.body_stream.chunks()])
    response.body_stream.close()

    assert len(response.body) + len(rest) == LARGE
    assert caller.released_count == 1


@pytest.mark.parametrize("moment", ["at once", "later"])
async def test_close_releases_the_slot_of_a_ghost_call_once(open_gateway: OpenGateway, moment: str) -> None:
    """The bridge stops while the Gateway works on a call. No task keeps running, and asyncio warns of nothing."""
    gateway, caller = await open_gateway(never_respond, timeout_s=SHORT_TIMEOUT_S)
    await caller.send_and_fail()
    if moment == "later":
        for _ in range(5):  # until the ghost call has begun to wait
            await asyncio.sleep(0)

    await caller.client.close()
    await gateway.wait_until_closed(1)

    assert (caller.released_count, caller.client.abandoned) == (1, 0)


async def test_close_ends_a_call_in_flight(open_gateway: OpenGateway) -> None:
    """Its caller gets one of our own errors, and its slot is released."""
    gateway, caller = await open_gateway(never_respond, timeout_s=TEST_TIMEOUT_S)
    send_task = asyncio.create_task(caller.send_and_fail())
    await gateway.wait_for_requests(1)

    await caller.client.close()
    error = await send_task

    assert isinstance(error, GatewayProtocolError)
    assert caller.released_count == 1


async def test_close_ends_the_reading_of_a_body(open_gateway: OpenGateway) -> None:
    """Its caller gets the error at once, not after its timeout, and the call does not become a ghost call."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf")
        await never_respond(_, connection)

    gateway, caller = await open_gateway(script, timeout_s=TEST_TIMEOUT_S)
    send_task = asyncio.create_task(caller.send_and_fail())
    await gateway.wait_for_requests(1)
    for _ in range(20):
        await asyncio.sleep(0)

    await caller.client.close()
    async with asyncio.timeout(TEST_TIMEOUT_S / 2):
        error = await send_task

    assert isinstance(error, GatewayProtocolError)
    assert (caller.released_count, caller.client.abandoned) == (1, 0)


async def test_a_call_that_connects_during_close_is_not_sent(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent after `close`."""
    gateway, caller = await open_gateway()
    connections = caller.client._http._pool
    open_now, is_closed = connections._open, asyncio.Event()

    async def open_late() -> Any:
        connection = await open_now()
        await is_closed.wait()
        return connection

    monkeypatch.setattr(connections, "_open", open_late)
    send_task = asyncio.create_task(caller.send_and_fail(CHANGES[0]))
    await gateway.wait_until(lambda: gateway.connection_count == 1)

    await caller.client.close()
    is_closed.set()
    error = await send_task

    assert isinstance(error, GatewayUnreachable)
    assert (caller.released_count, caller.is_sent, gateway.requests) == (1, False, [])


@pytest.mark.parametrize("value", ["\u20ac", "\u00e9", "a b"])
async def test_a_cookie_is_sent_back_byte_for_byte(open_gateway: OpenGateway, value: str) -> None:
    """A cookie with unusual bytes must not fail a later call, nor hold a slot."""
    raw = value.encode("utf-8", "surrogateescape")
    heads: list[bytes] = []

    async def script(request: Request, connection: Connection) -> None:
        heads.append(request.head)
        await connection.send(OK.replace(b"Content-Type", b"Set-Cookie: x=" + raw + b"; Path=/\r\nContent-Type"))

    _, caller = await open_gateway(script)

    await caller.send()
    await caller.send(CHANGES[0])

    assert b"Cookie: x=" + raw + b"\r\n" in heads[1]
    assert caller.released_count == 2


async def test_an_unexpected_error_releases_the_slot(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the call is sent and after it. With four slots, four such errors would stop all calls."""
    _, caller = await open_gateway()
    cookies = caller.client._cookies

    def raise_error(*_: object) -> str:
        raise ZeroDivisionError

    for name in ("header", "update"):
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(cookies, name, raise_error)
            await caller.send()

    assert caller.released_count == 2


async def test_a_cancelled_call_releases_its_slot_once(open_gateway: OpenGateway) -> None:
    """The bridge stops: the call is cancelled and its connection is closed."""
    gateway, caller = await open_gateway(never_respond, timeout_s=TEST_TIMEOUT_S)
    send_task = asyncio.create_task(caller.send())
    await gateway.wait_for_requests(1)

    send_task.cancel()
    await asyncio.gather(send_task, return_exceptions=True)
    await gateway.wait_until_closed(1)

    assert caller.released_count == 1


async def test_ghost_calls_are_counted_and_shown(open_gateway: OpenGateway) -> None:
    """`/gateway/status` shows how many calls passed their deadline."""
    _, caller = await open_gateway(never_respond, timeout_s=SHORT_TIMEOUT_S)

    await caller.send_and_fail()
    await caller.send_and_fail()

    assert caller.client.abandoned == 2
    assert repr(caller.client).endswith(", 2 ghost calls>")


async def test_the_simulated_gateway_is_reached_over_tls(sim: Simulator) -> None:
    """With the shipped certificate: expired, self-signed, TLS 1.2."""
    async with open_caller(sim.url, timeout_s=TEST_TIMEOUT_S) as caller:
        response = await caller.send(Call("GET", "/v1/api/iserver/auth/status"))

    assert response.status == 200
