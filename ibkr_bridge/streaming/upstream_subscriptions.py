"""What IBKR is asked for: every topic somebody reads, once, with what all of its readers want.

The first reader of a topic has IBKR asked, the last one who leaves has it told, after a moment's grace. Quotes are
asked for again before IBKR forgets them, and everything is when the socket is a new one. How much IBKR sends at a time
is limited; who wants more than that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

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
from ibkr_bridge.streaming.views import is_covered

UNUSED_GRACE_S = 5.0  # seconds for which IBKR goes on sending what nobody reads: pages are reloaded, programs restarted
RENEW_AFTER_S = 540.0  # seconds; IBKR forgets quotes after fifteen minutes, and ten is what its users take for safe
MAX_BY_KIND: Mapping[TopicKind, int] = {
    TopicKind.QUOTES: MAX_MARKET_DATA_LINES,
    TopicKind.HISTORY: 5,  # IBKR's own limit
    TopicKind.LADDER: 20,  # those below are ours: nobody has so many accounts, and a loop must end somewhere
    TopicKind.SUMMARY: 100,
    TopicKind.LEDGER: 100,
}
CHART_PREFIX = "smh+"
QUARANTINE_S = 600.0  # seconds
QUARANTINED_DETAIL = (
    "the Gateway ends the stream whenever this is asked for; its answer is too long, as a chart of many candles is"
)
SendText = Callable[[str], None]


class UpstreamSubscriptions:
    """The topics IBKR is asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[Topic, Subscription] = {}
        self._by_name: dict[str, Subscription] = {}
        self._tell: SendText | None = None
        self._topic_snapshots: dict[Topic, TopicSnapshot] = {}
        """What is known of orders and trades, also while nobody reads them."""
        self._quarantined_until: dict[Topic, float] = {}
        """Topics that end the socket, and until when they are not asked for, seconds of the clock."""
        self._pending_releases: dict[str, None] = {}
        """Contracts whose lines are to be given back when something can be told again."""
        self.line_usage = MarketDataLineUsage(self.release_market_data_line)

    def __repr__(self) -> str:
        return f"<UpstreamSubscriptions for {len(self._topics)} topics>"

    def __len__(self) -> int:
        return len(self._topics)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._topics.values()))

    def by_name(self, name: object) -> Subscription | None:
        """The topic that IBKR's messages name so."""
        return self._by_name.get(name) if isinstance(name, str) else None

    def of_kind(self, kind: TopicKind) -> list[Subscription]:
        """All topics of a kind."""
        return [each for topic, each in self._topics.items() if topic.kind is kind]

    def matching(self, leave: Unsubscribe) -> list[Subscription]:
        """The topics that one who wants no more means."""
        return [each for each in self.of_kind(leave.kind) if leave.target in _unsubscribe_targets(leave.kind, each)]

    @property
    def streamed_conids(self) -> frozenset[str]:
        """The contracts whose quotes IBKR sends."""
        return frozenset(each.topic.conid for each in self.of_kind(TopicKind.QUOTES))

    # -- room

    def check_capacity(self, wishes: Iterable[Subscribe]) -> None:
        """See that there is room for all of them, so that none is opened where one has none.

        Raises:
            LineLimit: there is not.
        """
        told = [subscribe for subscribe in wishes if subscribe.topic.kind is TopicKind.QUOTES]
        read = {each.topic for each in self.of_kind(TopicKind.QUOTES) if each.subscribers}
        if len({subscribe.topic for subscribe in told} | read) > MAX_MARKET_DATA_LINES:
            raise MarketDataLimit(
                f"IBKR sends {MAX_MARKET_DATA_LINES} contracts at a time, and {len(read)} are being read"
            )
        for subscribe in told:
            self._check_quarantine(subscribe.topic)
            self._check_fields(subscribe, None)

    def _check_quarantine(self, topic: Topic) -> None:
        if self._clock.now() < self._quarantined_until.get(topic, float("-inf")):
            raise BadRequest(
                QUARANTINED_DETAIL,
                hint=f"ask for less of it; this is tried again after {QUARANTINE_S / 60:.0f} minutes",
            )
        self._quarantined_until.pop(topic, None)

    def _check_fields(self, subscribe: Subscribe, subscriber: Subscriber | None) -> None:
        there = self._topics.get(subscribe.topic)
        others = [other.args for each, other in there.subscribers.items() if each is not subscriber] if there else []
        fields = (
            merge_args(subscribe.topic.kind, [*others, subscribe.args]).get("fields")
            if subscribe.topic.kind is TopicKind.QUOTES
            else ()
        )
        if fields and len(fields) > MAX_FIELDS:
            raise MarketDataLimit(f"IBKR sends {MAX_FIELDS} fields of a contract, all readers together")

    def free_market_data_lines(self, conids: Iterable[str]) -> None:
        """End quotes that nobody reads any more where their lines are needed for these contracts."""
        wanted = set(conids)
        idle = [
            each for each in self.of_kind(TopicKind.QUOTES) if not each.subscribers and each.topic.conid not in wanted
        ]
        for each in idle:
            if len(self.streamed_conids | wanted) > MAX_MARKET_DATA_LINES:
                self._close(each)

    def get_or_create(self, subscribe: Subscribe, subscriber: Subscriber) -> Subscription:
        """The topic of a wish, whether anybody has it already or not.

        Raises:
            LineLimit: IBKR would not send it beside all that it sends already.
        """
        self._check_quarantine(subscribe.topic)
        self._check_fields(subscribe, subscriber)
        found = self._topics.get(subscribe.topic)
        if found is not None and self._replaces_chart(found, subscribe, subscriber):
            self._close(found)
            found = None
        if found is not None:
            return found
        self._check_capacity_for(subscribe.topic)
        opened = Subscription(subscribe.topic, self._topic_snapshots.get(subscribe.topic))
        if subscribe.topic.kind in REPLAYED_KINDS:
            self._topic_snapshots[subscribe.topic] = opened.topic_snapshot
            opened.topic_snapshot.mark_stale()
        self._topics[subscribe.topic] = self._by_name[subscribe.topic.name] = opened
        return opened

    def _replaces_chart(self, there: Subscription, subscribe: Subscribe, subscriber: Subscriber) -> bool:
        if subscribe.topic.kind is not TopicKind.HISTORY:
            return False
        if any(each is not subscriber and other.args != subscribe.args for each, other in there.subscribers.items()):
            raise MarketDataLimit(
                "another chart of this contract is being sent, and IBKR tells two by their contract alone"
            )
        return there.requested_args not in (None, subscribe.args)

    def _check_capacity_for(self, topic: Topic) -> None:
        most, there = MAX_BY_KIND.get(topic.kind), self.of_kind(topic.kind)
        if most is not None and len(there) >= most:
            idle = next((each for each in there if not each.subscribers), None)
            if idle is None:
                raise MarketDataLimit(f"IBKR sends {most} of these at a time, and as many are being read")
            self._close(idle)
        if topic.kind is TopicKind.QUOTES:
            self.line_usage.reserve_for_streams(self.streamed_conids | {topic.conid})

    # -- asking

    def ensure(self, subscription: Subscription) -> None:
        """Ask for a topic, unless what was asked for brings all that is wanted, or it is under suspicion."""
        if subscription.suspicion:
            return
        wanted = subscription.merged_args(anew=False)
        if subscription.requested_args is None or not is_covered(subscription.requested_args, wanted):
            self._subscribe(subscription)

    def on_socket_open(self, tell: SendText) -> None:
        """A new socket stands, which knows of nothing."""
        self._tell = tell
        owed, self._pending_releases = self._pending_releases, {}
        for conid in owed:
            self.release_market_data_line(conid)
        for subscription in self:
            subscription.topic_snapshot.mark_stale()
            subscription.requested_args, subscription.chart_id = None, ""
            if not subscription.subscribers:
                self._close(subscription)
            elif not subscription.suspicion:
                self._subscribe(subscription)

    def on_socket_closed(self, *, was_cut: bool) -> None:
        """Nothing can be asked for; where the socket was cut, what it was just asked for may have been the reason."""
        is_end, self._tell = self._tell is not None, None
        if is_end and was_cut:
            quarantine.suspect_recent(self, self._clock.now())

    def reset_session(self) -> None:
        """Another session has no lines."""
        self.line_usage.reset_session()
        self._pending_releases.clear()
        for subscription in self:
            subscription.holds_market_data_line = False

    def housekeep(self) -> list[Subscription]:
        """Renew what IBKR would forget, end what nobody has wanted for a while, try what is under suspicion.

        Returns:
            Topics that end the socket each time: their readers have to be told.
        """
        now = self._clock.now()
        for subscription in self:
            if subscription.unused_since is not None and now - subscription.unused_since >= UNUSED_GRACE_S:
                self._close(subscription)
            elif _is_due(subscription, now):
                self._subscribe(subscription, anew=True)
        if self._tell is not None and (suspect := quarantine.next_to_retry(self, now)) is not None:
            self._subscribe(suspect)
        return quarantine.quarantined(self)

    def release_market_data_line(self, conid: str) -> None:
        """Give a line back that only calls opened; later, where nothing can be told now."""
        topic = Topic(TopicKind.QUOTES, conid)
        if self._tell is None:
            self._pending_releases[conid] = None
        elif topic.conid not in self.streamed_conids:
            self._tell(unsubscribe_text(topic))

    def end_unknown_chart(self, message: Mapping[str, object]) -> None:
        """A chart that nobody has any more, and whose id is known only now."""
        topic, server = message.get("topic"), message.get("serverId")
        if (
            isinstance(topic, str)
            and topic.startswith(CHART_PREFIX)
            and isinstance(server, str)
            and self._tell is not None
        ):
            self._tell(unsubscribe_text(Topic(TopicKind.HISTORY, topic.removeprefix(CHART_PREFIX)), server))

    def on_refusal(self, subscription: Subscription) -> None:
        """A topic that is not sent: a chart takes none of its five places; what ends the socket is asked no more."""
        if subscription.suspicion:
            self._quarantined_until[subscription.topic] = self._clock.now() + QUARANTINE_S
        if subscription.suspicion or (subscription.topic.kind is TopicKind.HISTORY and not subscription.chart_id):
            subscription.requested_args = None
            self._close(subscription)

    def _subscribe(self, subscription: Subscription, *, anew: bool = False) -> None:
        if self._tell is None or not subscription.subscribers:
            return
        subscription.requested_args, subscription.requested_at = subscription.merged_args(anew=anew), self._clock.now()
        subscription.is_answered, subscription.holds_market_data_line = False, True
        if fields := subscription.requested_args.get("fields") if subscription.topic.kind is TopicKind.QUOTES else None:
            subscription.topic_snapshot.set_fields(fields)
        self._tell(subscribe_text(subscription.topic, subscription.requested_args))

    def _close(self, subscription: Subscription) -> None:
        topic = subscription.topic
        del self._topics[topic], self._by_name[topic.name]
        if (
            topic.kind is TopicKind.QUOTES
            and subscription.holds_market_data_line
            and (self._tell is None or subscription.requested_args is None)
        ):
            self.release_market_data_line(topic.target)
            return
        if subscription.requested_args is None or (topic.kind is TopicKind.HISTORY and not subscription.chart_id):
            return  # IBKR knows nothing of it, or the id is yet to come
        if self._tell is not None:
            self._tell(unsubscribe_text(topic, subscription.chart_id))
        for other in self._topics_ended_with(topic):
            self._subscribe(other)

    def _topics_ended_with(self, topic: Topic) -> list[Subscription]:
        """What IBKR may have ended together with a topic: all ladders of an account, a contract's other exchanges."""
        if topic.kind is TopicKind.LADDER:
            return self.matching(Unsubscribe(TopicKind.LADDER, topic.account))
        return [
            each
            for each in self.of_kind(topic.kind)
            if topic.kind is TopicKind.QUOTES and each.topic.conid == topic.conid
        ]


def _is_due(subscription: Subscription, now: float) -> bool:
    """Whether IBKR will soon forget it."""
    is_asked = subscription.topic.kind is TopicKind.QUOTES and subscription.requested_args is not None
    return is_asked and now - subscription.requested_at >= RENEW_AFTER_S


def _unsubscribe_targets(kind: TopicKind, subscription: Subscription) -> Iterable[str]:
    """What the target of a leave of this kind may be for a topic."""
    topic = subscription.topic
    if kind is TopicKind.HISTORY:
        return subscription.chart_ids
    return (topic.account if kind is TopicKind.LADDER else topic.target,)
