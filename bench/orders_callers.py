"""Callers of the bridge, on bare sockets: what they send, when they hang up, when they send it again, what they hear.

A caller that hangs up looks a last time whether the answer is there already: an answer that has arrived has been heard.
Connections are kept, as every HTTP client keeps them, and closed by the caller.
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

from bench.orders_plan import ACCOUNT, Caller, Plan, Then, Yes
from bench.orders_town import KEY, Bridge
from ibkr_bridge.sim.request_log import LoggedRequest, RequestLog

TARGET = f"/iserver/account/{ACCOUNT}/orders"
CHANGE = f"/iserver/account/{ACCOUNT}/order/"
NOTICE = "/iserver/notification"
TRIES = 8
ROUNDS = 5  # replies to questions in a row
CALM = 4.0  # seconds a caller waits that does not hang up
PIECE = 65536
TAG = re.compile(rb'"referrer": *"([^"/]+)"')
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class End(Enum):
    """What a caller was told."""

    NOTHING = "nothing: no answer came"
    NO_DOOR = "nothing was sent: the bridge was not there"
    REFUSED = "nothing was sent: refused"
    QUESTION = "a question"
    PLACED = "placed"
    REJECTED = "turned down"
    UNKNOWN = "unknown"
    NOT_PLACED = "not placed"
    STRANGE = "something nobody foresaw"


BY_STATE = {
    "refused": End.REFUSED,
    "question": End.QUESTION,
    "placed": End.PLACED,
    "rejected": End.REJECTED,
    "unknown": End.UNKNOWN,
    "not_placed": End.NOT_PLACED,
}
NOTHING_SENT = frozenset(
    {
        *("read_only", "paper_only", "account_not_allowed", "order_limit_exceeded", "trading_paused"),
        *("order_in_progress", "duplicate_order", "idempotency_mismatch", "reply_not_found"),
        *(
            "rate_limited",
            "penalty_box",
            "busy",
            "session_unavailable",
            "maintenance",
            "shutting_down",
            "journal_unavailable",
        ),
        *("gateway_unreachable", "gateway_timeout"),
    }
)
"""Codes with which the bridge says that nothing left it."""
AGAIN = {
    Caller.ONCE: frozenset[End](),
    Caller.HASTY: frozenset[End](),
    Caller.AGAIN: frozenset({End.NOTHING, End.NO_DOOR, End.REFUSED}),
    Caller.KEYED: frozenset({End.NOTHING, End.NO_DOOR, End.REFUSED, End.UNKNOWN}),
    Caller.NAMED: frozenset({End.NOTHING, End.NO_DOOR, End.REFUSED, End.UNKNOWN}),
}


@dataclass(frozen=True)
class Told:
    """One answer, or none."""

    end: End
    status: int = 0
    order: str = ""
    """The journal's id."""
    code: str = ""
    body: bytes = b""
    target: str = ""

    @property
    def number(self) -> str:
        """The order's number at IBKR, `""` where the answer has none: it may be an earlier one, told again."""
        said = self.json
        first = said[0] if isinstance(said, list) and said else None
        return str(first.get("order_id", "")) if isinstance(first, dict) else ""

    @property
    def is_placing(self) -> bool:
        """Whether it answers the order itself."""
        return self.target == TARGET

    @property
    def is_change(self) -> bool:
        """Whether it answers a cancel or a change of an order that was placed."""
        return self.target.startswith(CHANGE)

    @property
    def is_notice(self) -> bool:
        """Whether it answers the answer to a prompt, which says nothing of what becomes of the order."""
        return self.target == NOTICE

    @property
    def json(self) -> Any:
        """The body, parsed; None where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class Story:
    """One logical order, and all that its caller was told about it."""

    plan: Plan
    told: list[Told] = field(default_factory=list)

    @property
    def again(self) -> list[Told]:
        """What was heard of the order itself when it was sent again."""
        return [told for told in self.told if told.is_placing][1:]

    @property
    def last(self) -> End:
        """Where the caller was left about the order itself."""
        return next((told.end for told in reversed(self.told) if not told.is_change), End.NOTHING)


class Reaching:
    """Tells callers that their order has reached IBKR, in the moment before IBKR carries it out."""

    def __init__(self, log: RequestLog) -> None:
        self._waiting: dict[bytes, Callable[[], None]] = {}
        log.subscribe(self._hear)

    def when(self, tag: str, act: Callable[[], None]) -> None:
        """Do this once, when an order of this tag is there."""
        self._waiting[tag.encode()] = act

    def _hear(self, seen: LoggedRequest) -> None:
        if (found := TAG.search(seen.body)) is not None and (act := self._waiting.pop(found[1], None)) is not None:
            act()


async def call(
    port: int,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    max_wait_s: float,
    leaves: Callable[[Callable[[], None]], None] = lambda _: None,
) -> Told:
    """Ask, and hear what comes within so many seconds; then hang up.

    Args:
        leaves: is given what to call when the time to hang up has come earlier.
    """
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", f"X-Bridge-Key: {KEY}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if method != "GET" else []
    with socket.socket() as talk:
        talk.setblocking(False)
        ear = Ear(talk)
        try:
            async with asyncio.timeout(max_wait_s) as limit:
                leaves(lambda: _end(limit))
                try:
                    await asyncio.get_running_loop().sock_connect(talk, ("127.0.0.1", port))
                except OSError:
                    return Told(End.NO_DOOR)
                await asyncio.get_running_loop().sock_sendall(talk, "\r\n".join((*lines, "", "")).encode() + body)
                await ear.listen()
        except (TimeoutError, OSError):
            ear.take()  # what has arrived has been heard
    return read(ear.heard) if _is_whole(ear.heard) else Told(End.NOTHING)


class Ear:
    """Takes what comes on a connection, so that nothing is lost to a caller who stops waiting in that very moment.

    A read that is cancelled would be: asyncio may have taken its bytes from the connection already.
    """

    def __init__(self, talk: socket.socket) -> None:
        self.heard = b""
        self._talk = talk
        self._is_over = asyncio.Event()

    async def listen(self) -> None:
        """Come back when a whole answer is there, or no more will come."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._talk, self.take)
        try:
            await self._is_over.wait()
        finally:
            loop.remove_reader(self._talk)

    def take(self) -> None:
        """Take what has come by now."""
        with suppress(BlockingIOError):
            try:
                while chunk := self._talk.recv(PIECE):
                    self.heard += chunk
            except ConnectionError:
                chunk = b""
            if not chunk:
                self._is_over.set()
        if _is_whole(self.heard):
            self._is_over.set()


