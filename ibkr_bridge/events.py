"""The events that the packages publish, and the bus that carries them.

An event is a frozen record of something that has happened; its fields become the keys of its log line. A listener must
not block: the publisher waits for it. No event has a field for a key, a cookie, a session id, an account number or a
query value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, TypeVar

Value = TypeVar("Value")
NO_KEY = "none"  # stands for the key of a request that has none
WRONG_KEY = "wrong"  # and of one that has another key, or an expired token


@dataclass(frozen=True)
class Event:
    """Something that has happened."""

    event: ClassVar[str] = "event"  # dotted: `subject.past_participle`
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
    """A signal came; requests in progress are finished first."""

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
    """Keys and log level were reloaded."""

    event = "bridge.reloaded"
    keys: str
    level_now: str


@dataclass(frozen=True)
class RestartNeeded(Event):
    """A reload has read settings that it does not apply; a restart applies them."""

    event = "bridge.restart_needed"
    level = "warning"
    settings: str


@dataclass(frozen=True)
class ReloadRefused(Event):
    """The reloaded settings are invalid; nothing changes."""

    event = "bridge.reload_refused"
    level = "error"
    problems: str


@dataclass(frozen=True)
class LoopDied(Event):
    """A supervised loop ended; the daemon stops."""

    event = "bridge.loop_died"
    level = "critical"
    loop: str
    error: str
    places: str


@dataclass(frozen=True)
class ProfileAdded(ProfileEvent):
    """A profile besides `main` runs now."""

    event = "profile.added"
    road: str
    mode: str


@dataclass(frozen=True)
class ProfileRemoved(ProfileEvent):
    """A profile has ended; its journal stays."""

    event = "profile.removed"


@dataclass(frozen=True)
class ProfileRefused(ProfileEvent):
    """A profile of a file cannot be used; all others run."""

    event = "profile.refused"
    level = "error"
    problems: str


@dataclass(frozen=True)
class ProfileLoopFailed(ProfileEvent):
    """A loop of a profile besides `main` has ended; its loops begin again after a pause."""

    event = "profile.loop_failed"
    level = "error"
    error: str
    places: str
    failures: int
    """How often in a row."""
    wait_s: float


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
class RequestServed(ProfileEvent):
    """One request, one line in the log."""

    event = "request"
    request_id: str
    key: str
    method: str
    route: str
    status: int
    ms: float
    source: str
    code: str | None = None
    wait_ms: float | None = None
    """Of `ms`, how long it waited for the session and for admission; None if no call was made for it."""
    upstream_ms: float | None = None
    """Of `ms`, how long it waited for IBKR."""
    ibkr_message: str | None = None
    """IBKR's own words, redacted, if IBKR refused."""
    refused: str | None = None
    """The path, the host or the page that was refused, where that is harmless."""


@dataclass(frozen=True)
class ProbeServed(RequestServed):
    """One request of a monitor that found all well. There are many, and they say nothing new."""

    level = "debug"


@dataclass(frozen=True)
class RequestFailed(ProfileEvent):
    """A bug of the bridge, with the places that the exception passed through."""

    event = "request.failed"
    level = "error"
    request_id: str
    error: str
    places: str


@dataclass(frozen=True)
class RequestMalformed(Event):
    """Bytes that are not HTTP. They are not repeated, as they may contain a key."""

    event = "request.malformed"
    problem: str


@dataclass(frozen=True)
class LinesSummedUp(Event):
    """Requests came faster than their lines are written; this line stands for many."""

    event = "request.lines_summed_up"
    level = "warning"
    of: str
    lines: int
    seconds: float
    events: str


@dataclass(frozen=True)
class TokenIssued(ProfileEvent):
    """A token was issued for a key. `token` is its id (the claim `jti`), which gives no access."""

    event = "token.issued"
    request_id: str
    key: str
    token: str
    scope: str
    expires: str


@dataclass(frozen=True)
class ConnectionLimitReached(Event):
    """The connection limit is reached; the oldest connection without a complete request was closed."""

    event = "connections.limit_reached"
    level = "warning"
    connections: int


