"""The facts rooms announce, and the bus that carries them.

A fact is a frozen record of something that has happened; its fields are keys of the log line it becomes. Rooms
announce and go on: whoever listens (`observe`) must neither wait nor fail. No fact has a field for a key, a cookie,
a session id, an account number or a query value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Fact:
    """Something that has happened."""

    event: ClassVar[str] = "fact"  # dotted, in the past
    level: ClassVar[str] = "info"


@dataclass(frozen=True)
class BridgeStarted(Fact):
    """The bridge listens."""

    event = "bridge.started"
    url: str
    gateway: str
    mode: str
    read_only: bool
    version: str


@dataclass(frozen=True)
class BridgeStopping(Fact):
    """A signal came; what is in flight is finished first."""

    event = "bridge.stopping"
    in_flight: int
    orders_in_flight: int


@dataclass(frozen=True)
class BridgeStopped(Fact):
    """Everything is closed."""

    event = "bridge.stopped"
    unfinished: int


@dataclass(frozen=True)
class BridgeReloaded(Fact):
    """Keys and log level were read again."""

    event = "bridge.reloaded"
    keys: str
    level_now: str


@dataclass(frozen=True)
class ReloadRefused(Fact):
    """What was read again cannot be used; everything stays as it was."""

    event = "bridge.reload_refused"
    level = "error"
    problems: str


@dataclass(frozen=True)
class LoopDied(Fact):
    """A loop that must run for ever ended; the daemon ends with it."""

    event = "bridge.loop_died"
    level = "critical"
    loop: str
    error: str
    where: str


@dataclass(frozen=True)
class RequestServed(Fact):
    """One request, one line."""

    event = "request"
    request_id: str
    key: str
    method: str
    route: str
    status: int
    ms: float
    source: str
    code: str | None = None


@dataclass(frozen=True)
class RequestFailed(Fact):
    """Our own bug, with the places it passed through."""

    event = "request.failed"
    level = "error"
    request_id: str
    error: str
    where: str


@dataclass(frozen=True)
class RequestMalformed(Fact):
    """Bytes that are not HTTP. They are not repeated: a key may stand among them."""

    event = "request.malformed"
    problem: str


@dataclass(frozen=True)
class TokenIssued(Fact):
    """A key asked for a token. `token` is its name (the claim `jti`), which opens nothing."""

    event = "token.issued"
    request_id: str
    key: str
    token: str
    scope: str
    expires: str


@dataclass(frozen=True)
class ConnectionRefused(Fact):
    """More connections than the door holds; the oldest idle one made room."""

    event = "door.full"
    level = "warning"
    connections: int


@dataclass(frozen=True)
class SessionChanged(Fact):
    """The session moved to another state, or has another reason for the one it is in."""

    event = "session.changed"
    level = "warning"
    line: str
    was: str
    state: str
    reason: str
    hint: str
    after_s: float
    next_act: str


@dataclass(frozen=True)
class SessionReady(SessionChanged):
    """The good news among the changes."""

    event = "session.ready"
    level = "info"


@dataclass(frozen=True)
class SessionLost(SessionChanged):
    """A session that was open is not any more."""

    event = "session.lost"


@dataclass(frozen=True)
class SessionQuietlyChanged(SessionChanged):
    """A change inside a known maintenance window: expected, so no alarm."""

    level = "info"


@dataclass(frozen=True)
class SessionOpening(Fact):
    """The keeper asked IBKR for the brokerage session."""

    event = "session.opening"
    line: str
    compete: bool
    attempt: int
    status: int
    next_try_s: float


@dataclass(frozen=True)
class PreflightDone(Fact):
    """The calls IBKR wants first were made after the brokerage session opened."""

    event = "session.prepared"
    line: str
    accounts: int
    paper: str


@dataclass(frozen=True)
class KeeperSurprised(Fact):
    """A round of the keeper failed in a way nobody foresaw; it goes on."""

    event = "session.keeper_surprised"
    level = "error"
    line: str
    error: str
    where: str


@dataclass(frozen=True)
class StateTrouble(Fact):
    """The state directory cannot be used; what depends on it is said."""

    event = "state.trouble"
    level = "warning"
    what: str
    error: str
    hint: str


@dataclass(frozen=True)
class CookiesSetAside(Fact):
    """The cookie file could not be read and was moved out of the way."""

    event = "cookies.set_aside"
    level = "warning"
    moved_to: str


@dataclass(frozen=True)
class RowClosed(Fact):
    """IBKR answered 429: calls of this row wait."""

    event = "traffic.row_closed"
    level = "warning"
    route: str
    for_s: float


@dataclass(frozen=True)
class BoxDeclared(Fact):
    """IBKR refuses everything for a while."""

    event = "traffic.penalty_box"
    level = "error"
    for_s: int


@dataclass(frozen=True)
class TradingPaused(Fact):
    """Somebody stopped new orders."""

    event = "trading.paused"
    level = "warning"
    by: str


@dataclass(frozen=True)
class TradingResumed(Fact):
    """New orders pass again."""

    event = "trading.resumed"
    level = "warning"
    by: str


@dataclass(frozen=True)
class OutcomeUnknown(Fact):
    """A call that changes something, and is no order, went out and no answer came."""

    event = "change.unknown"
    level = "error"
    request_id: str
    method: str
    route: str
    why: str


@dataclass(frozen=True)
class OrderFact(Fact):
    """Something happened to an order. `order` is the journal's id, `request_id` the caller's, `order_id` IBKR's."""

    order: str
    request_id: str
    kind: str
    state: str
    order_id: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class OrderSent(OrderFact):
    """It stands in the journal, and leaves next; `order.refused` follows where it was stopped even so."""

    event = "order.sent"


