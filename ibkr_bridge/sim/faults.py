"""Scripted faults: every known way in which the way to IBKR fails, each with a name.

A fault is added by name. Options limit it to some targets or to a number of requests, or set its figures. Four places
carry faults out: the Gateway's socket, the market behind it, IBKR's end of the websockets, and the simulator as a whole
for faults that are an event and not a spoilt response. This file knows only the names, their options, and which fault
applies to a request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any


class Side(Enum):
    """The place that carries out a kind of fault."""

    SOCKET = "the Gateway's socket"
    MARKET = "IBKR's answer"
    STREAM = "a topic of the stream; `path` is a part of its name, such as sor"
    EVENT = "an event, once, undone when cleared if that is possible"


@dataclass(frozen=True)
class Kind:
    """One kind of fault: where it is carried out, its description for people, and its default options."""

    side: Side
    description: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    hits_own_calls: bool = False  # applies to the Gateway's own calls too


ORDER_CALL = re.compile(r"/iserver/(account/[^/?]+/orders?|reply)(?![^/?])(?!/whatif)")
HTML = "text/html"
PAGE = "<html><body><h1>Internal Server Error</h1></body></html>"

CARRIED_OUT: dict[str, Any] = {"done": True}
LATE: dict[str, Any] = {"seconds": 8.0}  # observed: an order was sent that late behind five stuck calls
EMPTY_503: dict[str, Any] = {"status": 503, "body": ""}
SLOW_EMPTY_503: dict[str, Any] = {**EMPTY_503, "seconds": 10.0}  # the timeout of IBKR's front for its order system

KINDS: Mapping[str, Kind] = {
    "refuse": Kind(Side.EVENT, "the port is closed and every connection dropped, until cleared"),
    "restart": Kind(Side.EVENT, "the Gateway stops and starts again; the login is lost"),
    "sso-lost": Kind(Side.EVENT, "IBKR ends the login"),
    "brokerage-lost": Kind(Side.EVENT, "IBKR ends the brokerage session; the login stays"),
    "competing": Kind(Side.EVENT, "another program takes the brokerage session"),
    "competing-stays": Kind(
        Side.EVENT,
        "another program takes the brokerage session, and again after each reopening, until cleared",
    ),
    "quotes-delayed": Kind(
        Side.EVENT, "quotes are 15 minutes old (6509: D): all of them, or those of the conid in `path`"
    ),
    "quotes-frozen": Kind(
        Side.EVENT, "the market is closed and its quotes stand still (6509: Z); no order fills; `path` as above"
    ),
    "quotes-closed": Kind(
        Side.EVENT,
        "the market is closed: the former close marked C, no bid, no offer (6509: Y); no order fills; `path` as above",
    ),
    "quotes-missing": Kind(Side.EVENT, "no market data is subscribed: no prices (6509: N); `path` as above"),
    "no-bridge": Kind(
        Side.EVENT, "brokerage calls answer `no bridge` while the status shows a session, until it is requested again"
    ),
    "disconnected": Kind(
        Side.EVENT,
        "the status shows `connected: false` while the login is still valid, until the session is requested again",
    ),
    "never-established": Kind(Side.EVENT, "`established` stays false until the session is requested again"),
    "selection-lost": Kind(Side.EVENT, "until cleared, IBKR forgets the selected account with the brokerage session"),
    "ibkr-down": Kind(Side.EVENT, "IBKR cannot be reached: calls hang in their slots until cleared, unanswered"),
    "stream-silent": Kind(Side.EVENT, "nothing is sent on any websocket, not even a heartbeat, until cleared"),
    "stream-cut": Kind(Side.EVENT, "IBKR closes every socket of the stream"),
    "topic-silent": Kind(
        Side.STREAM, "IBKR sends nothing on a topic of the stream, or on all if no `path` names one; a request is lost"
    ),
    "late": Kind(Side.SOCKET, "waits in the Gateway's queue for `seconds`, then is sent even without its client", LATE),
    "denied": Kind(Side.SOCKET, "404 Access Denied, as for an address without access"),
    "cut-before": Kind(Side.SOCKET, "not carried out; the connection is cut before the first byte of the response"),
    "done-cut-before": Kind(Side.SOCKET, "carried out, then cut before the first byte of the response", CARRIED_OUT),
    "cut-in": Kind(Side.SOCKET, "carried out, then cut in the middle of the response's body", CARRIED_OUT),
    "garble": Kind(Side.SOCKET, "bytes that are not HTTP"),
    "silence": Kind(Side.MARKET, "not carried out, never answered; holds a slot, for `seconds` if they are given"),
    "done-silence": Kind(Side.MARKET, "carried out, never answered; holds a slot as with silence", CARRIED_OUT),
    "delay": Kind(Side.MARKET, "carried out at once, answered `seconds` later", {"seconds": 1.0, "done": True}),
    "stall-in": Kind(Side.MARKET, "half of the body, then nothing; the connection stays open", {"done": True}),
    "die-in": Kind(Side.MARKET, "IBKR's connection breaks in the middle of the body", {"done": True}),
    "drop": Kind(Side.MARKET, "IBKR's connection breaks before the response: the Gateway never answers"),
    "reset": Kind(Side.MARKET, "IBKR resets the connection: the Gateway frees the slot and never answers"),
    "status": Kind(Side.MARKET, "this `status`, `body`, `content_type`, `headers` instead of IBKR's"),
    "empty-503": Kind(Side.MARKET, "503 with an empty body", EMPTY_503),
    "timeout-503": Kind(Side.MARKET, "503 with an empty body after ten `seconds`; not carried out", SLOW_EMPTY_503),
    "done-timeout-503": Kind(
        Side.MARKET, "carried out, but 503 with an empty body after ten `seconds`", SLOW_EMPTY_503 | CARRIED_OUT
    ),
    "restart-during": Kind(Side.MARKET, "not carried out; the Gateway restarts while IBKR has the call"),
    "done-restart-during": Kind(Side.MARKET, "carried out; the Gateway restarts while IBKR has the call", CARRIED_OUT),
    "lost-during": Kind(
        Side.MARKET, "not carried out; the brokerage session ends during the call, and a late 503", SLOW_EMPTY_503
    ),
    "done-lost-during": Kind(
        Side.MARKET, "carried out; then the brokerage session ends, and a late 503", SLOW_EMPTY_503 | CARRIED_OUT
    ),
    "prompt": Kind(
        Side.MARKET, "IBKR answers an order with a prompt, to be answered at /iserver/notification", CARRIED_OUT
    ),
    "html-500": Kind(Side.MARKET, "500 with a page in HTML", {"status": 500, "body": PAGE, "content_type": HTML}),
    "no-dh-token": Kind(
        Side.MARKET,
        "IBKR does not open the brokerage session, as for a new paper user",
        {"path": "/iserver/auth/ssodh/init", "status": 500, "body": '{"error":"failed to generate sso dh token"}'},
    ),
    "gzip": Kind(Side.MARKET, "the correct response, compressed without a request for it", {"done": True}),
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
    """One active fault.

    `times` is the number of requests it still applies to; None means until it is cleared. `path` is a part of the
    target, or a regular expression found in it. With `own` the fault applies to the Gateway's own calls too. With
    `done` IBKR carries the request out in spite of the fault.
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
        """Whether the fault applies to this request."""
        return (self.own or not own) and (self.path in target or re.search(self.path, target) is not None)


