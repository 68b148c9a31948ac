"""Every kind of upstream behind one interface, for the contract of `calls/upstream_port.py`.

A `Scene` is an upstream and its far side, which follows a test's plan. A new kind of upstream needs only a scene here.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from enum import Enum
from typing import Protocol

from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Precondition, Response, call_once, noop
from ibkr_bridge.calls.upstream_port import BeforeSending, StreamSocket, Upstream, UpstreamTraits
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import Priority, RateLimit
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.harness import TEST_TIMEOUT_S
from tests.upstream.gateway.scripted_gateway import OK, Connection, Request, ScriptedGateway, respond_ok
from tests.upstream.oauth.scripted_api import ScriptedApi, new_api_client

BEGINNING, REST = b"a" * 300_000, b"b" * 300_000
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


class Act(Enum):
    """What the far side does with one call."""

    ANSWER = "answers {} at once"
    HOLD = "answers {} when the test releases it"
    BREAK_OFF = "ends the connection without a byte"
    LARGE = "answers the beginning of a large body, and the rest when the test releases it"
    REFUSE = "answers with a status of 500"


class Scene(Protocol):
    """An upstream and its far side."""

    upstream: Upstream
    plan: list[Act]
    """The act for each call that arrives; the last act applies to all later calls."""
    release: asyncio.Event
    """Set to let the far side go on."""

    @property
    def arrived_targets(self) -> list[str]:
        """The targets of the calls that arrived, in order."""
        ...

    async def wait_for_calls(self, count: int) -> None:
        """Wait until at least `count` calls have arrived."""
        ...

    async def wait_until_settled(self) -> None:
        """Wait until all that was sent has arrived and every connection has ended."""
        ...


def next_act(plan: list[Act]) -> Act:
    """Take the act for the next call from the plan."""
    return plan.pop(0) if len(plan) > 1 else plan[0]


class GatewayScene:
    """The Gateway's client in front of a scripted Gateway."""

    def __init__(self, gateway: ScriptedGateway) -> None:
        self.plan, self.release = [Act.ANSWER], asyncio.Event()
        self._gateway = gateway
        gateway.script = self._play
        cookies = CookieStore(None, Bus(), Redactor(), SystemClock())
        self.upstream: Upstream = GatewayClient(gateway.url, cookies, TEST_TIMEOUT_S, tls=False)

    @property
    def arrived_targets(self) -> list[str]:
        """See `Scene`."""
        return [request.target for request in self._gateway.requests]

    async def wait_for_calls(self, count: int) -> None:
        """See `Scene`."""
        await self._gateway.wait_for_requests(count)

    async def wait_until_settled(self) -> None:
        """See `Scene`."""
        gateway = self._gateway
        await gateway.wait_until(lambda: gateway.connection_count > 0 and not gateway._open_connections)

    async def _play(self, request: Request, connection: Connection) -> None:
        act = next_act(self.plan)
        if request.header("Upgrade") and act is not Act.REFUSE:
            await self._play_websocket(request, connection)
        elif act is Act.BREAK_OFF:
            await connection.close()
        elif act is Act.REFUSE:
            await connection.send(OK.replace(b"200 OK", b"500 Broken"))
        elif act is Act.LARGE:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BEGINNING + REST)}\r\n\r\n".encode()
            connection.write(head + BEGINNING)
            await self.release.wait()
            connection.write(REST)
        else:
            if act is Act.HOLD:
                await self.release.wait()
            await connection.send(OK)

    async def _play_websocket(self, request: Request, connection: Connection) -> None:
        key = (request.header("Sec-WebSocket-Key") or "").encode()
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID, usedforsecurity=False).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await connection.send(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n", b"\x81\x05hello")
        await self.release.wait()
        await connection.close()


class ApiScene(GatewayScene):
    """The client of IBKR's Web API in front of a far side that verifies every signature."""

    def __init__(self, api: ScriptedApi) -> None:
        super().__init__(api.server)
        self.api = api
        api.answer = self._play
        api.server.script = api.serve
        self.upstream = new_api_client(api)

    @property
    def arrived_targets(self) -> list[str]:
        """See `Scene`; the handshake is no call of anybody."""
        return [request.target.partition("?")[0] for request in self.api.calls]

    async def wait_for_calls(self, count: int) -> None:
        """See `Scene`."""
        await self.api.server.wait_until(lambda: len(self.api.calls) >= count)


class MemoryUpstream:
    """An upstream in memory: the smallest one that meets the contract."""

    traits = UpstreamTraits(
        name="memory",
        slots=2,
        slots_for_orders=1,
        total=RateLimit(10, 1.0, "ours"),
        by_priority={Priority.READS: RateLimit(9, 1.0, "ours")},
        missing={"/iserver/scanner/run": "there is no scanner in memory"},
    )

    def __init__(self, play: Callable[[Call], Awaitable[Response]], open_socket: Callable[[], StreamSocket]) -> None:
        self._play = play
        self._open_socket = open_socket
        self._working: set[asyncio.Future[Response]] = set()
        self._ghosts: set[asyncio.Future[Response]] = set()
        self._is_closed = False

    @property
    def abandoned(self) -> int:
        """See `Upstream.abandoned`."""
        return len(self._ghosts)

    async def send(
        self,
        call: Call,
        *,
        timeout_s: float | None = None,
        preconditions: Sequence[Precondition] = (),
        before_first_byte: Callable[[], Awaitable[None]] | None = None,
        on_sent: Callable[[], None] = noop,
        on_released: OnReleased = noop,
        on_given_up: Callable[[], None] = noop,
        on_late_response: OnLateResponse | None = None,
    ) -> Response:
        """See `Upstream.send`."""
        release = call_once(on_released)
        before_sending = BeforeSending(preconditions, before_first_byte, on_sent)
        is_first = True
        while True:
            work = await self._begin(call, before_sending, release)
            try:
                async with asyncio.timeout(timeout_s or TEST_TIMEOUT_S):
                    response = await asyncio.shield(work)
            except TimeoutError as exc:
                on_given_up()
                self._detach(work, release, on_late_response)
                raise GatewayTimeout("no response in time") from exc
            except ConnectionError as exc:
                if is_first and not call.is_change and not self._is_closed:
                    is_first = False
                    continue
                release()
                raise GatewayProtocolError("it broke off") from exc
            except BaseException as exc:
                was_closed = work.cancelled() and self._is_closed
                work.cancel()
                release()
                if was_closed:
                    raise GatewayProtocolError("it was closed") from exc
                raise
            if response.body_stream is None:
                release()
                return response
            detach = functools.partial(self._give_up_body, on_given_up, release)
            body = MemoryBody(response.body_stream, detach, release)
            return Response(response.status, response.headers, response.body, body)

    async def _begin(self, call: Call, before_sending: BeforeSending, release: OnReleased) -> asyncio.Future[Response]:
        try:
            self._check_connection()
            await before_sending.run(self._check_connection)
        except BaseException:
            release()
            raise
        work = asyncio.ensure_future(self._play(call))
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        return work

    def _check_connection(self) -> None:
        if self._is_closed:
            raise GatewayUnreachable("it is closed")

    def _give_up_body(
        self, on_given_up: Callable[[], None], release: OnReleased, work: asyncio.Future[Response]
    ) -> None:
        on_given_up()
        self._detach(work, release, None)

    def _detach(
        self, work: asyncio.Future[Response], release: OnReleased, on_late_response: OnLateResponse | None
    ) -> None:
        def on_done(_: object) -> None:
            self._ghosts.discard(work)
            if on_late_response is not None and not work.cancelled() and work.exception() is None:
                on_late_response(work.result())
            release()

        self._ghosts.add(work)
        work.add_done_callback(on_done)

    def open_stream(self) -> AbstractAsyncContextManager[StreamSocket]:
        """See `Upstream.open_stream`."""

        @asynccontextmanager
        async def open_socket() -> AsyncIterator[StreamSocket]:
            self._check_connection()
            yield self._open_socket()

        return open_socket()

    async def close(self) -> None:
        """See `Upstream.close`."""
        self._is_closed = True
        works = {*self._working, *self._ghosts}
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


class MemoryBody:
    """The rest of a large body, which comes when the far side is released."""

    def __init__(self, rest: object, detach: Callable[[asyncio.Future[Response]], None], release: OnReleased) -> None:
        if not isinstance(rest, MemoryRest):
            raise TypeError("not a body of this upstream")
        self._rest = rest
        self._detach = detach
        self._release = release
        self._is_read = self._is_closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `BodyStream.chunks`."""
        await self._rest.release.wait()
        yield REST
        self._is_read = True

    def close(self) -> None:
        """See `BodyStream.close`."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_read:
            self._release()
        else:
            self._detach(asyncio.ensure_future(self._rest.wait_for_response()))


class MemoryRest:
    """The part of a large body that the far side has not sent yet."""

    def __init__(self, let: asyncio.Event) -> None:
        self.release = let

    async def wait_for_response(self) -> Response:
        """Wait until the rest has come, and return it as a response."""
        await self.release.wait()
        return Response(200, {}, REST)

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `BodyStream.chunks`; the upstream's own body is read instead."""
        yield REST

    def close(self) -> None:
        """See `BodyStream.close`."""


class MemorySocket:
    """A websocket that sends hello, and ends when it is released."""

    def __init__(self, let: asyncio.Event) -> None:
        self._release = let
        self._is_greeted = False

    async def receive(self) -> bytes | None:
        """See `StreamSocket.receive`."""
        if not self._is_greeted:
            self._is_greeted = True
            return b"hello"
        await self._release.wait()
        return None

    async def send(self, text: str) -> None:
        """See `StreamSocket.send`."""


class MemoryScene:
    """The upstream in memory and its far side."""

    def __init__(self) -> None:
        self.plan, self.release = [Act.ANSWER], asyncio.Event()
        self._arrived_targets: list[str] = []
        self._changed = asyncio.Event()
        self.upstream: Upstream = MemoryUpstream(self._begin, self._open_socket)

    @property
    def arrived_targets(self) -> list[str]:
        """See `Scene`."""
        return self._arrived_targets

    def _begin(self, call: Call) -> Awaitable[Response]:
        """Record the call at once, since in memory it arrives in the step in which it is sent."""
        self._arrived_targets.append(call.target)
        self._changed.set()
        return self._play(next_act(self.plan))

    async def _play(self, act: Act) -> Response:
        if act is Act.BREAK_OFF:
            raise ConnectionResetError
        if act is Act.LARGE:
            return Response(200, {}, BEGINNING, MemoryRest(self.release))
        if act is Act.HOLD:
            await self.release.wait()
        return Response(500 if act is Act.REFUSE else 200, {}, b"{}")

    def _open_socket(self) -> StreamSocket:
        if next_act(self.plan) is Act.REFUSE:
            raise GatewayProtocolError("no websocket")
        return MemorySocket(self.release)

    async def wait_for_calls(self, count: int) -> None:
        """See `Scene`."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while len(self.arrived_targets) < count:
                self._changed.clear()
                await self._changed.wait()

    async def wait_until_settled(self) -> None:
        """See `Scene`; here everything arrives at once."""


@asynccontextmanager
async def gateway_scene() -> AsyncIterator[Scene]:
    """Opens a `GatewayScene`, and closes it."""
    async with AsyncExitStack() as resources:
        scene = GatewayScene(await resources.enter_async_context(ScriptedGateway()))
        resources.push_async_callback(scene.upstream.close)
        yield scene


@asynccontextmanager
async def api_scene() -> AsyncIterator[Scene]:
    """Opens an `ApiScene` that has access already, and closes it."""
    async with AsyncExitStack() as resources:
        api = ScriptedApi(respond_ok)
        await resources.enter_async_context(api.server)
        scene = ApiScene(api)
        resources.push_async_callback(scene.upstream.close)
        yield scene


@asynccontextmanager
async def memory_scene() -> AsyncIterator[Scene]:
    """Opens a `MemoryScene`, and closes it."""
    scene = MemoryScene()
    yield scene
    await scene.upstream.close()


SCENES: dict[str, Callable[[], AbstractAsyncContextManager[Scene]]] = {
    "gateway": gateway_scene,
    "memory": memory_scene,
    "oauth": api_scene,
}
"""Every kind of upstream."""
