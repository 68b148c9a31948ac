"""Scripted trouble: every way in which the road to IBKR is known to break, each under a name.

A fault is added by name, optionally for some targets only, for some number of requests, and with figures of its own.
Three places carry them out: the Gateway's socket, the market behind it, and the simulator as a whole, for those that
are an event rather than a spoilt answer. This file only knows the names, what each may be told, and whose turn it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any


class Side(Enum):
    """Where a kind is carried out."""

    SOCKET = "the Gateway's socket"
    MARKET = "IBKR's answer"
    EVENT = "an event, once, undone when cleared if that is possible"


@dataclass(frozen=True)
class Kind:
    """One sort of trouble."""

    side: Side
    description: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    hits_own_calls: bool = False  # meets the Gateway's own calls too


HTML = "text/html"
PAGE = "<html><body><h1>Internal Server Error</h1></body></html>"

CARRIED_OUT: dict[str, Any] = {"done": True}
LATE: dict[str, Any] = {"seconds": 8.0}  # as an order was seen to go out behind five stuck calls
EMPTY_503: dict[str, Any] = {"status": 503, "body": ""}
SLOW_EMPTY_503: dict[str, Any] = {**EMPTY_503, "seconds": 10.0}  # after which IBKR's front gives up on its order system

KINDS: Mapping[str, Kind] = {
    "refuse": Kind(Side.EVENT, "the port is closed and every connection dropped, until cleared"),
    "restart": Kind(Side.EVENT, "the Gateway stops and starts again; the login is lost"),
    "sso-lost": Kind(Side.EVENT, "IBKR ends the login"),
    "brokerage-lost": Kind(Side.EVENT, "IBKR ends the brokerage session; the login stays"),
    "competing": Kind(Side.EVENT, "another program takes the brokerage session"),
    "ibkr-down": Kind(Side.EVENT, "IBKR cannot be reached: calls hang in their slots until cleared, unanswered"),
    "stream-silent": Kind(Side.EVENT, "open sockets and new ones are never told anything, no heartbeat, until cleared"),
    "stream-cut": Kind(Side.EVENT, "IBKR closes every socket of the stream"),
    "late": Kind(Side.SOCKET, "stands in the Gateway's queue for `seconds`, then goes, its sender there or not", LATE),
    "denied": Kind(Side.SOCKET, "404 Access Denied, as for an address that may not"),
    "cut-before": Kind(Side.SOCKET, "the connection is cut before the first byte of the answer; not carried out"),
    "done-cut-before": Kind(Side.SOCKET, "carried out, then cut before the first byte of the answer", CARRIED_OUT),
    "cut-in": Kind(Side.SOCKET, "carried out, then cut in the middle of the answer's body", CARRIED_OUT),
    "garble": Kind(Side.SOCKET, "bytes that are not HTTP"),
    "silence": Kind(Side.MARKET, "never answered, not carried out; a slot is held, for `seconds` where they are told"),
    "done-silence": Kind(Side.MARKET, "carried out, and never answered; a slot is held as with silence", CARRIED_OUT),
    "delay": Kind(Side.MARKET, "carried out at once, answered `seconds` later", {"seconds": 1.0, "done": True}),
    "stall-in": Kind(Side.MARKET, "half of the body, then nothing; the connection stays open", {"done": True}),
    "die-in": Kind(Side.MARKET, "IBKR's connection dies in the middle of the body", {"done": True}),
    "drop": Kind(Side.MARKET, "IBKR's connection dies before the answer: the Gateway never answers"),
    "status": Kind(Side.MARKET, "this `status`, `body`, `content_type`, `headers` instead of IBKR's"),
    "empty-503": Kind(Side.MARKET, "503 with an empty body", EMPTY_503),
    "timeout-503": Kind(Side.MARKET, "503 with an empty body after ten `seconds`; not carried out", SLOW_EMPTY_503),
    "done-timeout-503": Kind(
        Side.MARKET, "carried out, yet 503 with an empty body after ten `seconds`", SLOW_EMPTY_503 | CARRIED_OUT
    ),
    "restart-during": Kind(Side.MARKET, "the Gateway restarts while IBKR has the call, which is not carried out"),
    "done-restart-during": Kind(
        Side.MARKET, "IBKR carries the call out, and the Gateway restarts meanwhile", CARRIED_OUT
    ),
    "lost-during": Kind(
        Side.MARKET, "the brokerage session ends under the call: not carried out, a late 503", SLOW_EMPTY_503
    ),
    "done-lost-during": Kind(
        Side.MARKET, "carried out; then the brokerage session ends, and a late 503", SLOW_EMPTY_503 | CARRIED_OUT
    ),
    "prompt": Kind(Side.MARKET, "an order ends as a prompt, to be answered at /iserver/notification", CARRIED_OUT),
    "html-500": Kind(Side.MARKET, "500 with a page in HTML", {"status": 500, "body": PAGE, "content_type": HTML}),
    "gzip": Kind(Side.MARKET, "the right answer, compressed though nobody asked", {"done": True}),
    "hidden-error": Kind(Side.MARKET, "200 with an error inside", {"status": 200, "body": '{"error":"no session"}'}),
    "big": Kind(Side.MARKET, "a JSON body of `size` bytes", {"status": 200}),
    "429": Kind(Side.MARKET, "too many requests", {"status": 429, "body": '{"error":"Too many requests"}'}),
    "maintenance": Kind(
        Side.MARKET,
        "IBKR's maintenance: 503 for everybody",
        {"status": 503, "body": PAGE.replace("Internal Server Error", "Service Unavailable"), "content_type": HTML},
        hits_own_calls=True,
    ),
}


@dataclass
class Fault:
    """One trouble at work; `times` counts down, None means until cleared.

    `path` is a part of the target or a regular expression found in it. `own` lets the fault meet the Gateway's own
    calls as well. `done` says whether IBKR carries the request out all the same.
    """

    kind: str
    path: str = ""
    times: int | None = None
    own: bool = False
    done: bool = False
    seconds: float = 0.0
    status: int = 500
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 5_000_000

    def matches(self, target: str, own: bool) -> bool:
        """Whether it is meant for this request."""
        return (self.own or not own) and (self.path in target or re.search(self.path, target) is not None)


class UnknownFaultError(ValueError):
    """No such kind, or a figure the kinds do not know; the message lists the known ones."""


class Faults:
    """All troubles at work, in the order they were added."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self.trigger_event: Callable[[Fault], None] = lambda fault: None
        self.undo_event: Callable[[Fault], None] = lambda fault: None

    def add(self, kind: str, **options: Any) -> Fault:
        """Set a trouble to work.

        Raises:
            UnknownFaultError: the message names all known kinds, or all figures a fault may be told.
        """
        fault = _make_fault(kind, options)
        if KINDS[kind].side is Side.EVENT:
            self.trigger_event(fault)
        self._active.append(fault)
        return fault

    def clear(self, kind: str | None = None) -> None:
        """End all troubles, or those of one kind."""
        ended = [fault for fault in self._active if kind in (None, fault.kind)]
        self._active = [fault for fault in self._active if fault not in ended]
        for fault in ended:
            if KINDS[fault.kind].side is Side.EVENT:
                self.undo_event(fault)

    def describe_active(self) -> list[dict[str, Any]]:
        """What is at work, for people."""
        return [asdict(fault) for fault in self._active]

    def use_fault(self, side: Side, target: str, own: bool) -> Fault | None:
        """The first trouble meant for this request; it counts as used once."""
        for fault in self._active:
            if KINDS[fault.kind].side is side and fault.matches(target, own):
                self._count_use(fault)
                return fault
        return None

    def _count_use(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._active = [each for each in self._active if each is not fault]


def _make_fault(kind: str, options: Mapping[str, Any]) -> Fault:
    names = [each.name for each in fields(Fault) if each.name != "kind"]
    if kind not in KINDS:
        raise UnknownFaultError(f"no fault is called {kind!r}; known are: {', '.join(sorted(KINDS))}")
    if unknown := sorted(set(options) - set(names)):
        raise UnknownFaultError(f"a fault cannot be told {', '.join(unknown)}; known are: {', '.join(names)}")
    fault = Fault(**{"kind": kind, "own": KINDS[kind].hits_own_calls, **KINDS[kind].defaults, **options})
    try:
        re.compile(fault.path)
    except re.error:
        fault.path = re.escape(fault.path)
    return fault
