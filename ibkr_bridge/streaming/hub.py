"""The hub: it receives every message of the feed and sends each subscriber its part.

A new subscriber gets the topic snapshot at once, then the changes. Nothing here waits, and no subscriber delays
another: slow ones are handled in `subscriber.py`. `upstream_subscriptions.py` decides what is requested from IBKR,
`upstream_feed.py` runs the websocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from ibkr_bridge.calls.shares import has_room
from ibkr_bridge.clock import Clock, utc_ms
from ibkr_bridge.errors import Busy
from ibkr_bridge.streaming.deduplication import SeenRows
from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind, Unsubscribe
from ibkr_bridge.streaming.replay_buffer import REPLAYED_KINDS, ReplayBuffer, Row
from ibkr_bridge.streaming.stale_reasons import TOPIC_SILENT, stale_text
from ibkr_bridge.streaming.subscriber import (
    SLOW_CLIENT,
    Encoding,
    FlushScheduler,
    StreamEvent,
    Subscriber,
    above_budget,
)
from ibkr_bridge.streaming.subscription import Subscription
from ibkr_bridge.streaming.upstream_subscriptions import QUARANTINED_DETAIL, UpstreamSubscriptions
from ibkr_bridge.streaming.views import Message

BROADCAST_TOPICS = frozenset({"act", "sts", "ntf", "blt", "error"})
"""Topics without a subscription: every websocket gets them."""
REPEATED_TOPICS = frozenset({"act"})
"""Topics whose last message a new websocket gets too."""
SESSION_TOPIC = Topic(TopicKind.SESSION)
MAX_SUBSCRIBERS = 256  # half of the connection limit, so that other requests such as /health still get a connection


@dataclass(frozen=True)
class SourceStatus:
    """Whether the streams are fresh, and if not, why and since when."""

    is_fresh: bool
    reason: str
    since: datetime

    @property
    def as_row(self) -> Row:
        """As subscribers get it."""
        return {"reason": self.reason, "since": self.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")}

    @property
    def as_event_row(self) -> Row:
        """As an event shows it: if it is stale, with a text for a person."""
        return self.as_row if self.is_fresh else {**self.as_row, "detail": stale_text(self.reason)}


class Hub:
    """The subscribers of one profile."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session = Subscription(SESSION_TOPIC)
        self._subscribers: dict[Subscriber, None] = {}
        self._broadcast_messages: dict[str, Message] = {}
        self._rounds = FlushScheduler(self._flush_all)
        self._user = ""
        self.upstream_subscriptions = UpstreamSubscriptions(clock)
        self.in_use = asyncio.Event()
        """Set while there is a subscriber, or a topic that is requested: else there is nothing to keep in order."""
        self._seen_rows = {kind: SeenRows(kind) for kind in REPLAYED_KINDS}
        self.replay_buffer = ReplayBuffer(f"{utc_ms(clock.utc()):x}")
        self.source = SourceStatus(False, "starting", clock.utc())

    def __repr__(self) -> str:
        return f"<Hub {len(self._subscribers)} subscribers of {len(self.upstream_subscriptions)} topics>"

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """All subscribers."""
        return tuple(self._subscribers)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of subscribers, of those that lag behind, of topics, and of silent ones and contracts."""
        behind = sum(subscriber.is_lagging for subscriber in self._subscribers)
        quotes = len(self.upstream_subscriptions.of_kind(TopicKind.QUOTES))
        return {
            "readers": len(self._subscribers),
            "behind": behind,
            "topics": len(self.upstream_subscriptions),
            "silent_topics": len(self.upstream_subscriptions.overdue()),
            "quotes": quotes,
        }

    # -- subscribers

    def check_capacity(self, *, has_reduced_share: bool = False) -> None:
        """Check that another subscriber may be added.

        Args:
            has_reduced_share: whether its key or token has a reduced share of the streams.

        Raises:
            Busy: there are too many.
        """
        holders = [each.has_reduced_share for each in self._subscribers]
        if not has_room(MAX_SUBSCRIBERS, holders, has_reduced_share=has_reduced_share):
            raise Busy(
                f"{len(holders)} streams are open",
                hint="subscribe to more topics in one stream, and close the others",
            )

    def add_subscriber(self, subscriber: Subscriber) -> None:
        """Add a subscriber; if the source is stale, it gets that event first."""
        self._subscribers[subscriber] = None
        self.in_use.set()
        subscriber.last_event = self.replay_buffer.number
        if subscriber.wants_source_events and not self.source.is_fresh:
            self._enqueue(subscriber, self._source_event)

    def subscribe(self, subscriber: Subscriber, subscribe: Subscribe, last: str | None = None) -> None:
        """Subscribe to a topic, or change the arguments of a subscription.

        Args:
            last: the id of the last event that the subscriber received, if any.

        Raises:
            MarketDataLimit: IBKR would not send it beside what it sends already.
        """
        is_ours = subscribe.topic == SESSION_TOPIC
        subscription = self._session if is_ours else self.upstream_subscriptions.get_or_create(subscribe, subscriber)
        subscription.add(subscriber, subscribe, utc_ms(self._clock.utc()))
        if not is_ours:
            self.upstream_subscriptions.ensure(subscription)
        if subscriber.wants_source_events and (since := subscription.silence.stale_since) is not None:
            self._enqueue(subscriber, _topic_event(subscription, SourceStatus(False, TOPIC_SILENT, since)))
        self._send_initial(subscriber, subscription, last)

    def unsubscribe(self, subscriber: Subscriber, unsubscribe: Unsubscribe) -> None:
        """End the subscriptions to all topics that the command names."""
        for subscription in self.upstream_subscriptions.matching(unsubscribe):
            subscription.drop(subscriber, self._clock.now())

    def remove_subscriber(self, subscriber: Subscriber) -> None:
        """Remove a subscriber and all its subscriptions."""
        self._subscribers.pop(subscriber, None)
        for subscription in (self._session, *self.upstream_subscriptions):
            subscription.drop(subscriber, self._clock.now())

    def close_all(self, reason: str) -> None:
        """Close all subscribers."""
        for subscriber in self.subscribers:
            subscriber.close(reason)

    def housekeep(self) -> None:
        """Do what is due now: renew and end subscriptions, and close invalid subscribers."""
        for quarantined in self.upstream_subscriptions.housekeep():
            self._on_refusal(
                quarantined,
                {"topic": quarantined.topic.name, "error": QUARANTINED_DETAIL, "code": "subscription_quarantined"},
            )
        self.close_invalid()
        for subscriber in above_budget(self.subscribers):
            subscriber.close(SLOW_CLIENT)
        if not self._subscribers and not self.upstream_subscriptions:
            self.in_use.clear()

    def close_invalid(self) -> None:
        """Close subscribers whose credential was revoked, and those that accept no data any more.

        Raises:
            ExceptionGroup: some could not be closed; the others are.
        """
        now, failures = self._clock.now(), []
        for subscriber in self.subscribers:
            reason = subscriber.revocation_check() or (SLOW_CLIENT if subscriber.is_stuck(now) else None)
            try:
                if reason is not None:
                    subscriber.close(reason)
            except Exception as exc:  # a revoked key must not read on because another stream cannot be closed
                failures.append(exc)
        if failures:
            raise ExceptionGroup("subscribers that could not be closed", failures)

    def schedule_flush(self) -> None:
        """Schedule a round of writing."""
        self._rounds.schedule()

    # -- the source

    def mark_fresh(self, tell: Callable[[str], None], user: str) -> None:
        """Mark the source fresh after IBKR has connected, and subscribe to everything again."""
        self._user = user
        self._set_source(SourceStatus(True, "ready", self._clock.utc()))
        self.upstream_subscriptions.on_socket_open(tell)

    def on_socket_closed(self, *, was_cut: bool) -> bool:
        """The feed's websocket has ended: no command can be sent to IBKR. Returns whether a request is suspected."""
        return self.upstream_subscriptions.on_socket_closed(was_cut=was_cut)

    def quote_row(self, conid: str, fields: Collection[str]) -> Row | None:
        """The latest quote of a contract that IBKR streams with all of these fields; None if there is none."""
        subscription = self.upstream_subscriptions.by_name(f"smd+{conid}")
        if subscription is None or not self.source.is_fresh or subscription.topic_snapshot.is_over:
            return None
        row = subscription.topic_snapshot.as_message()
        return row if all(field in row for field in fields) else None

    def mark_stale(self, reason: str) -> None:
        """Mark the source stale. Subscribers are notified once; later reasons only update the status."""
        self.on_socket_closed(was_cut=False)
        self._broadcast_messages.clear()
        if self.source.is_fresh:
            self._set_source(SourceStatus(False, reason, self._clock.utc()))
        else:
            self.source = SourceStatus(False, reason, self.source.since)

    def mark_topic_stale(self, subscription: Subscription) -> None:
        """Mark one topic stale, as IBKR does not answer it; all others are as fresh as before."""
        subscription.silence.stale_since = self._clock.utc()
        self._send_topic_status(subscription, SourceStatus(False, TOPIC_SILENT, subscription.silence.stale_since))

    def _mark_topic_fresh(self, subscription: Subscription) -> None:
        """Notify the subscribers of a stale topic that data comes again."""
        if subscription.silence.stale_since is not None:
            subscription.silence.stale_since = None
            self._send_topic_status(subscription, SourceStatus(True, "ready", self._clock.utc()))

    def _send_topic_status(self, subscription: Subscription, status: SourceStatus) -> None:
        listeners = (subscriber for subscriber in subscription.subscribers if subscriber.wants_source_events)
        self._send_to(_topic_event(subscription, status), listeners)

    def _set_source(self, source: SourceStatus) -> None:
        self.source = source
        self._send_to(
            self._source_event, (subscriber for subscriber in self._subscribers if subscriber.wants_source_events)
        )

    @property
    def _source_event(self) -> StreamEvent:
        """The event about the source; websockets get IBKR's own connect message when it is back."""
        source = self.source
        name, more = ("fresh", {"success": self._user}) if source.is_fresh else ("stale", {})
        return StreamEvent({"topic": "system", **more, name: source.as_event_row}, (("", source.as_event_row),), name)

    def greeting(self) -> list[Message]:
        """The first messages on a new websocket, as IBKR sends them."""
        if not self.source.is_fresh:
            return [{"message": "waiting for session"}]
        signed_in = {"topic": "sts", "args": {"authenticated": True}}
        return [{"topic": "system", "success": self._user}, *self._broadcast_messages.values(), signed_in]

    def on_message(self, message: Message) -> None:
        """Handle one message of IBKR."""
        topic = message.get("topic")
        subscription = self.upstream_subscriptions.by_name(
            f"smd+{message.get('conidEx')}"
        ) or self.upstream_subscriptions.by_name(topic)
        if "error" in message:
            self._on_refusal(subscription, message)
        elif subscription is not None:
            subscription.silence.on_answer()
            self._mark_topic_fresh(subscription)
            self._send_message(subscription, message)
        elif isinstance(topic, str) and topic in BROADCAST_TOPICS:
            if topic in REPEATED_TOPICS:
                self._broadcast_messages[topic] = message
            self.broadcast(message)
        else:
            self.upstream_subscriptions.end_unknown_chart(message)

    def on_rows_read(self, subscription: Subscription, rows: list[Row]) -> None:
        """Take all rows of a topic that IBKR does not answer from another source, and send those that are new."""
        self._mark_topic_fresh(subscription)
        new_rows = [row for row in rows if subscription.topic_snapshot.lacks(row)]
        if new_rows or subscription.topic_snapshot.is_over or subscription.topic_snapshot.is_empty:
            self._send_message(subscription, {"topic": subscription.topic.name, "args": new_rows})

    def _on_refusal(self, subscription: Subscription | None, message: Message) -> None:
        """IBKR refused something: tell the subscribers of the topic, or all if the topic is unknown."""
        if subscription is None:
            self.broadcast(message)
            return
        subscription.silence.on_answer()
        content = {name: value for name, value in message.items() if name != "topic"}
        self._send_to(StreamEvent(message, (("", content),), "problem"), subscription.subscribers)
        self.upstream_subscriptions.on_refusal(subscription)

    def broadcast(self, message: Message) -> None:
        """Send a message to every websocket."""
        self._send_to(StreamEvent(message), self._subscribers)

    def _send_to(self, event: StreamEvent, subscribers: Iterable[Subscriber]) -> None:
        groups: dict[Encoding, list[Subscriber]] = {}
        for subscriber in subscribers:
            groups.setdefault(subscriber.encoding, []).append(subscriber)
        for group in groups.values():
            _fan_out(event, group, may_skip=False)
        self.schedule_flush()

    def on_session_change(self, session_row: Row) -> None:
        """Send the new state of the session to the subscribers of its topic."""
        self._send_message(self._session, {"topic": SESSION_TOPIC.name, **session_row})

    # -- sending

    def _send_message(self, subscription: Subscription, message: Message) -> None:
        """Send a message to a topic's subscribers, to each the part that it requested."""
        number = self.replay_buffer.next_id()
        subscription.on_message(message, self.replay_buffer.number, self._clock.now())
        kind = subscription.topic.kind
        if kind in REPLAYED_KINDS:
            new_rows = self._seen_rows[kind].unseen(subscription.merged_rows(message))
            self.replay_buffer.append(kind, new_rows)
            if kind is TopicKind.TRADES and message.get("args"):
                message = {**message, "args": new_rows}  # a list that IBKR sends again contains no new trade
                if not new_rows:
                    return
        try:
            _fan_out_all(subscription.events_by_group(message, number), may_skip=kind is TopicKind.QUOTES)
        finally:
            self.schedule_flush()

    def _send_initial(self, subscriber: Subscriber, subscription: Subscription, last: str | None) -> None:
        """Send a new subscriber the events that it missed, or the topic snapshot."""
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
        """One round of writing to all subscribers that have queued data and accept it."""
        now = self._clock.now()
        for subscriber in self.subscribers:
            if subscriber.flush(now) and (not subscriber.is_lagging or self._catch_up(subscriber, now)):
                subscriber.last_event = self.replay_buffer.number

    def _catch_up(self, subscriber: Subscriber, now: float) -> bool:
        """After the queued data, send the latest snapshot of each changed quote, if the connection accepts more."""
        if not subscriber.sink.is_writable:
            return False
        subscriber.is_lagging = False
        for subscription in self.upstream_subscriptions.of_kind(TopicKind.QUOTES):
            if subscriber in subscription.subscribers and subscription.last_event > subscriber.last_event:
                event = subscription.full_event(subscriber, self.replay_buffer.last_id, now)
                if event is not None:
                    _fan_out(event, [subscriber], may_skip=True)
        return subscriber.flush(now)


def _topic_event(subscription: Subscription, status: SourceStatus) -> StreamEvent:
    """The event about one topic; its name in `topic` tells it from an event about the whole source."""
    row = {**status.as_event_row, "topic": subscription.topic.name}
    name = "fresh" if status.is_fresh else "stale"
    return StreamEvent({"topic": "system", name: row}, (("", row),), name)


def _fan_out_all(groups: Iterable[tuple[StreamEvent, list[Subscriber]]], *, may_skip: bool) -> None:
    """Queue an event for each group. One that cannot be encoded for a group is raised after the others have theirs."""
    failure: Exception | None = None
    for event, subscribers in groups:
        try:
            _fan_out(event, subscribers, may_skip=may_skip)
        except Exception as exc:
            failure = exc
    if failure is not None:
        raise failure


def _fan_out(event: StreamEvent, subscribers: list[Subscriber], *, may_skip: bool) -> None:
    """Queue an event for subscribers of one encoding; one that lags behind gets no quotes, but the latest snapshot
    later.
    """
    data = subscribers[0].encoding.encode(event)
    for subscriber in subscribers:
        if not may_skip:
            subscriber.enqueue_bytes(data)
        elif not subscriber.is_lagging:
            subscriber.quotes.append(data)
