"""From a request's head to the last byte of its answer, or to silence.

Answers from IBKR are framed anew: their length goes, chunks come, even where an answer has no body. Silence is an
answer too: the connection stays open and nothing is ever said on it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import NoReturn

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import HTML, PAGE, Fault, Faults, Side
from ibkr_bridge.sim.gateway import rules
from ibkr_bridge.sim.gateway.connection import Hangup, SimConnection
from ibkr_bridge.sim.gateway.frames import wants_socket
from ibkr_bridge.sim.gateway.jar import Jar
from ibkr_bridge.sim.gateway.session_lifecycle import SessionLifecycle
from ibkr_bridge.sim.gateway.sockets import Sockets
from ibkr_bridge.sim.gateway.upstream import AnswerHead, Call, Exchange, Upstream
from ibkr_bridge.sim.gateway.wire import Head, Headers, chunk, write_head
from ibkr_bridge.sim.request_log import OWN_AGENT, LoggedRequest, RequestLog

GARBLE = b"\x16\x03\x03\x00\x7fno such protocol\x00\xff\r\n\r\n"
SUCCEEDS = b"Client login succeeds"


class Responder:
    """What one Gateway answers to everybody."""

    def __init__(
        self,
        clock: SimClock,
        faults: Faults,
        settings: rules.Settings,
        jar: Jar,
        upstream: Upstream,
        sockets: Sockets,
        life: SessionLifecycle,
    ) -> None:
        self.log = RequestLog()
        self._clock = clock
        self._faults = faults
        self._settings = settings
        self._jar = jar
        self._upstream = upstream
        self._sockets = sockets
        self._life = life

    async def answer(self, head: Head, talk: SimConnection) -> None:
        """Answer one request; does not return when it never will.

        Raises:
            Hangup: the connection ends with this request.
        """
        socket = wants_socket(head)
        if socket and not rules.is_no_uri(head.target):
            await self._sockets.serve(head, talk)
        if socket or rules.is_unanswerable(head):
            self._note(head, b"")
            await _never_answer()
        own = self._own(head, talk)
        fault = self._faults.take(Side.SOCKET, head.target, own=False)
        if fault is not None and fault.kind == "denied":
            own, fault = rules.DENIED, None
        if own is not None:
            await self._send_own(head, talk, own)
        else:
            await self._pass_on(head, talk, fault)
        if not head.keeps_alive:
            raise Hangup

    def _own(self, head: Head, talk: SimConnection) -> rules.Own | None:
        if not rules.is_allowed(self._settings, talk.address):
            return rules.DENIED
        refused = rules.cors_answer(self._settings, head)
        if refused is None and head.path == "/clear":
            self._jar.clear()
        if refused is None and rules.REAUTHENTICATE.fullmatch(head.path) and self._life.logged_in:
            self._life.walk_again()
        return refused or rules.own_answer(head, self._life.logged_in)

    async def _send_own(self, head: Head, talk: SimConnection, own: rules.Own) -> None:
        self._note(head, await self._read_request_body(head, talk))
        pieces = [piece.encode() for piece in own.pieces]
        cors = rules.cors_headers(self._settings, head.get("Origin")) if own.status != 403 else ()
        frame = ("Transfer-Encoding", "chunked") if own.is_chunked else ("Content-Length", str(len(b"".join(pieces))))
        body = b"".join(map(chunk, (*pieces, b""))) if own.is_chunked else b"".join(pieces)
        start = f"HTTP/1.1 {own.status} {own.reason}"
        await talk.write(write_head(start, (*cors, *own.headers, frame)) + (b"" if head.method == "HEAD" else body))

    async def _pass_on(self, head: Head, talk: SimConnection, fault: Fault | None) -> None:
        if fault is not None and fault.kind != "late" and not fault.done:
            self._note(head, await self._read_request_body(head, talk))
            await _spoil(talk, fault)
        late = fault is not None and fault.kind == "late"
        exchange = await self._send_up(head, talk, fault.seconds if fault and late else 0.0)
        answer = await exchange.begun()
        if fault is not None and not late:
            await _spoil(talk, fault, answer, exchange)
        await self._relay_response(head, talk, answer, exchange)

    async def _send_up(self, head: Head, talk: SimConnection, queued: float) -> Exchange:
        if head.path.startswith("/sso"):
            self._jar.sent_by_client(head.get("Cookie"))
        target = rules.upstream_target(head.target)
        headers = rules.upstream_headers(head, "api.ibkr.com", self._jar.header(target.partition("?")[0]))
        own = head.get("User-Agent") == OWN_AGENT
        exchange = self._upstream.begin(Call(head.method, target, headers, head.length, own), queued)
        self._note(head, await self._read_request_body(head, talk, exchange))
        return exchange

    async def _read_request_body(self, head: Head, talk: SimConnection, exchange: Exchange | None = None) -> bytes:
        """Read the body, passing it on as it comes; a chunked one gets no further than its announced length."""
        if head.is_chunked:
            body = await talk.read_chunks()
            if exchange is not None:
                exchange.body.feed_data(body)
            return body if head.length else b""
        body = b""
        while len(body) < head.length:
            piece = await talk.read(head.length - len(body))
            if not piece:  # half a body: its slot is held until IBKR closes that connection
                self._note(head, body)
                raise Hangup
            body += piece
            if exchange is not None:
                exchange.body.feed_data(piece)
        return body

    async def _relay_response(self, head: Head, talk: SimConnection, answer: AnswerHead, exchange: Exchange) -> None:
        if head.path.startswith("/sso"):
            self._jar.set_by_ibkr(value for name, value in answer.headers if name.lower() == "set-cookie")
        if rules.is_login(head, answer.status):
            await self._tell_login(talk, answer, exchange)
            return
        framed = head.method != "HEAD" and head.version != "HTTP/1.0"
        frame: Headers = (("Transfer-Encoding", "chunked"),) if framed else ()
        if head.version == "HTTP/1.0" and head.keeps_alive:
            frame = (("Connection", "keep-alive"),)
        start = f"{head.version} {answer.status} {answer.reason}"
        await talk.write(write_head(start, (*rules.client_headers(answer.headers), *frame)))
        while (piece := await exchange.pieces.get()) is not None:
            await talk.write(chunk(piece) if framed else piece)
        if framed:
            await talk.write(chunk(b""))

    async def _tell_login(self, talk: SimConnection, answer: AnswerHead, exchange: Exchange) -> None:
        """Say that the login succeeded, whatever IBKR thinks of it, and begin the Gateway's own part."""
        body = b""
        while (piece := await exchange.pieces.get()) is not None:
            body += piece
        self._life.login_ended()
        start = f"HTTP/1.1 302 {answer.reason}" if body else "HTTP/1.1 200 OK"
        headers = (*rules.client_headers(answer.headers), ("Transfer-Encoding", "chunked"))
        moved = chunk(body) if body else b""
        await talk.write(write_head(start, headers) + moved + chunk(SUCCEEDS) + chunk(b""))

    def _note(self, head: Head, body: bytes) -> None:
        self.log.add(LoggedRequest(head.method, head.target, head.headers, body, self._clock.now()))


async def _spoil(
    talk: SimConnection, fault: Fault, answer: AnswerHead | None = None, exchange: Exchange | None = None
) -> None:
    """Carry out a fault of the socket: each ends the connection."""
    if fault.kind == "garble":
        await talk.write(GARBLE)
    if fault.kind == "cut-in" and answer is not None and exchange is not None:
        await _say_half(talk, answer, await exchange.pieces.get() or b"")
    elif fault.kind == "cut-in":
        reason = HTTPStatus(fault.status).phrase
        await _say_half(talk, AnswerHead(fault.status, reason, (("Content-Type", HTML),)), PAGE.encode())
    raise Hangup


async def _say_half(talk: SimConnection, answer: AnswerHead, piece: bytes) -> None:
    headers = (*rules.client_headers(answer.headers), ("Transfer-Encoding", "chunked"))
    half = chunk(piece)[: len(piece) // 2]
    await talk.write(write_head(f"HTTP/1.1 {answer.status} {answer.reason}", headers) + half)


async def _never_answer() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing sets this future")
