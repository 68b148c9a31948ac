"""The facts rooms announce, and the bus that carries them.

A fact is a frozen record of something that has happened; its fields are keys of the log line it becomes. Rooms
announce and go on: whoever listens (`observe`) must neither wait nor fail. No fact has a field for a key, a cookie,
a session id, an account number or a query value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Event:
    """Something that has happened."""

    event: ClassVar[str] = "fact"  # dotted, in the past
    level: ClassVar[str] = "info"


@dataclass(frozen=True)
class ProfileEvent(Event):
    """Something that happened to one profile; the profile's bus writes its name into it."""

    profile: str | None = field(default=None, kw_only=True)
    """None if it concerns the whole bridge."""


@dataclass(frozen=True)
class BridgeStarted(Event):
    """The bridge listens."""

    event = "bridge.started"
    url: str
    gateway: str
    mode: str
    read_only: bool
    version: str


@dataclass(frozen=True)
class BridgeStopping(Event):
    """A signal came; what is in flight is finished first."""

    event = "bridge.stopping"
    in_flight: int
    orders_in_flight: int


@dataclass(frozen=True)
class BridgeStopped(Event):
    """Everything is closed."""

    event = "bridge.stopped"
    unfinished: int


@dataclass(frozen=True)
class BridgeReloaded(Event):
    """Keys and log level were read again."""

    event = "bridge.reloaded"
    keys: str
    level_now: str


@dataclass(frozen=True)
class ReloadRefused(Event):
    """What was read again cannot be used; everything stays as it was."""

    event = "bridge.reload_refused"
    level = "error"
    problems: str


@dataclass(frozen=True)
class LoopDied(Event):
    """A loop that must run for ever ended; the daemon ends with it."""

    event = "bridge.loop_died"
    level = "critical"
    loop: str
    error: str
    places: str


@dataclass(frozen=True)
class ListenerFailed(ProfileEvent):
    """A subscriber of a change or of the bus raised an error. The others were called."""

    event = "bridge.listener_failed"
    level = "error"
    change: str
    listener: str
    error: str
    places: str


@dataclass(frozen=True)
class RequestServed(Event):
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
class RequestFailed(Event):
    """Our own bug, with the places it passed through."""

    event = "request.failed"
    level = "error"
    request_id: str
    error: str
    places: str


@dataclass(frozen=True)
class RequestMalformed(Event):
    """Bytes that are not HTTP. They are not repeated: a key may stand among them."""

    event = "request.malformed"
    problem: str


@dataclass(frozen=True)
class TokenIssued(Event):
    """A key asked for a token. `token` is its name (the claim `jti`), which opens nothing."""

    event = "token.issued"
    request_id: str
    key: str
    token: str
    scope: str
    expires: str


@dataclass(frozen=True)
class ConnectionLimitReached(Event):
    """More connections than the door holds; the oldest idle one made room."""

    event = "connections.limit_reached"
    level = "warning"
    connections: int


@dataclass(frozen=True)
class SessionChanged(ProfileEvent):
    """The session moved to another state, or has another reason for the one it is in."""

    event = "session.changed"
    level = "warning"
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
class SessionChangedInMaintenance(SessionChanged):
    """A change inside a known maintenance window: expected, so no alarm."""

    level = "info"


@dataclass(frozen=True)
class SessionOpening(ProfileEvent):
    """The keeper asked IBKR for the brokerage session."""

    event = "session.opening"
    compete: bool
    attempt: int
    status: int
    next_try_s: float


@dataclass(frozen=True)
class PreflightDone(ProfileEvent):
    """The calls IBKR wants first were made after the brokerage session opened."""

    event = "session.prepared"
    accounts: int
    paper: str


@dataclass(frozen=True)
class KeeperFailed(ProfileEvent):
    """A round of the keeper failed in a way nobody foresaw; it goes on."""

    event = "session.keeper_failed"
    level = "error"
    error: str
    places: str


@dataclass(frozen=True)
class StateUnavailable(ProfileEvent):
    """The state directory cannot be used; what depends on it is said."""

    event = "state.unavailable"
    level = "warning"
    what: str
    error: str
    hint: str


@dataclass(frozen=True)
class CookiesSetAside(ProfileEvent):
    """The cookie file could not be read and was moved out of the way."""

    event = "cookies.set_aside"
    level = "warning"
    moved_to: str


@dataclass(frozen=True)
class EndpointRateLimited(ProfileEvent):
    """IBKR answered 429: calls of this row wait."""

    event = "limits.endpoint_rate_limited"
    level = "warning"
    route: str
    for_s: float


@dataclass(frozen=True)
class PenaltyBoxEntered(ProfileEvent):
    """IBKR refuses everything for a while."""

    event = "limits.penalty_box_entered"
    level = "error"
    for_s: int


@dataclass(frozen=True)
class PauseSet(ProfileEvent):
    """Somebody stopped new orders."""

    event = "trading.paused"
    level = "warning"
    by: str


@dataclass(frozen=True)
class PauseCleared(ProfileEvent):
    """New orders pass again."""

    event = "trading.resumed"
    level = "warning"
    by: str


@dataclass(frozen=True)
class ChangeUnknown(ProfileEvent):
    """A call that changes something, and is no order, went out and no answer came."""

    event = "change.unknown"
    level = "error"
    request_id: str
    method: str
    route: str
    reason: str