@dataclass(frozen=True)
class OrderRefused(OrderFact):
    """The bridge did not send it."""

    event = "order.refused"
    level = "warning"


@dataclass(frozen=True)
class OrderQuestioned(OrderFact):
    """IBKR asks back."""

    event = "order.question"


@dataclass(frozen=True)
class OrderConfirmed(OrderFact):
    """A question is answered with yes."""

    event = "order.confirmed"


@dataclass(frozen=True)
class OrderDeclined(OrderFact):
    """A question is answered with no, by its caller or because nobody answered in time."""

    event = "order.declined"
    level = "warning"


@dataclass(frozen=True)
class OrderPlaced(OrderFact):
    """IBKR has it."""

    event = "order.placed"


@dataclass(frozen=True)
class OrderPlacedLate(OrderFact):
    """It was taken for not placed, and exists all the same: a person should know."""

    event = "order.placed_late"
    level = "critical"


@dataclass(frozen=True)
class OrderRejected(OrderFact):
    """IBKR said no."""

    event = "order.rejected"
    level = "warning"


@dataclass(frozen=True)
class OrderLost(OrderFact):
    """It went out and no answer came: it may exist, and is being looked for."""

    event = "order.unknown"
    level = "error"


@dataclass(frozen=True)
class OrderNotPlaced(OrderFact):
    """It does not exist at IBKR."""

    event = "order.not_placed"
    level = "warning"


@dataclass(frozen=True)
class OrderUnheard(OrderFact):
    """Its caller went away without the answer."""

    event = "order.unheard"
    level = "warning"


@dataclass(frozen=True)
class StreamUp(Fact):
    """IBKR's websocket speaks; everything is subscribed to again."""

    event = "stream.up"
    line: str
    topics: int


@dataclass(frozen=True)
class StreamLost(Fact):
    """IBKR's websocket ended while the session, as far as is known, did not."""

    event = "stream.lost"
    level = "warning"
    line: str
    reason: str
    after_s: float
    next_try_s: float


@dataclass(frozen=True)
class StreamSurprised(Fact):
    """IBKR said something that nobody foresaw; it is passed over."""

    event = "stream.surprised"
    level = "error"
    line: str
    error: str
    where: str


@dataclass(frozen=True)
class ReaderCame(Fact):
    """A caller's stream begins; the line of its request comes when it ends."""

    event = "stream.reader"
    request_id: str
    key: str
    route: str


@dataclass(frozen=True)
class ReaderEnded(Fact):
    """A caller's stream was ended by the bridge."""

    event = "stream.reader_ended"
    level = "warning"
    request_id: str
    key: str
    route: str
    reason: str


Listener = Callable[[Fact], None]


class Bus:
    """Carries facts to whoever listens, in the order they were announced."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Hear every fact announced from now on."""
        self._listeners.append(listener)

    def announce(self, fact: Fact) -> None:
        """Tell everybody; returns when all have heard."""
        for listener in self._listeners:
            listener(fact)


def where(exc: BaseException) -> str:
    """The places an exception passed through, outermost first: `file.py:12 function`.

    Never its message: texts of foreign exceptions repeat what was being parsed, and that may be a secret.
    """
    places = []
    trace = exc.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " > ".join(places[-12:])
