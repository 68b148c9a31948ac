"""The subscriptions at IBKR: every topic is requested once, with the merged arguments of its subscribers.

The first subscriber of a topic starts the request; 5 s after the last one has left, the topic is ended. Quotes are
requested again before IBKR drops them, and everything is on a new websocket. How much IBKR sends at a time is limited;
a subscription beyond that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ibkr_bridge.calls.shares import has_room, reduced_capacity
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BadRequest, MarketDataLimit
from ibkr_bridge.streaming import quarantine
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES, MarketDataLineUsage
from ibkr_bridge.streaming.protocol import (
    MAX_FIELDS,
    Subscribe,
    Topic,
    TopicKind,
    Unsubscribe,
    merge_args,
    subscribe_text,
    unsubscribe_text,
)
from ibkr_bridge.streaming.replay_buffer import REPLAYED_KINDS
from ibkr_bridge.streaming.snapshot import TopicSnapshot
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.subscription import Subscription
from ibkr_bridge.streaming.topic_silence import TopicSilence
from ibkr_bridge.streaming.views import is_covered

UNUSED_GRACE_S = 5.0  # how long a topic without subscribers is kept: pages are reloaded, programs restarted
RENEW_AFTER_S = 540.0  # seconds; IBKR drops quotes after fifteen minutes, and its users consider ten as safe
MAX_BY_KIND: Mapping[TopicKind, int] = {
    TopicKind.QUOTES: MAX_MARKET_DATA_LINES,
    TopicKind.HISTORY: 5,  # IBKR's own limit
    TopicKind.LADDER: 20,  # from here on our own limits: no user has so many accounts, and a loop must hit a limit
    TopicKind.SUMMARY: 100,
    TopicKind.LEDGER: 100,
}
CHART_PREFIX = "smh+"
QUARANTINE_S = 600.0  # seconds
QUARANTINED_DETAIL = (
    "the Gateway ends the stream whenever this is requested; the response is too long, such as a chart of many candles"
)
BARRED_DETAIL = "charts that were requested with this key ended the stream of all callers again and again"
SendText = Callable[[str], None]


class UpstreamSubscriptions:
    """The topics that are requested from IBKR."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[Topic, Subscription] = {}
        self._by_name: dict[str, Subscription] = {}
        self._send_text: SendText | None = None
        self._topic_snapshots: dict[Topic, TopicSnapshot] = {}
        """The snapshots of orders and trades, also while they have no subscriber."""
        self._quarantined_until: dict[Topic, float] = {}
        """Topics that end the feed, and until when they are not requested, in seconds of the clock."""
        self._cuts = quarantine.CutCounter()
        self._pending_releases: dict[str, None] = {}
        """Contracts whose market data lines have to be released when the feed is open again."""
        self.line_usage = MarketDataLineUsage(self.release_market_data_line)

    def __repr__(self) -> str:
        return f"<UpstreamSubscriptions for {len(self._topics)} topics>"

    def __len__(self) -> int:
        return len(self._topics)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._topics.values()))

    def by_name(self, name: object) -> Subscription | None:
        """The topic with this name in IBKR's messages."""
        return self._by_name.get(name) if isinstance(name, str) else None

    def of_kind(self, kind: TopicKind) -> list[Subscription]:
        """All topics of a kind."""
        return [each for topic, each in self._topics.items() if topic.kind is kind]

    def matching(self, unsubscribe: Unsubscribe) -> list[Subscription]:
        """The topics that an unsubscribe command names."""
        kind, target = unsubscribe.kind, unsubscribe.target
        return [each for each in self.of_kind(kind) if target in _unsubscribe_targets(kind, each)]

    @property
    def reduced_conids(self) -> frozenset[str]:
        """The contracts whose quotes only subscribers with a reduced share read."""
        quotes = self.of_kind(TopicKind.QUOTES)
        return frozenset(each.topic.conid for each in quotes if each.subscribers and each.has_reduced_share)

    @property
    def streamed_conids(self) -> frozenset[str]:
        """The contracts whose quotes IBKR sends."""
        return frozenset(each.topic.conid for each in self.of_kind(TopicKind.QUOTES))

    def overdue(self) -> list[Subscription]:
        """The topics that IBKR has not answered in time."""
        now = self._clock.now()
        return [each for each in self if each.silence.is_overdue(now)]

    def repeat_request(self, subscription: Subscription) -> None:
        """Send the request for a silent topic once more, if that is due."""
        if subscription.silence.is_repeat_due(self._clock.now(), subscription.requested_at):
            self._subscribe(subscription)

    # -- limits

    def check_capacity(self, requested: Iterable[Subscribe], *, has_reduced_share: bool = False) -> None:
        """Check that all of them fit, so that none is opened if one does not.

        Args:
            has_reduced_share: whether their subscriber takes market data only within the reduced share.

        Raises:
            MarketDataLimit: they do not fit.
        """
        quotes = [subscribe for subscribe in requested if subscribe.topic.kind is TopicKind.QUOTES]
        read = {each.topic: each.has_reduced_share for each in self.of_kind(TopicKind.QUOTES) if each.subscribers}
        new = dict.fromkeys((each.topic for each in quotes if each.topic not in read), has_reduced_share)
        taken = [*read.values(), *new.values()]
        if new and not has_room(MAX_MARKET_DATA_LINES, taken[:-1], has_reduced_share=has_reduced_share):
            raise MarketDataLimit(f"IBKR sends {MAX_MARKET_DATA_LINES} contracts at a time, and {len(read)} are in use")
        for subscribe in quotes:
            self._check_quarantine(subscribe.topic)
            self._check_fields(subscribe, None)

    def _check_quarantine(self, topic: Topic) -> None:
        if self._clock.now() < self._quarantined_until.get(topic, float("-inf")):
            raise BadRequest(
                QUARANTINED_DETAIL,
                hint="request a smaller response; the bridge requests this topic again after "
                f"{QUARANTINE_S / 60:.0f} minutes",
            )
        self._quarantined_until.pop(topic, None)

    def _check_fields(self, subscribe: Subscribe, subscriber: Subscriber | None) -> None:
        there = self._topics.get(subscribe.topic)
        others = [other.args for each, other in there.subscribers.items() if each is not subscriber] if there else []
        if subscribe.topic.kind is not TopicKind.QUOTES:
            return
        reduced = [other.args for each, other in there.subscribers.items() if each.has_reduced_share] if there else []
        has_reduced_share = subscriber is not None and subscriber.has_reduced_share
        too_many = _field_count([*others, subscribe.args]) > MAX_FIELDS or (
            has_reduced_share and _field_count([*reduced, subscribe.args]) > reduced_capacity(MAX_FIELDS)
        )
        if too_many:
            raise MarketDataLimit(f"IBKR sends {MAX_FIELDS} fields of a contract, for all subscribers together")

    def free_market_data_lines(self, conids: Iterable[str]) -> None:
        """End quotes without subscribers if their market data lines are needed for these contracts."""
        wanted = set(conids)
        idle = [
            each for each in self.of_kind(TopicKind.QUOTES) if not each.subscribers and each.topic.conid not in wanted
        ]
        for each in idle:
            if len(self.streamed_conids | wanted) > MAX_MARKET_DATA_LINES:
                self._close(each)

    def get_or_create(self, subscribe: Subscribe, subscriber: Subscriber) -> Subscription:
        """Return the subscription of a topic, creating it if needed.

        Raises:
            MarketDataLimit: IBKR would not send it beside what it sends already.
        """
        self._check_quarantine(subscribe.topic)
        self._check_charts_of(subscriber, subscribe.topic)
        self._check_fields(subscribe, subscriber)
        existing = self._topics.get(subscribe.topic)
        if existing is not None and self._replaces_chart(existing, subscribe, subscriber):
            self._close(existing)
            existing = None
        if existing is not None:
            return existing
        self._check_capacity_for(subscribe.topic, subscriber)
        new_subscription = Subscription(subscribe.topic, self._topic_snapshots.get(subscribe.topic))
        if subscribe.topic.kind in REPLAYED_KINDS:
            self._topic_snapshots[subscribe.topic] = new_subscription.topic_snapshot
            new_subscription.topic_snapshot.mark_stale()
        self._topics[subscribe.topic] = self._by_name[subscribe.topic.name] = new_subscription
        return new_subscription

    def _replaces_chart(self, existing: Subscription, subscribe: Subscribe, subscriber: Subscriber) -> bool:
        if subscribe.topic.kind is not TopicKind.HISTORY:
            return False
        if any(each is not subscriber and other.args != subscribe.args for each, other in existing.subscribers.items()):
            raise MarketDataLimit(
                "another chart of this contract is open, and IBKR identifies a chart by its contract only"
            )
        return existing.requested_args not in (None, subscribe.args)

    def _check_charts_of(self, subscriber: Subscriber, topic: Topic) -> None:
        """Refuse another chart to a key whose requests have ended the feed again and again."""
        if topic.kind is TopicKind.HISTORY and self._cuts.is_barred(subscriber, self._clock.now(), QUARANTINE_S):
            raise BadRequest(BARRED_DETAIL, hint=f"try again in {QUARANTINE_S / 60:.0f} minutes, with fewer candles")

    def _check_capacity_for(self, topic: Topic, subscriber: Subscriber) -> None:
        max_count, existing = MAX_BY_KIND.get(topic.kind), self.of_kind(topic.kind)
        if max_count is not None:
            holders = [each.has_reduced_share for each in existing if each.subscribers]
            if not has_room(max_count, holders, has_reduced_share=subscriber.has_reduced_share):
                raise MarketDataLimit(f"IBKR sends {max_count} of these at a time, and as many are in use")
            idle = next((each for each in existing if not each.subscribers), None)
            if idle is not None and len(existing) >= max_count:
                self._close(idle)
        if topic.kind is TopicKind.QUOTES:
            self.line_usage.reserve_for_streams(self.streamed_conids | {topic.conid})

    # -- requests

    def ensure(self, subscription: Subscription) -> None:
        """Request a topic, unless the last request covers all that is needed, or it is suspected."""
        if subscription.suspicion:
            return
        wanted = subscription.merged_args(drop_unused=False)
        if subscription.requested_args is None or not is_covered(subscription.requested_args, wanted):
            self._subscribe(subscription)

    def on_socket_open(self, send_text: SendText) -> None:
        """A new websocket is connected: request everything again."""
        self._send_text = send_text
        pending, self._pending_releases = self._pending_releases, {}
        for conid in pending:
            self.release_market_data_line(conid)
        for subscription in self:
            subscription.topic_snapshot.mark_stale()
            subscription.requested_args, subscription.chart_id = None, ""
            subscription.silence = TopicSilence(subscription.topic.kind)
            if not subscription.subscribers:
                self._close(subscription)
            elif not subscription.suspicion:
                self._subscribe(subscription)

    def on_socket_closed(self, *, was_cut: bool) -> bool:
        """The websocket has ended; if it was cut, a topic that was just requested may be the reason.

        Returns:
            Whether such a topic is suspected.
        """
        is_end, self._send_text = self._send_text is not None, None
        for subscription in self:
            subscription.silence = TopicSilence(subscription.topic.kind)  # from now on the whole source is stale
        suspects = quarantine.suspect_recent(self, self._clock.now()) if is_end and was_cut else []
        self._cuts.record(suspects, self._clock.now())
        return bool(suspects)

    def reset_session(self) -> None:
        """A new session has no market data lines."""
        self.line_usage.reset_session()
        self._pending_releases.clear()
        for subscription in self:
            subscription.holds_market_data_line = False

    def housekeep(self) -> list[Subscription]:
        """Renew quotes that IBKR would drop, end topics without subscribers, and retry suspected ones.

        Returns:
            Topics that end the feed each time; their subscribers must be notified.
        """
        now = self._clock.now()
        for subscription in self:
            if subscription.unused_since is not None and now - subscription.unused_since >= UNUSED_GRACE_S:
                self._close(subscription)
            elif _is_due(subscription, now):
                self._subscribe(subscription, drop_unused=True)
        if self._send_text is not None and (suspect := quarantine.next_to_retry(self, now)) is not None:
            self._subscribe(suspect)
        return quarantine.quarantined(self)

    def release_market_data_line(self, conid: str) -> None:
        """Release a market data line that only calls opened; if the feed is closed, when it is open again."""
        topic = Topic(TopicKind.QUOTES, conid)
        if self._send_text is None:
            self._pending_releases[conid] = None
        elif topic.conid not in self.streamed_conids:
            self._send_text(unsubscribe_text(topic))

    def end_unknown_chart(self, message: Mapping[str, object]) -> None:
        """End a chart without subscribers whose id was not known until now."""
        topic, server = message.get("topic"), message.get("serverId")
        if (
            isinstance(topic, str)
            and topic.startswith(CHART_PREFIX)
            and isinstance(server, str)
            and self._send_text is not None
        ):
            self._send_text(unsubscribe_text(Topic(TopicKind.HISTORY, topic.removeprefix(CHART_PREFIX)), server))

    def on_refusal(self, subscription: Subscription) -> None:
        """Close a refused topic: a chart frees its place among the five, and a topic that ends the feed is
        quarantined.
        """
        if subscription.suspicion:
            self._quarantined_until[subscription.topic] = self._clock.now() + QUARANTINE_S
        if subscription.suspicion or (subscription.topic.kind is TopicKind.HISTORY and not subscription.chart_id):
            subscription.requested_args = None
            self._close(subscription)

    def _subscribe(self, subscription: Subscription, *, drop_unused: bool = False) -> None:
        if self._send_text is None or not subscription.subscribers:
            return
        subscription.requested_args = subscription.merged_args(drop_unused=drop_unused)
        subscription.requested_at = self._clock.now()
        subscription.is_answered, subscription.holds_market_data_line = False, True
        subscription.silence.on_request(self._clock.now())
        if fields := subscription.requested_args.get("fields") if subscription.topic.kind is TopicKind.QUOTES else None:
            subscription.topic_snapshot.set_fields(fields)
        self._send_text(subscribe_text(subscription.topic, subscription.requested_args))

    def _close(self, subscription: Subscription) -> None:
        topic = subscription.topic
        del self._topics[topic], self._by_name[topic.name]
        if (
            topic.kind is TopicKind.QUOTES
            and subscription.holds_market_data_line
            and (self._send_text is None or subscription.requested_args is None)
        ):
            self.release_market_data_line(topic.target)
            return
        if subscription.requested_args is None or (topic.kind is TopicKind.HISTORY and not subscription.chart_id):
            return  # it was not requested, or its id is not known yet
        if self._send_text is not None:
            self._send_text(unsubscribe_text(topic, subscription.chart_id))
        for other in self._topics_ended_with(topic):
            self._subscribe(other)

    def _topics_ended_with(self, topic: Topic) -> list[Subscription]:
        """Topics that IBKR may have ended together with this one: all ladders of an account, a contract's other
        exchanges.
        """
        if topic.kind is TopicKind.LADDER:
            return self.matching(Unsubscribe(TopicKind.LADDER, topic.account))
        return [
            each
            for each in self.of_kind(topic.kind)
            if topic.kind is TopicKind.QUOTES and each.topic.conid == topic.conid
        ]


def _is_due(subscription: Subscription, now: float) -> bool:
    """Whether IBKR will soon drop it."""
    is_asked = subscription.topic.kind is TopicKind.QUOTES and subscription.requested_args is not None
    return is_asked and now - subscription.requested_at >= RENEW_AFTER_S


def _unsubscribe_targets(kind: TopicKind, subscription: Subscription) -> Iterable[str]:
    """The targets of an unsubscribe command that mean this topic."""
    topic = subscription.topic
    if kind is TopicKind.HISTORY:
        return subscription.chart_ids
    return (topic.account if kind is TopicKind.LADDER else topic.target,)


def _field_count(requested: list[Mapping[str, object]]) -> int:
    """How many fields of a quote IBKR must send for all of these requests together."""
    return len(merge_args(TopicKind.QUOTES, requested).get("fields") or ())
