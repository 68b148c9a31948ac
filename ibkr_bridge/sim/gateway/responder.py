"""From the head of a request to the last byte of its response, or to silence.

The Gateway frames IBKR's responses anew: it removes the length and sends chunks, even if a response has no body. In a
silence the connection stays open and nothing is ever sent on it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import NoReturn

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import HTML, PAGE, Fault, Faults, Side
from ibkr_bridge.sim.gateway import rules
from ibkr_bridge.sim.gateway.connection import Hangup, SimConnection
from ibkr_bridge.sim.gateway.frames import is_websocket_request
from ibkr_bridge.sim.gateway.jar import Jar
from ibkr_bridge.sim.gateway.session_lifecycle import SessionLifecycle
from ibkr_bridge.sim.gateway.sockets import Sockets
from ibkr_bridge.sim.gateway.upstream import Call, Exchange, ResponseHead, Upstream
from ibkr_bridge.sim.gateway.wire import Head, Headers, encode_chunk, encode_head
from ibkr_bridge.sim.request_log import OWN_AGENT, LoggedRequest, RequestLog

GARBLED_BYTES = b"\x16\x03\x03\x00\x7fno such protocol\x00\xff\r\n\r\n"
LOGIN_SUCCESS = b"Client login succeeds"


class Responder:
    """Answers the requests of all connections of one Gateway."""

    def __init__(
        self,
        clock: SimClock,
        faults: Faults,
        settings: rules.Settings,
        jar: Jar,
        upstream: Upstream,
        sockets: Sockets,
        lifecycle: SessionLifecycle,
    ) -> None:
        self.log = RequestLog()
        self._clock = clock
        self._faults = faults
        self._settings = settings
        self._jar = jar
        self._upstream = upstream
        self._sockets = sockets
        self._lifecycle = lifecycle

    async def respond(self, head: Head, client: SimConnection) -> None:
        """Answer one request; never return if the Gateway never answers it.

        Raises:
            Hangup: the connection ends with this request.
        """
        socket = is_websocket_request(head)
        if socket and not rules.is_invalid_uri(head.target):
            await self._sockets.serve(head, client)
        if socket or rules.is_unanswerable(head):
            self._log_request(head, b"")
            await _never_answer()
        own_response = self._own_response(head, client)
        fault = self._faults.use_fault(Side.SOCKET, head.target, own=False)
        if fault is not None and fault.kind == "denied":
            own_response, fault = rules.DENIED, None
        if own_response is not None:
            await self._send_own(head, client, own_response)
        else:
            await self._forward(head, client, fault)
        if not head.keeps_alive:
            raise Hangup

    def _own_response(self, head: Head, client: SimConnection) -> rules.OwnResponse | None:
        if not rules.is_allowed(self._settings, client.address):
            return rules.DENIED
        refusal = rules.cors_response(self._settings, head)
        if refusal is None and head.path == "/clear":
            self._jar.clear()
        if refusal is None and rules.REAUTHENTICATE.fullmatch(head.path) and self._lifecycle.logged_in:
            self._lifecycle.reauthenticate()
        return refusal or rules.own_response(head, self._lifecycle.logged_in)

    async def _send_own(self, head: Head, client: SimConnection, own_response: rules.OwnResponse) -> None:
        self._log_request(head, await self._read_request_body(head, client))
        pieces = [piece.encode() for piece in own_response.pieces]
        cors = rules.cors_headers(self._settings, head.get("Origin")) if own_response.status != 403 else ()
        frame = (
            ("Transfer-Encoding", "chunked")
            if own_response.is_chunked
            else ("Content-Length", str(len(b"".join(pieces))))
        )
        body = b"".join(map(encode_chunk, (*pieces, b""))) if own_response.is_chunked else b"".join(pieces)
        start = f"HTTP/1.1 {own_response.status} {own_response.reason}"
        await client.write(
            encode_head(start, (*cors, *own_response.headers, frame)) + (b"" if head.method == "HEAD" else body)
        )

    async def _forward(self, head: Head, client: SimConnection, fault: Fault | None) -> None:
        if fault is not None and fault.kind != "late" and not fault.done:
            self._log_request(head, await self._read_request_body(head, client))
            await _carry_out_fault(client, fault)
        is_late = fault is not None and fault.kind == "late"
        exchange = await self._start_exchange(head, client, fault.seconds if fault and is_late else 0.0)
        response = await exchange.wait_for_head()
        if fault is not None and not is_late:
            await _carry_out_fault(client, fault, response, exchange)
        await self._relay_response(head, client, response, exchange)

    async def _start_exchange(self, head: Head, client: SimConnection, queued_s: float) -> Exchange:
        if head.path.startswith("/sso"):
            self._jar.store_from_client(head.get("Cookie"))
        target = rules.upstream_target(head.target)
        headers = rules.upstream_headers(head, "api.ibkr.com", self._jar.cookie_header(target.partition("?")[0]))
        is_own_call = head.get("User-Agent") == OWN_AGENT
        exchange = self._upstream.start_exchange(
            Call(head.method, target, headers, head.content_length, is_own_call), queued_s
        )
        self._log_request(head, await self._read_request_body(head, client, exchange))
        return exchange

    async def _read_request_body(self, head: Head, client: SimConnection, exchange: Exchange | None = None) -> bytes:
        """Read the body and forward it as it arrives. A chunked body is cut at its announced length, usually zero."""
        if head.is_chunked:
            body = await client.read_chunks()
            if exchange is not None:
                exchange.body.feed_data(body)
            return body if head.content_length else b""
        body = b""
        while len(body) < head.content_length:
            piece = await client.read(head.content_length - len(body))
            if not piece:  # the body is incomplete: its slot is held until IBKR closes that connection
                self._log_request(head, body)
                raise Hangup
            body += piece
            if exchange is not None:
                exchange.body.feed_data(piece)
        return body

    async def _relay_response(
        self, head: Head, client: SimConnection, response: ResponseHead, exchange: Exchange
    ) -> None:
        if head.path.startswith("/sso"):
            self._jar.store_from_ibkr(value for name, value in response.headers if name.lower() == "set-cookie")
        if rules.is_login(head, response.status):
            await self._send_login_success(client, response, exchange)
            return
        is_chunked = head.method != "HEAD" and head.version != "HTTP/1.0"
        frame: Headers = (("Transfer-Encoding", "chunked"),) if is_chunked else ()
        if head.version == "HTTP/1.0" and head.keeps_alive:
            frame = (("Connection", "keep-alive"),)
        start = f"{head.version} {response.status} {response.reason}"
        await client.write(encode_head(start, (*rules.client_headers(response.headers), *frame)))
        while (piece := await exchange.pieces.get()) is not None:
            await client.write(encode_chunk(piece) if is_chunked else piece)
        if is_chunked:
            await client.write(encode_chunk(b""))

    async def _send_login_success(self, client: SimConnection, response: ResponseHead, exchange: Exchange) -> None:
        """Report that the login succeeded, whatever IBKR's response says, and start the Gateway's login chain."""
        body = b""
        while (piece := await exchange.pieces.get()) is not None:
            body += piece
        self._lifecycle.on_login_ended()
        start = f"HTTP/1.1 302 {response.reason}" if body else "HTTP/1.1 200 OK"
        headers = (*rules.client_headers(response.headers), ("Transfer-Encoding", "chunked"))
        redirect_body = encode_chunk(body) if body else b""
        await client.write(
            encode_head(start, headers) + redirect_body + encode_chunk(LOGIN_SUCCESS) + encode_chunk(b"")
        )

    def _log_request(self, head: Head, body: bytes) -> None:
        self.log.add(LoggedRequest(head.method, head.target, head.headers, body, self._clock.now()))


async def _carry_out_fault(
    client: SimConnection, fault: Fault, response: ResponseHead | None = None, exchange: Exchange | None = None
) -> None:
    """Carry out a fault of the socket.

    Raises:
        Hangup: always; each of these faults ends the connection.
    """
    if fault.kind == "garble":
        await client.write(GARBLED_BYTES)
    if fault.kind == "cut-in" and response is not None and exchange is not None:
        await _send_half(client, response, await exchange.pieces.get() or b"")
    elif fault.kind == "cut-in":
        reason = HTTPStatus(fault.status).phrase
        await _send_half(client, ResponseHead(fault.status, reason, (("Content-Type", HTML),)), PAGE.encode())
    raise Hangup


async def _send_half(client: SimConnection, response: ResponseHead, piece: bytes) -> None:
    headers = (*rules.client_headers(response.headers), ("Transfer-Encoding", "chunked"))
    half = encode_chunk(piece)[: len(piece) // 2]
    await client.write(encode_head(f"HTTP/1.1 {response.status} {response.reason}", headers) + half)


async def _never_answer() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing sets this future")
