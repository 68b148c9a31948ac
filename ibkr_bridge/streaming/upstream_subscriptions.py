"""What IBKR is asked for: every topic somebody reads, once, with what all of its readers want.

The first reader of a topic has IBKR asked, the last one who leaves has it told, after a moment's grace. Quotes are
asked for again before IBKR forgets them, and everything is when the socket is a new one. How much IBKR sends at a time
is limited; who wants more than that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BadRequest, LineLimit
from ibkr_bridge.streaming import quarantine
from ibkr_bridge.streaming.market_data_lines import MOST_LINES, Lines
from ibkr_bridge.streaming.protocol import MOST_FIELDS, Kind, Leave, Topic, Wish, asks, ends, joined
from ibkr_bridge.streaming.replay_buffer import KEPT
from ibkr_bridge.streaming.snapshot import Picture
from ibkr_bridge.streaming.subscriber import Reader
from ibkr_bridge.streaming.subscription import Subscription
from ibkr_bridge.streaming.views import is_covered

GRACE = 5.0  # seconds for which IBKR goes on sending what nobody reads: pages are reloaded, programs restarted
RENEW_AFTER = 540.0  # seconds; IBKR forgets quotes after fifteen minutes, and ten is what its users take for safe
MOST: Mapping[Kind, int] = {
    Kind.QUOTES: MOST_LINES,
    Kind.HISTORY: 5,  # IBKR's own limit
    Kind.LADDER: 20,  # those below are ours: nobody has so many accounts, and a loop must end somewhere
    Kind.SUMMARY: 100,
    Kind.LEDGER: 100,
}
CHART = "smh+"
BANNED_FOR = 600.0  # seconds
POISON = "the Gateway ends the stream whenever this is asked for; its answer is too long, as a chart of many candles is"
Tell = Callable[[str], None]


class Asking:
    """The topics IBKR is asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[Topic, Subscription] = {}
        self._by_name: dict[str, Subscription] = {}
        self._tell: Tell | None = None
        self._kept: dict[Topic, Picture] = {}
        """What is known of orders and trades, also while nobody reads them."""
        self._banned: dict[Topic, float] = {}
        """Topics that end the socket, and until when they are not asked for, seconds of the clock."""
        self._owed: dict[str, None] = {}
        """Contracts whose lines are to be given back when something can be told again."""
        self.lines = Lines(self.free)

    def __repr__(self) -> str:
        return f"<Asking for {len(self._topics)} topics>"

    def __len__(self) -> int:
        return len(self._topics)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._topics.values()))

    def named(self, name: object) -> Subscription | None:
        """The topic that IBKR's messages name so."""
        return self._by_name.get(name) if isinstance(name, str) else None

    def of(self, kind: Kind) -> list[Subscription]:
        """All topics of a kind."""
        return [each for topic, each in self._topics.items() if topic.kind is kind]

    def meant(self, leave: Leave) -> list[Subscription]:
        """The topics that one who wants no more means."""
        return [each for each in self.of(leave.kind) if leave.target in _names_of(leave.kind, each)]

    @property
    def streamed(self) -> frozenset[str]:
        """The contracts whose quotes IBKR sends."""
        return frozenset(each.topic.conid for each in self.of(Kind.QUOTES))

    # -- room

    def check_room(self, wishes: Iterable[Wish]) -> None:
        """See that there is room for all of them, so that none is opened where one has none.

        Raises:
            LineLimit: there is not.
        """
        told = [wish for wish in wishes if wish.topic.kind is Kind.QUOTES]
        read = {each.topic for each in self.of(Kind.QUOTES) if each.readers}
        if len({wish.topic for wish in told} | read) > MOST_LINES:
            raise LineLimit(f"IBKR sends {MOST_LINES} contracts at a time, and {len(read)} are being read")
        for wish in told:
            self._check_ban(wish.topic)
            self._check_fields(wish, None)

    def _check_ban(self, topic: Topic) -> None:
        if self._clock.now() < self._banned.get(topic, float("-inf")):
            raise BadRequest(
                POISON, hint=f"ask for less of it; this is tried again after {BANNED_FOR / 60:.0f} minutes"
            )
        self._banned.pop(topic, None)

    def _check_fields(self, wish: Wish, reader: Reader | None) -> None:
        there = self._topics.get(wish.topic)
        others = [other.args for each, other in there.readers.items() if each is not reader] if there else []
        fields = joined(wish.topic.kind, [*others, wish.args]).get("fields") if wish.topic.kind is Kind.QUOTES else ()
        if fields and len(fields) > MOST_FIELDS:
            raise LineLimit(f"IBKR sends {MOST_FIELDS} fields of a contract, all readers together")

    def make_room(self, conids: Iterable[str]) -> None:
        """End quotes that nobody reads any more where their lines are needed for these contracts."""
        wanted = set(conids)
        idle = [each for each in self.of(Kind.QUOTES) if not each.readers and each.topic.conid not in wanted]
        for each in idle:
            if len(self.streamed | wanted) > MOST_LINES:
                self._close(each)

    def opened(self, wish: Wish, reader: Reader) -> Subscription:
        """The topic of a wish, whether anybody has it already or not.

        Raises:
            LineLimit: IBKR would not send it beside all that it sends already.
        """
        self._check_ban(wish.topic)
        self._check_fields(wish, reader)
        found = self._topics.get(wish.topic)
        if found is not None and self._is_another_chart(found, wish, reader):
            self._close(found)
            found = None
        if found is not None:
            return found
        self._make_room_for(wish.topic)
        opened = Subscription(wish.topic, self._kept.get(wish.topic))
        if wish.topic.kind in KEPT:
            self._kept[wish.topic] = opened.picture
            opened.picture.start_over()
        self._topics[wish.topic] = self._by_name[wish.topic.name] = opened
        return opened

    def _is_another_chart(self, there: Subscription, wish: Wish, reader: Reader) -> bool:
        if wish.topic.kind is not Kind.HISTORY:
            return False
        if any(each is not reader and other.args != wish.args for each, other in there.readers.items()):
            raise LineLimit("another chart of this contract is being sent, and IBKR tells two by their contract alone")
        return there.asked not in (None, wish.args)

    def _make_room_for(self, topic: Topic) -> None:
        most, there = MOST.get(topic.kind), self.of(topic.kind)
        if most is not None and len(there) >= most:
            idle = next((each for each in there if not each.readers), None)
            if idle is None:
                raise LineLimit(f"IBKR sends {most} of these at a time, and as many are being read")
            self._close(idle)
        if topic.kind is Kind.QUOTES:
            self.lines.streams(self.streamed | {topic.conid})

    # -- asking

    def see_to(self, subscription: Subscription) -> None:
        """Ask for a topic, unless what was asked for brings all that is wanted, or it is under suspicion."""
        if subscription.suspicion:
            return
        wanted = subscription.to_ask(anew=False)
        if subscription.asked is None or not is_covered(subscription.asked, wanted):
            self._ask(subscription)

    def up(self, tell: Tell) -> None:
        """A new socket stands, which knows of nothing."""
        self._tell = tell
        owed, self._owed = self._owed, {}
        for conid in owed:
            self.free(conid)
        for subscription in self:
            subscription.picture.start_over()
            subscription.asked, subscription.server = None, ""
            if not subscription.readers:
                self._close(subscription)
            elif not subscription.suspicion:
                self._ask(subscription)

    def down(self, *, was_cut: bool) -> None:
        """Nothing can be asked for; where the socket was cut, what it was just asked for may have been the reason."""
        is_end, self._tell = self._tell is not None, None
        if is_end and was_cut:
            quarantine.accuse(self, self._clock.now())

    def forget(self) -> None:
        """Another session has no lines."""
        self.lines.forget()
        self._owed.clear()
        for subscription in self:
            subscription.has_line = False

    def tend(self) -> list[Subscription]:
        """Renew what IBKR would forget, end what nobody has wanted for a while, try what is under suspicion.

        Returns:
            Topics that end the socket each time: their readers have to be told.
        """
        now = self._clock.now()
        for subscription in self:
            if subscription.left_at is not None and now - subscription.left_at >= GRACE:
                self._close(subscription)
            elif _is_due(subscription, now):
                self._ask(subscription, anew=True)
        if self._tell is not None and (suspect := quarantine.next_to_try(self, now)) is not None:
            self._ask(suspect)
        return quarantine.convicted(self)

    def free(self, conid: str) -> None:
        """Give a line back that only calls opened; later, where nothing can be told now."""
        topic = Topic(Kind.QUOTES, conid)
        if self._tell is None:
            self._owed[conid] = None
        elif topic.conid not in self.streamed:
            self._tell(ends(topic))

    def end_stray(self, message: Mapping[str, object]) -> None:
        """A chart that nobody has any more, and whose id is known only now."""
        topic, server = message.get("topic"), message.get("serverId")
        if isinstance(topic, str) and topic.startswith(CHART) and isinstance(server, str) and self._tell is not None:
            self._tell(ends(Topic(Kind.HISTORY, topic.removeprefix(CHART)), server))

    def refused(self, subscription: Subscription) -> None:
        """A topic that is not sent: a chart takes none of its five places; what ends the socket is asked no more."""
        if subscription.suspicion:
            self._banned[subscription.topic] = self._clock.now() + BANNED_FOR
        if subscription.suspicion or (subscription.topic.kind is Kind.HISTORY and not subscription.server):
            subscription.asked = None
            self._close(subscription)

    def _ask(self, subscription: Subscription, *, anew: bool = False) -> None:
        if self._tell is None or not subscription.readers:
            return
        subscription.asked, subscription.asked_at = subscription.to_ask(anew=anew), self._clock.now()
        subscription.is_answered, subscription.has_line = False, True
        if fields := subscription.asked.get("fields") if subscription.topic.kind is Kind.QUOTES else None:
            subscription.picture.keep(fields)
        self._tell(asks(subscription.topic, subscription.asked))

    def _close(self, subscription: Subscription) -> None:
        topic = subscription.topic
        del self._topics[topic], self._by_name[topic.name]
        if topic.kind is Kind.QUOTES and subscription.has_line and (self._tell is None or subscription.asked is None):
            self.free(topic.target)
            return
        if subscription.asked is None or (topic.kind is Kind.HISTORY and not subscription.server):
            return  # IBKR knows nothing of it, or the id is yet to come
        if self._tell is not None:
            self._tell(ends(topic, subscription.server))
        for other in self._ended_with(topic):
            self._ask(other)

    def _ended_with(self, topic: Topic) -> list[Subscription]:
        """What IBKR may have ended together with a topic: all ladders of an account, a contract's other exchanges."""
        if topic.kind is Kind.LADDER:
            return self.meant(Leave(Kind.LADDER, topic.account))
        return [each for each in self.of(topic.kind) if topic.kind is Kind.QUOTES and each.topic.conid == topic.conid]


def _is_due(subscription: Subscription, now: float) -> bool:
    """Whether IBKR will soon forget it."""
    is_asked = subscription.topic.kind is Kind.QUOTES and subscription.asked is not None
    return is_asked and now - subscription.asked_at >= RENEW_AFTER


def _names_of(kind: Kind, subscription: Subscription) -> Iterable[str]:
    """What the target of a leave of this kind may be for a topic."""
    topic = subscription.topic
    if kind is Kind.HISTORY:
        return subscription.servers
    return (topic.account if kind is Kind.LADDER else topic.target,)