def _end(limit: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it is over already
        limit.reschedule(asyncio.get_running_loop().time())


def _is_whole(heard: bytes) -> bool:
    head, end, body = heard.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def read(heard: bytes) -> Told:
    """What an answer says of the order."""
    head, _, body = heard.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status, order = int(first.split(" ")[1]), headers.get("x-bridge-order", "")
    problem = headers.get("content-type", "").startswith("application/problem+json")
    code = str(json.loads(body).get("code", "")) if problem else ""
    state = headers.get("x-bridge-order-state", "")
    if state in BY_STATE:
        end = BY_STATE[state]
    else:
        end = End.REFUSED if code in NOTHING_SENT else End.UNKNOWN if code == "order_unknown" else End.STRANGE
    return Told(end, status, order, code, body)


class Person:
    """Whoever wants one order placed, once."""

    def __init__(self, bridge: Bridge, reaching: Reaching, plan: Plan) -> None:
        self.story = Story(plan)
        self._bridge = bridge
        self._reaching = reaching
        self._body = json.dumps(plan.body).encode()

    async def live(self) -> Story:
        """Place it, answer what is asked, send it again where this caller does."""
        plan = self.story.plan
        max_wait_s, told = plan.max_wait_s, Told(End.NOTHING)
        for number in range(TRIES):
            leaves = plan.leaves_at_ibkr and number == 0
            told = await self._say("POST", TARGET, plan.headers, self._body, max_wait_s, leaves=leaves)
            for _ in range(ROUNDS):
                answer = self._answer_to(told)
                if answer is None:
                    break
                told = await self._say("POST", *answer)
            if told.end not in AGAIN[plan.caller]:
                break
            max_wait_s = CALM
            await self._pause(told, number)
        if told.end is End.PLACED and told.is_placing and told.number:
            await self._go_on(told.number)
        return self.story

    async def _go_on(self, order: str) -> None:
        """Cancel or change what was placed; who hears nothing of it tries once more."""
        then = self.story.plan.then
        if then is Then.NOTHING:
            return
        method, body = (
            ("DELETE", b"") if then is Then.CANCEL else ("POST", json.dumps(self.story.plan.changed).encode())
        )
        for number in range(2):
            told = await self._say(method, CHANGE + order, {}, body)
            if told.end not in (End.NOTHING, End.NO_DOOR):
                return
            await self._pause(told, number)

    async def _say(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        max_wait_s: float = CALM,
        *,
        leaves: bool = False,
    ) -> Told:
        def leaving(act: Callable[[], None]) -> None:
            if leaves:
                self._reaching.when(self.story.plan.tag, act)

        told = await call(self._bridge.port, method, target, headers, body, max_wait_s, leaving)
        told = replace(told, target=target)
        self.story.told.append(told)
        return told

    def _answer_to(self, told: Told) -> tuple[str, Mapping[str, str], bytes] | None:
        """What this caller says to a question or a prompt; None for nothing."""
        said, plan = told.json, self.story.plan
        if isinstance(said, dict) and said.get("prompt") is True:
            about = {"orderId": said["orderId"], "reqId": said["reqId"], "text": said["options"][plan.number % 3]}
            return NOTICE, {}, json.dumps(about).encode()
        reply = said[0].get("id") if isinstance(said, list) and said and isinstance(said[0], dict) else None
        if told.end is not End.QUESTION or plan.yes is Yes.SILENCE or reply is None:
            return None
        wants = {Yes.NO: False, Yes.REPLIES: True}.get(plan.yes)
        if wants is None:  # it listed the questions beforehand; this one it did not list
            return None
        return f"/iserver/reply/{reply}", {}, json.dumps({"confirmed": wants}).encode()

    async def _pause(self, told: Told, number: int) -> None:
        """A client that sends again does not do so at once; nor before there is anybody to send it to."""
        await asyncio.sleep(0.05 * 2 ** min(number, 5))
        if told.end is End.NO_DOOR:
            await self._bridge.up()