@dataclass(frozen=True)
class ReplyUnread(Event):
    """A client did not read its reply for too long, or unread replies took too much memory; it was cut."""

    event = "connections.reply_unread"
    level = "warning"
    unread_bytes: int


@dataclass(frozen=True)
class ConditionBegan(ProfileEvent):
    """Something began that a person may have to know."""

    event = "condition.began"
    level = "warning"
    condition: str
    severity: str
    text: str
    do: str


@dataclass(frozen=True)
class ConditionNoticed(ConditionBegan):
    """The same, for a condition that ends by itself or that somebody wanted."""

    level = "notice"


@dataclass(frozen=True)
class ConditionEnded(ProfileEvent):
    """A condition does not hold any more."""

    event = "condition.ended"
    level = "notice"
    condition: str
    severity: str
    lasted_s: float


@dataclass(frozen=True)
class SessionChanged(ProfileEvent):
    """The session changed its state, or the reason of its state."""

    event = "session.changed"
    level = "warning"
    was: str
    state: str
    reason: str
    hint: str
    after_s: float
    next_act: str
    ibkr_message: str = ""


@dataclass(frozen=True)
class SessionReady(SessionChanged):
    """The brokerage session is open."""

    event = "session.ready"
    level = "notice"


@dataclass(frozen=True)
class SessionLost(SessionChanged):
    """The brokerage session is not open any more."""

    event = "session.lost"


@dataclass(frozen=True)
class SessionChangedInMaintenance(SessionChanged):
    """A change during a maintenance window, which is expected."""

    level = "notice"


@dataclass(frozen=True)
class SessionOpening(ProfileEvent):
    """The keeper requested the brokerage session."""

    event = "session.opening"
    compete: bool
    attempt: int
    status: int
    next_try_s: float
    ibkr_message: str = ""


@dataclass(frozen=True)
class AccountNotSelected(ProfileEvent):
    """IBKR refuses to select the account again that a caller had selected. The selection is forgotten."""

    event = "session.account_not_selected"
    level = "error"
    status: int
    ibkr_message: str


@dataclass(frozen=True)
class PreflightDone(ProfileEvent):
    """The preflight calls were made after the brokerage session opened."""

    event = "session.prepared"
    accounts: int
    paper: str


@dataclass(frozen=True)
class AccessGranted(ProfileEvent):
    """IBKR gave access without a Gateway: a live session token, or a bearer token."""

    event = "access.granted"
    lasts_s: int


@dataclass(frozen=True)
class AccessRefused(ProfileEvent):
    """IBKR gave no access; the bridge asks again after a pause."""

    event = "access.refused"
    level = "warning"
    refusal: str
    next_try_s: int


@dataclass(frozen=True)
class KeeperFailed(ProfileEvent):
    """A round of the keeper raised an unexpected error. The next round starts as usual."""

    event = "session.keeper_failed"
    level = "error"
    error: str
    places: str


@dataclass(frozen=True)
class StateUnavailable(ProfileEvent):
    """A file of the state directory cannot be used; the hint says what depends on it."""

    event = "state.unavailable"
    level = "warning"
    what: str
    error: str
    hint: str


@dataclass(frozen=True)
class CookiesSetAside(ProfileEvent):
    """The cookie file could not be read and was renamed."""

    event = "cookies.set_aside"
    level = "warning"
    moved_to: str


@dataclass(frozen=True)
class EndpointRateLimited(ProfileEvent):
    """IBKR answered 429: calls of this endpoint wait."""

    event = "limits.endpoint_rate_limited"
    level = "warning"
    route: str
    for_s: float


@dataclass(frozen=True)
class PenaltyBoxEntered(ProfileEvent):
    """IBKR refuses all calls for a while."""

    event = "limits.penalty_box_entered"
    level = "error"
    for_s: int


@dataclass(frozen=True)
class PauseSet(ProfileEvent):
    """New orders were stopped."""

    event = "trading.paused"
    level = "warning"
    by: str