@dataclass(frozen=True)
class OrderChanged(ProfileEvent):
    """Something happened to an order. `order` is the journal's id, `request_id` the caller's, `order_id` IBKR's."""

    order: str
    request_id: str
    kind: str
    state: str
    order_id: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class OrderSent(OrderChanged):
    """It stands in the journal, and leaves next; `order.refused` follows where it was stopped even so."""

    event = "order.sent"


@dataclass(frozen=True)
class OrderRefused(OrderChanged):
    """The bridge did not send it."""

    event = "order.refused"
    level = "warning"


@dataclass(frozen=True)
class OrderQuestioned(OrderChanged):
    """IBKR asks back."""

    event = "order.question"


@dataclass(frozen=True)
class OrderConfirmed(OrderChanged):
    """A question is answered with yes."""

    event = "order.confirmed"


@dataclass(frozen=True)
class OrderDeclined(OrderChanged):
    """A question is answered with no, by its caller or because nobody answered in time."""

    event = "order.declined"
    level = "warning"


@dataclass(frozen=True)
class OrderPlaced(OrderChanged):
    """IBKR has it."""

    event = "order.placed"


@dataclass(frozen=True)
class OrderPlacedLate(OrderChanged):
    """It was taken for not placed, and exists all the same: a person should know."""

    event = "order.placed_late"
    level = "critical"


@dataclass(frozen=True)
class OrderRejected(OrderChanged):
    """IBKR said no."""

    event = "order.rejected"
    level = "warning"


@dataclass(frozen=True)
class OrderLost(OrderChanged):
    """It went out and no answer came: it may exist, and is being looked for."""

    event = "order.unknown"
    level = "error"


@dataclass(frozen=True)
class OrderSettledNotPlaced(OrderChanged):
    """It does not exist at IBKR."""

    event = "order.not_placed"
    level = "warning"


@dataclass(frozen=True)
class OrderResponseUndelivered(OrderChanged):
    """Its caller went away without the answer."""

    event = "order.response_undelivered"
    level = "warning"


@dataclass(frozen=True)
class FeedUp(ProfileEvent):
    """IBKR's websocket speaks; everything is subscribed to again."""

    event = "feed.up"
    topics: int


@dataclass(frozen=True)
class FeedLost(ProfileEvent):
    """IBKR's websocket ended while the session, as far as is known, did not."""

    event = "feed.lost"
    level = "warning"
    reason: str
    after_s: float
    next_try_s: float


@dataclass(frozen=True)
class FeedMessageFailed(ProfileEvent):
    """IBKR said something that nobody foresaw; it is passed over."""

    event = "feed.message_failed"
    level = "error"
    error: str
    places: str


@dataclass(frozen=True)
class StreamOpened(ProfileEvent):
    """A caller's stream begins; the line of its request comes when it ends."""

    event = "stream.opened"
    request_id: str
    key: str
    route: str


@dataclass(frozen=True)
class StreamClosed(ProfileEvent):
    """A caller's stream was ended by the bridge."""

    event = "stream.closed"
    level = "warning"
    request_id: str
    key: str
    route: str
    reason: str


Listener = Callable[[Event], None]


class Bus:
    """Carries events to observers, in the order in which they were published.

    The bus is for observation only: nothing that it carries may be needed for the bridge to work. A listener that
    raises is reported, and the others are called.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call a listener with every event from now on."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Call every listener with an event; returns when all were called."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as exc:
                if not isinstance(event, ListenerFailed):  # else a broken listener would report itself for ever
                    self.publish(listener_failed("bus", listener, exc))


class ProfileBus(Bus):
    """The bus as one profile uses it: every event of the profile carries its name.

    Args:
        bus: where events go.
        profile: the name.
    """

    def __init__(self, bus: Bus, profile: str) -> None:
        super().__init__()
        self._bus = bus
        self._profile = profile

    def subscribe(self, listener: Listener) -> None:
        """See `Bus.subscribe`; it is called with events of all profiles."""
        self._bus.subscribe(listener)

    def publish(self, event: Event) -> None:
        """See `Bus.publish`."""
        self._bus.publish(replace(event, profile=self._profile) if isinstance(event, ProfileEvent) else event)


class Subscribers(Generic[Value]):
    """Who is called when something changes that steers the program.

    Args:
        change: the name of the change, for the report of one that fails.
        bus: hears of a subscriber that raised; the others are called all the same.
    """

    def __init__(self, change: str, bus: Bus) -> None:
        self._change = change
        self._bus = bus
        self._subscribers: list[Callable[[Value], None]] = []

    def subscribe(self, subscriber: Callable[[Value], None]) -> None:
        """Call a subscriber at every change from now on, after those that came before it."""
        self._subscribers.append(subscriber)

    def notify(self, value: Value) -> None:
        """Call every subscriber, in the order in which they subscribed."""
        for subscriber in self._subscribers:
            try:
                subscriber(value)
            except Exception as exc:
                self._bus.publish(listener_failed(self._change, subscriber, exc))


def listener_failed(change: str, listener: Callable[..., object], exc: Exception) -> ListenerFailed:
    """The report of a listener that raised: its name and the places, never the message."""
    name = getattr(listener, "__qualname__", type(listener).__name__)
    return ListenerFailed(change, name, type(exc).__name__, traceback_places(exc))


def traceback_places(exc: BaseException) -> str:
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
