"""All who read, and what each of them is told.

A newcomer gets the whole picture at once, then what changes. Nothing here waits, and no reader makes another one wait:
`readers.py` says what becomes of slow ones. What IBKR is asked for stands in `asking.py`, its socket in `feed.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from ibkr_bridge.clock import Clock, utc_ms
from ibkr_bridge.errors import Busy
from ibkr_bridge.streaming.deduplication import SeenRows
from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind, Unsubscribe
from ibkr_bridge.streaming.replay_buffer import REPLAYED_KINDS, ReplayBuffer, Row
from ibkr_bridge.streaming.subscriber import SLOW_CLIENT, Encoding, FlushScheduler, StreamEvent, Subscriber
from ibkr_bridge.streaming.subscription import Subscription
from ibkr_bridge.streaming.upstream_subscriptions import QUARANTINED_DETAIL, UpstreamSubscriptions
from ibkr_bridge.streaming.views import Message

BROADCAST_TOPICS = frozenset({"act", "sts", "ntf", "blt", "error"})
"""Topics nobody subscribes to: every socket has them."""
REPEATED_TOPICS = frozenset({"act"})
"""Those that a newcomer is told as well."""
SESSION_TOPIC = Topic(TopicKind.SESSION)
MAX_SUBSCRIBERS = 256  # half of the connections there may be: who asks for nothing but /health must get in


@dataclass(frozen=True)
class SourceStatus:
    """Whether what readers see is fresh, and if not, why and since when."""

    is_fresh: bool
    reason: str
    since: datetime

    @property
    def as_row(self) -> Row:
        """In words for readers."""
        return {"reason": self.reason, "since": self.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


class Hub:
    """All readers of one line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session = Subscription(SESSION_TOPIC)
        self._subscribers: dict[Subscriber, None] = {}
        self._broadcast_messages: dict[str, Message] = {}
        self._rounds = FlushScheduler(self._flush_all)
        self._user = ""
        self.upstream_subscriptions = UpstreamSubscriptions(clock)
        self._seen = {kind: SeenRows(kind) for kind in REPLAYED_KINDS}
        self.replay_buffer = ReplayBuffer(f"{utc_ms(clock.utc()):x}")
        self.source = SourceStatus(False, "starting", clock.utc())

    def __repr__(self) -> str:
        return f"<Hub {len(self._subscribers)} readers of {len(self.upstream_subscriptions)} topics>"

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """All of them."""
        return tuple(self._subscribers)

    @property
    def counts(self) -> dict[str, int]:
        """How much goes on: readers, those that are behind, topics, contracts among them."""
        behind = sum(subscriber.is_lagging for subscriber in self._subscribers)
        quotes = len(self.upstream_subscriptions.of_kind(TopicKind.QUOTES))
        return {
            "readers": len(self._subscribers),
            "behind": behind,
            "topics": len(self.upstream_subscriptions),
            "quotes": quotes,
        }

    # -- readers

    def check_capacity(self) -> None:
        """See that one more may read.

        Raises:
            Busy: too many do.
        """
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise Busy(
                f"{MAX_SUBSCRIBERS} streams are being read", hint="read more in one stream, and close the others"
            )

    def add_subscriber(self, subscriber: Subscriber) -> None:
        """Somebody begins to read; where the source is away they are told so first."""
        self._subscribers[subscriber] = None
        subscriber.last_event = self.replay_buffer.number
        if subscriber.wants_source_events and not self.source.is_fresh:
            self._enqueue(subscriber, self._source_event)

    def subscribe(self, subscriber: Subscriber, subscribe: Subscribe, last: str | None = None) -> None:
        """Somebody wants a topic, or wants it differently.

        Args:
            last: the id of the last event of it that they had, if they had any.

        Raises:
            LineLimit: IBKR would not send it beside all that it sends already.
        """
        is_ours = subscribe.topic == SESSION_TOPIC
        subscription = self._session if is_ours else self.upstream_subscriptions.get_or_create(subscribe, subscriber)
        subscription.add(subscriber, subscribe, utc_ms(self._clock.utc()))
        if not is_ours:
            self.upstream_subscriptions.ensure(subscription)
        self._send_initial(subscriber, subscription, last)

    def unsubscribe(self, subscriber: Subscriber, unsubscribe: Unsubscribe) -> None:
        """Somebody wants no more of a topic, or of all that the target names."""
        for subscription in self.upstream_subscriptions.matching(unsubscribe):
            subscription.drop(subscriber, self._clock.now())

    def remove_subscriber(self, subscriber: Subscriber) -> None:
        """Somebody has left for good."""
        self._subscribers.pop(subscriber, None)
        for subscription in (self._session, *self.upstream_subscriptions):
            subscription.drop(subscriber, self._clock.now())

    def close_all(self, reason: str) -> None:
        """Nobody reads any more."""
        for subscriber in self.subscribers:
            subscriber.close(reason)

    def housekeep(self) -> None:
        """What time brings: for what IBKR is asked, and for those who read."""
        for poison in self.upstream_subscriptions.housekeep():
            self._on_refusal(
                poison, {"topic": poison.topic.name, "error": QUARANTINED_DETAIL, "code": "subscription_quarantined"}
            )
        self.close_invalid()

    def close_invalid(self) -> None:
        """End those who may not go on reading, and those who take nothing any more."""
        now = self._clock.now()
        for subscriber in self.subscribers:
            reason = subscriber.revocation_check() or (SLOW_CLIENT if subscriber.is_stuck(now) else None)
            if reason is not None:
                subscriber.close(reason)

    def schedule_flush(self) -> None:
        """Something waits to be written, or can be written now."""
        self._rounds.schedule()

    # -- the source

    def mark_fresh(self, tell: Callable[[str], None], user: str) -> None:
        """IBKR's socket stands: it is asked for everything again."""
        self._user = user
        self._set_source(SourceStatus(True, "ready", self._clock.utc()))
        self.upstream_subscriptions.on_socket_open(tell)

    def on_socket_closed(self, *, was_cut: bool) -> None:
        """Nothing that is said to IBKR from now on is heard."""
        self.upstream_subscriptions.on_socket_closed(was_cut=was_cut)

    def mark_stale(self, reason: str) -> None:
        """It does not stand; what is known gets old. Readers are told once, whatever the reason later proves to be."""
        self.on_socket_closed(was_cut=False)
        self._broadcast_messages.clear()
        if self.source.is_fresh:
            self._set_source(SourceStatus(False, reason, self._clock.utc()))
        else:
            self.source = SourceStatus(False, reason, self.source.since)

    def _set_source(self, source: SourceStatus) -> None:
        self.source = source
        self._send_to(
            self._source_event, (subscriber for subscriber in self._subscribers if subscriber.wants_source_events)
        )

    @property
    def _source_event(self) -> StreamEvent:
        """What is told about the source; to sockets that it is back as IBKR tells that one is connected."""
        source = self.source
        name, more = ("fresh", {"success": self._user}) if source.is_fresh else ("stale", {})
        return StreamEvent({"topic": "system", **more, name: source.as_row}, (("", source.as_row),), name)

    def greeting(self) -> list[Message]:
        """What a fresh socket is told first, as IBKR does."""
        if not self.source.is_fresh:
            return [{"message": "waiting for session"}]
        signed_in = {"topic": "sts", "args": {"authenticated": True}}
        return [{"topic": "system", "success": self._user}, *self._broadcast_messages.values(), signed_in]

    def on_message(self, message: Message) -> None:
        """IBKR said something."""
        topic = message.get("topic")
        subscription = self.upstream_subscriptions.by_name(
            f"smd+{message.get('conidEx')}"
        ) or self.upstream_subscriptions.by_name(topic)
        if "error" in message:
            self._on_refusal(subscription, message)
        elif subscription is not None:
            self._send_message(subscription, message)
        elif isinstance(topic, str) and topic in BROADCAST_TOPICS:
            if topic in REPEATED_TOPICS:
                self._broadcast_messages[topic] = message
            self.broadcast(message)
        else:
            self.upstream_subscriptions.end_unknown_chart(message)

    def _on_refusal(self, subscription: Subscription | None, message: Message) -> None:
        """IBKR says no: to those who wanted it, or to everybody where nobody knows to what."""
        if subscription is None:
            self.broadcast(message)
            return
        told = {name: value for name, value in message.items() if name != "topic"}
        self._send_to(StreamEvent(message, (("", told),), "problem"), subscription.subscribers)
        self.upstream_subscriptions.on_refusal(subscription)

    def broadcast(self, message: Message) -> None:
        """Tell every socket."""
        self._send_to(StreamEvent(message), self._subscribers)

    def _send_to(self, event: StreamEvent, subscribers: Iterable[Subscriber]) -> None:
        groups: dict[Encoding, list[Subscriber]] = {}
        for subscriber in subscribers:
            groups.setdefault(subscriber.encoding, []).append(subscriber)
        for group in groups.values():
            _fan_out(event, group, may_skip=False)
        self.schedule_flush()

    def on_session_change(self, told: Row) -> None:
        """The session is another one now."""
        self._send_message(self._session, {"topic": SESSION_TOPIC.name, **told})

    # -- telling

    def _send_message(self, subscription: Subscription, message: Message) -> None:
        """Tell a topic's readers, each what they want of it."""
        number = self.replay_buffer.next_id()
        subscription.on_message(message, self.replay_buffer.number, self._clock.now())
        kind = subscription.topic.kind
        if kind in REPLAYED_KINDS:
            news = self._seen[kind].unseen(subscription.merged_rows(message))
            self.replay_buffer.append(kind, news)
            if kind is TopicKind.TRADES and message.get("args"):
                message = {**message, "args": news}  # a list that IBKR was asked for anew tells no trade twice
                if not news:
                    return
        for event, subscribers in subscription.events_by_group(message, number):
            _fan_out(event, subscribers, may_skip=kind is TopicKind.QUOTES)
        self.schedule_flush()

    def _send_initial(self, subscriber: Subscriber, subscription: Subscription, last: str | None) -> None:
        """What a newcomer is told first: what they missed, or the whole picture."""
        kind = subscription.topic.kind
        missed = self.replay_buffer.since(kind, last) if last is not None else None
        if last is not None and kind in REPLAYED_KINDS and missed is None:
            self._enqueue(subscriber, StreamEvent({}, (("", {"after": last}),), "gap"))
        if missed is not None:
            self._enqueue(subscriber, StreamEvent({}, tuple(missed)))
        elif (event := subscription.full_event(subscriber, self.replay_buffer.last_id, self._clock.now())) is not None:
            self._enqueue(subscriber, event)

    def _enqueue(self, subscriber: Subscriber, event: StreamEvent) -> None:
        subscriber.enqueue(event)
        self.schedule_flush()

    def _flush_all(self) -> None:
        """One round: write to all who have something waiting and take it."""
        now = self._clock.now()
        for subscriber in self.subscribers:
            if subscriber.flush(now) and (not subscriber.is_lagging or self._catch_up(subscriber, now)):
                subscriber.last_event = self.replay_buffer.number

    def _catch_up(self, subscriber: Subscriber, now: float) -> bool:
        """What waited has been written; where more is taken, the newest picture of each quote that moved follows."""
        if not subscriber.sink.is_writable:
            return False
        subscriber.is_lagging = False
        for subscription in self.upstream_subscriptions.of_kind(TopicKind.QUOTES):
            if subscriber in subscription.subscribers and subscription.last_event > subscriber.last_event:
                event = subscription.full_event(subscriber, self.replay_buffer.last_id, now)
                if event is not None:
                    _fan_out(event, [subscriber], may_skip=True)
        return subscriber.flush(now)


def _fan_out(event: StreamEvent, subscribers: list[Subscriber], *, may_skip: bool) -> None:
    """Tell an event to readers of one form; who is behind does without quotes: the newest picture follows."""
    data = subscribers[0].encoding.encode(event)
    for subscriber in subscribers:
        if not may_skip:
            subscriber.enqueue_bytes(data)
        elif not subscriber.is_lagging:
            subscriber.quotes.append(data)
