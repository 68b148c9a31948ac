"""Callers of the bridge on plain sockets: what they send, when they hang up, when they repeat it, what they receive.

A caller that hangs up reads the socket a last time: a response that has arrived counts as received. Requests ask for a
persistent connection, as those of every HTTP client do; the caller closes it after one response.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from bench.orders_plan import ACCOUNT, Caller, Confirmation, FollowUp, Plan
from bench.orders_setup import KEY, BridgeProcess
from ibkr_bridge.sim.request_log import LoggedRequest, RequestLog

TARGET = f"/iserver/account/{ACCOUNT}/orders"
CHANGE_TARGET = f"/iserver/account/{ACCOUNT}/order/"
NOTICE_TARGET = "/iserver/notification"
MAX_ATTEMPTS = 8
MAX_QUESTIONS = 5  # that a caller answers one after the other
MAX_CHANGE_ATTEMPTS = 2
DEFAULT_TIMEOUT_S = 4.0  # of a caller that does not hang up early
CHUNK_BYTES = 65536
TAG = re.compile(rb'"referrer": *"([^"/]+)"')
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Outcome(Enum):
    """What a response says about the order; the values are shown in `orders.md`."""

    NO_RESPONSE = "no response"
    NOT_LISTENING = "nothing was sent: the bridge did not listen"
    REFUSED = "nothing was sent: refused"
    QUESTION = "a question"
    PLACED = "placed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_PLACED = "not placed"
    UNEXPECTED = "an unexpected response"


OUTCOMES_BY_STATE = {
    "refused": Outcome.REFUSED,
    "question": Outcome.QUESTION,
    "placed": Outcome.PLACED,
    "rejected": Outcome.REJECTED,
    "unknown": Outcome.UNKNOWN,
    "not_placed": Outcome.NOT_PLACED,
}
CODES_OF_NOTHING_SENT = frozenset(
    {
        *("read_only", "paper_only", "account_not_allowed", "order_limit_exceeded", "trading_paused"),
        *("order_in_progress", "duplicate_order", "idempotency_mismatch", "reply_not_found"),
        *("rate_limited", "penalty_box", "busy", "session_unavailable", "maintenance"),
        *("shutting_down", "journal_unavailable", "gateway_unreachable", "gateway_timeout"),
    }
)
"""Error codes that promise that the bridge has sent nothing."""
REPEATED_OUTCOMES = {
    Caller.ONCE: frozenset[Outcome](),
    Caller.HANGS_UP: frozenset[Outcome](),
    Caller.REPEATS: frozenset({Outcome.NO_RESPONSE, Outcome.NOT_LISTENING, Outcome.REFUSED}),
    Caller.REPEATS_WITH_KEY: frozenset({Outcome.NO_RESPONSE, Outcome.NOT_LISTENING, Outcome.REFUSED, Outcome.UNKNOWN}),
    Caller.REPEATS_WITH_COID: frozenset({Outcome.NO_RESPONSE, Outcome.NOT_LISTENING, Outcome.REFUSED, Outcome.UNKNOWN}),
}
"""The outcomes after which each caller sends the order again."""


@dataclass(frozen=True)
class Reply:
    """One response of the bridge, or that there was none."""

    outcome: Outcome
    status: int = 0
    record_id: str = ""
    """The id of the order in the journal."""
    code: str = ""
    body: bytes = b""
    target: str = ""

    @property
    def ibkr_number(self) -> str:
        """The order's number at IBKR, `""` if the response has none. A replayed response has that of the first one."""
        body = self.json
        first = body[0] if isinstance(body, list) and body else None
        return str(first.get("order_id", "")) if isinstance(first, dict) else ""

    @property
    def is_placement(self) -> bool:
        """Whether it is the response to the order itself."""
        return self.target == TARGET

    @property
    def is_change(self) -> bool:
        """Whether it is the response to the cancel or the change of an order that was placed."""
        return self.target.startswith(CHANGE_TARGET)

    @property
    def is_notice(self) -> bool:
        """Whether it is the response to the answer to a prompt, which does not say whether the order was placed."""
        return self.target == NOTICE_TARGET

    @property
    def json(self) -> Any:
        """The parsed body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class OrderHistory:
    """One logical order, and every response that its caller received."""

    plan: Plan
    replies: list[Reply] = field(default_factory=list)

    @property
    def repeats(self) -> list[Reply]:
        """The responses to the order itself when it was sent again."""
        return [reply for reply in self.replies if reply.is_placement][1:]

    @property
    def last_outcome(self) -> Outcome:
        """The last outcome of the order itself."""
        return next((reply.outcome for reply in reversed(self.replies) if not reply.is_change), Outcome.NO_RESPONSE)


class ArrivalWatch:
    """Calls a function when an order has reached IBKR, immediately before IBKR executes it."""

    def __init__(self, log: RequestLog) -> None:
        self._callbacks: dict[bytes, Callable[[], None]] = {}
        log.subscribe(self._on_request)

    def call_on_arrival(self, tag: str, callback: Callable[[], None]) -> None:
        """Call the function once, when an order with this tag arrives."""
        self._callbacks[tag.encode()] = callback

    def _on_request(self, request: LoggedRequest) -> None:
        tag = TAG.search(request.body)
        if tag is not None and (callback := self._callbacks.pop(tag[1], None)) is not None:
            callback()


async def send_request(
    port: int,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout_s: float,
    register_hang_up: Callable[[Callable[[], None]], None] = lambda _: None,
) -> Reply:
    """Send a request, read the response until the timeout, then hang up.

    Args:
        register_hang_up: receives a function that makes the caller hang up at once.
    """
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", f"X-Bridge-Key: {KEY}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if method != "GET" else []
    request = "\r\n".join((*lines, "", "")).encode() + body
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        reader = ResponseReader(sock)
        try:
            async with asyncio.timeout(timeout_s) as timeout:
                register_hang_up(lambda: _expire(timeout))
                try:
                    await loop.sock_connect(sock, ("127.0.0.1", port))
                except OSError:
                    return Reply(Outcome.NOT_LISTENING)
                await loop.sock_sendall(sock, request)
                await reader.wait_until_complete()
        except (TimeoutError, OSError):
            reader.read_available()  # a response that has arrived counts as received
    return parse_reply(reader.data) if _is_complete(reader.data) else Reply(Outcome.NO_RESPONSE)


class ResponseReader:
    """Reads a socket so that no byte is lost if the caller stops waiting in the moment in which it arrives.

    A cancelled `sock_recv` would lose bytes: asyncio may have read them from the socket already.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.data = b""
        self._sock = sock
        self._is_over = asyncio.Event()

    async def wait_until_complete(self) -> None:
        """Return when a complete response has arrived, or the bridge has closed the connection."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self.read_available)
        try:
            await self._is_over.wait()
        finally:
            loop.remove_reader(self._sock)

    def read_available(self) -> None:
        """Read what has arrived, without waiting."""
        with suppress(BlockingIOError):
            try:
                while chunk := self._sock.recv(CHUNK_BYTES):
                    self.data += chunk
            except ConnectionError:
                chunk = b""
            if not chunk:
                self._is_over.set()
        if _is_complete(self.data):
            self._is_over.set()


def _expire(timeout: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it has ended already
        timeout.reschedule(asyncio.get_running_loop().time())


def _is_complete(response: bytes) -> bool:
    head, end_of_head, body = response.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return bool(end_of_head) and length is not None and len(body) >= int(length[1])


def parse_reply(response: bytes) -> Reply:
    """Parse a complete response."""
    head, _, body = response.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    is_problem = headers.get("content-type", "").startswith("application/problem+json")
    code = str(json.loads(body).get("code", "")) if is_problem else ""
    outcome = OUTCOMES_BY_STATE.get(headers.get("x-bridge-order-state", "")) or _outcome_of_code(code)
    return Reply(outcome, int(status_line.split(" ")[1]), headers.get("x-bridge-order", ""), code, body)


def _outcome_of_code(code: str) -> Outcome:
    if code in CODES_OF_NOTHING_SENT:
        return Outcome.REFUSED
    return Outcome.UNKNOWN if code == "order_unknown" else Outcome.UNEXPECTED


class SimulatedCaller:
    """A caller that wants one order placed once."""

    def __init__(self, bridge: BridgeProcess, arrivals: ArrivalWatch, plan: Plan) -> None:
        self.history = OrderHistory(plan)
        self._bridge = bridge
        self._arrivals = arrivals
        self._body = json.dumps(plan.body).encode()

    async def place_order(self) -> OrderHistory:
        """Place the order, answer questions, repeat the order if this caller does, and cancel or change it at the end.

        The history has every response.
        """
        plan = self.history.plan
        timeout_s, reply = plan.timeout_s, Reply(Outcome.NO_RESPONSE)
        for number in range(MAX_ATTEMPTS):
            hangs_up_at_ibkr = plan.hangs_up_at_ibkr and number == 0
            reply = await self._send(
                "POST", TARGET, plan.headers, self._body, timeout_s, hangs_up_at_ibkr=hangs_up_at_ibkr
            )
            reply = await self._answer_questions(reply)
            if reply.outcome not in REPEATED_OUTCOMES[plan.caller]:
                break
            timeout_s = DEFAULT_TIMEOUT_S
            await self._pause(reply, number)
        if reply.outcome is Outcome.PLACED and reply.is_placement and reply.ibkr_number:
            await self._follow_up(reply.ibkr_number)
        return self.history

    async def _answer_questions(self, reply: Reply) -> Reply:
        """Answer questions and prompts as planned, and return the last response."""
        for _ in range(MAX_QUESTIONS):
            answer = self._build_answer(reply)
            if answer is None:
                break
            target, body = answer
            reply = await self._send("POST", target, {}, body)
        return reply

    async def _follow_up(self, ibkr_number: str) -> None:
        """Cancel or change the order that was placed, if planned; repeat this once if there is no response."""
        follow_up = self.history.plan.follow_up
        if follow_up is FollowUp.NOTHING:
            return
        is_cancel = follow_up is FollowUp.CANCEL
        method = "DELETE" if is_cancel else "POST"
        body = b"" if is_cancel else json.dumps(self.history.plan.changed_ticket).encode()
        for number in range(MAX_CHANGE_ATTEMPTS):
            reply = await self._send(method, CHANGE_TARGET + ibkr_number, {}, body)
            if reply.outcome not in (Outcome.NO_RESPONSE, Outcome.NOT_LISTENING):
                return
            await self._pause(reply, number)

    async def _send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        hangs_up_at_ibkr: bool = False,
    ) -> Reply:
        def register_hang_up(hang_up: Callable[[], None]) -> None:
            if hangs_up_at_ibkr:
                self._arrivals.call_on_arrival(self.history.plan.tag, hang_up)

        reply = await send_request(self._bridge.port, method, target, headers, body, timeout_s, register_hang_up)
        reply = replace(reply, target=target)
        self.history.replies.append(reply)
        return reply

    def _build_answer(self, reply: Reply) -> tuple[str, bytes] | None:
        """Return target and body of this caller's answer to a question or a prompt; None if it does not answer."""
        content, plan = reply.json, self.history.plan
        if isinstance(content, dict) and content.get("prompt") is True:
            option = content["options"][plan.number % 3]
            answer = {"orderId": content["orderId"], "reqId": content["reqId"], "text": option}
            return NOTICE_TARGET, json.dumps(answer).encode()
        first = content[0] if isinstance(content, list) and content else None
        question_id = first.get("id") if isinstance(first, dict) else None
        # A question that X-Bridge-Confirm does not list stays without a reply, as does every one of Confirmation.NONE.
        is_confirmed = {Confirmation.DECLINED: False, Confirmation.BY_REPLY: True}.get(plan.confirmation)
        if reply.outcome is not Outcome.QUESTION or question_id is None or is_confirmed is None:
            return None
        return f"/iserver/reply/{question_id}", json.dumps({"confirmed": is_confirmed}).encode()

    async def _pause(self, reply: Reply, number: int) -> None:
        """Wait before a repeat, longer each time, and until the bridge listens if it did not."""
        await asyncio.sleep(0.05 * 2 ** min(number, 5))
        if reply.outcome is Outcome.NOT_LISTENING:
            await self._bridge.wait_until_listening()