class UnknownFaultError(ValueError):
    """The kind or an option is unknown. The message lists the known ones."""


class Faults:
    """The active faults, in the order they were added."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._used_kinds: dict[str, bool] = {}
        """By kind of the faults that occurred since they were last taken, and may be used up: whether IBKR has carried
        out an order in spite of one.
        """
        self.trigger_event: Callable[[Fault], None] = lambda fault: None
        self.undo_event: Callable[[Fault], None] = lambda fault: None
        self.is_over: Callable[[Fault], bool] = lambda fault: False
        """Whether an event has ended by itself, such as a lost session that was opened again."""

    def add(self, kind: str, **options: Any) -> Fault:
        """Activate a fault; an event happens at once.

        Raises:
            UnknownFaultError: the message names all known kinds, or all options.
        """
        fault = _make_fault(kind, options)
        if KINDS[kind].side is Side.EVENT:
            self.trigger_event(fault)
            self._used_kinds.setdefault(kind, False)
        self._active.append(fault)
        return fault

    def clear(self, kind: str | None = None) -> None:
        """End all faults, or those of one kind."""
        ended = [fault for fault in self._active if kind in (None, fault.kind)]
        self._active = [fault for fault in self._active if fault not in ended]
        for fault in ended:
            if KINDS[fault.kind].side is Side.EVENT:
                self.undo_event(fault)

    def pop_used_kinds(self, kind: str | None = None) -> dict[str, bool]:
        """All kinds that occurred since the last call, or this one if it did; also those that are used up. The value
        says whether IBKR has carried out an order in spite of such a fault.
        """
        kinds = [each for each in self._used_kinds if kind in (None, each)]
        return {each: self._used_kinds.pop(each) for each in kinds}

    def describe_active(self) -> list[dict[str, Any]]:
        """The active faults with their options, for people."""
        return [asdict(fault) for fault in self._active if not self.is_over(fault)]

    def use_fault(self, side: Side, target: str, own: bool) -> Fault | None:
        """Return the first fault that applies to this request, and count one use of it."""
        fault = self.find_fault(side, target, own)
        if fault is not None:
            self._count_use(fault)
        return fault

    def find_fault(self, side: Side, target: str, own: bool) -> Fault | None:
        """Return the first fault that applies to this request, without counting a use of it."""
        applying = (fault for fault in self._active if KINDS[fault.kind].side is side and fault.matches(target, own))
        fault = next(applying, None)
        if fault is not None:
            carried_out = fault.done and ORDER_CALL.search(target) is not None
            self._used_kinds[fault.kind] = self._used_kinds.get(fault.kind, False) or carried_out
        return fault

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
        raise UnknownFaultError(f"a fault has no option {', '.join(unknown)}; known are: {', '.join(names)}")
    fault = Fault(**{"kind": kind, "own": KINDS[kind].hits_own_calls, **KINDS[kind].defaults, **options})
    try:
        re.compile(fault.path)
    except re.error:
        fault.path = re.escape(fault.path)
    return fault