@dataclass(frozen=True)
class PauseCleared(ProfileEvent):
    """New orders are allowed again."""

    event = "trading.resumed"
    level = "warning"
    by: str


@dataclass(frozen=True)
class ChangeUnknown(ProfileEvent):
    """A call that changes something, but is not an order, was sent and no response came that shows its outcome."""

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
    reason: str | None = None


@dataclass(frozen=True)
class OrderSent(OrderChanged):
    """It is in the journal and is sent next; `order.refused` follows if it was stopped after that."""

    event = "order.sent"


@dataclass(frozen=True)
class OrderRefused(OrderChanged):
    """The bridge refused it; nothing was sent."""

    event = "order.refused"
    level = "warning"


@dataclass(frozen=True)
class OrderQuestioned(OrderChanged):
    """IBKR asks a question about it."""

    event = "order.question"


@dataclass(frozen=True)
class OrderConfirmed(OrderChanged):
    """A question is confirmed."""

    event = "order.confirmed"


@dataclass(frozen=True)
class OrderDeclined(OrderChanged):
    """A question is declined, by its caller or because no reply came in time."""

    event = "order.declined"
    level = "warning"


@dataclass(frozen=True)
class OrderPlaced(OrderChanged):
    """IBKR has it."""

    event = "order.placed"


@dataclass(frozen=True)
class OrderPlacedLate(OrderChanged):
    """It counted as not placed, and exists at IBKR after all: a person should check it."""

    event = "order.placed_late"
    level = "critical"


@dataclass(frozen=True)
class OrderRejected(OrderChanged):
    """IBKR refused it."""

    event = "order.rejected"
    level = "warning"


@dataclass(frozen=True)
class OrderLost(OrderChanged):
    """It was sent and no response came: it may exist, and the reconciler searches for it."""

    event = "order.unknown"
    level = "error"


@dataclass(frozen=True)
class OrderSettledNotPlaced(OrderChanged):
    """It does not exist at IBKR."""

    event = "order.not_placed"
    level = "warning"


@dataclass(frozen=True)
class OrderResponseUndelivered(OrderChanged):
    """Its caller disconnected without the response."""

    event = "order.response_undelivered"
    level = "warning"


@dataclass(frozen=True)
class FeedUp(ProfileEvent):
    """IBKR's websocket is connected; everything is subscribed to again."""

    event = "feed.up"
    topics: int


@dataclass(frozen=True)
class FeedLost(ProfileEvent):
    """IBKR's websocket ended while the session counts as ready."""

    event = "feed.lost"
    level = "warning"
    reason: str
    after_s: float
    next_try_s: float


@dataclass(frozen=True)
class FeedMessageFailed(ProfileEvent):
    """A message of IBKR raised an unexpected error; it is skipped."""

    event = "feed.message_failed"
    level = "error"
    error: str
    places: str


@dataclass(frozen=True)
class TopicSilent(ProfileEvent):
    """IBKR has not answered the request for a topic of its stream in time."""

    event = "feed.topic_silent"
    level = "warning"
    topic: str
    """IBKR's word for the kind of topic, such as `sor`; its target may be an account."""
    has_second_source: bool
    """Whether it is read by calls instead."""


@dataclass(frozen=True)
class StreamOpened(ProfileEvent):
    """A caller's stream begins; its request is logged when it ends."""

    event = "stream.opened"
    request_id: str
    key: str
    route: str


@dataclass(frozen=True)
class StreamClosed(ProfileEvent):
    """The bridge ended a caller's stream."""

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
                if not isinstance(event, ListenerFailed):  # else a broken listener would report itself without end
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
    """The subscribers of a change that steers the program.

    Args:
        change: the name of the change, for the report of one that fails.
        bus: gets an event for each subscriber that raised; the others are called all the same.
    """

    def __init__(self, change: str, bus: Bus) -> None:
        self._change = change
        self._bus = bus
        self._subscribers: list[Callable[[Value], None]] = []

    def subscribe(self, subscriber: Callable[[Value], None]) -> None:
        """Call a subscriber at every change from now on, after those that subscribed earlier."""
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
