"""What IBKR is asked for: every topic somebody reads, once, with what all of its readers want.

The first reader of a topic has IBKR asked, the last one who leaves has it told, after a moment's grace. Quotes are
asked for again before IBKR forgets them, and everything is when the socket is a new one. How much IBKR sends at a time
is limited; who wants more than that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import LineLimit
from ibkr_bridge.stream.lines import MOST_LINES, Lines
from ibkr_bridge.stream.shares import is_covered
from ibkr_bridge.stream.subscription import Subscription
from ibkr_bridge.stream.topics import Kind, Leave, Topic, Wish, asks, ends

GRACE = 5.0  # seconds for which IBKR goes on sending what nobody reads: pages are reloaded, programs restarted
RENEW_AFTER = 540.0  # seconds; IBKR forgets quotes after fifteen minutes, and ten is what its users take for safe
MOST: Mapping[Kind, int] = {
    Kind.QUOTES: MOST_LINES,
    Kind.HISTORY: 5,  # IBKR's own limit
    Kind.LADDER: 20,  # those below are ours: nobody has so many accounts, and a loop must end somewhere
    Kind.SUMMARY: 100,
    Kind.LEDGER: 100,
}
Tell = Callable[[str], None]


class Asking:
    """The topics IBKR is asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[Topic, Subscription] = {}
        self._by_name: dict[str, Subscription] = {}
        self._tell: Tell | None = None
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
        return [each for each in self.of(leave.kind) if _named_by(leave, each) == leave.target]

    @property
    def streamed(self) -> frozenset[str]:
        """The contracts whose quotes IBKR sends."""
        return frozenset(each.topic.conid for each in self.of(Kind.QUOTES))

    def check_room(self, wishes: Iterable[Wish]) -> None:
        """See that there is room for all of them, so that none is opened where one has none.

        Raises:
            LineLimit: there is not.
        """
        wanted = {wish.topic for wish in wishes if wish.topic.kind is Kind.QUOTES}
        read = {each.topic for each in self.of(Kind.QUOTES) if each.readers}
        if len(wanted | read) > MOST_LINES:
            raise LineLimit(f"IBKR sends {MOST_LINES} contracts at a time, and {len(read)} are being read")

    def opened(self, wish: Wish) -> Subscription:
        """The topic of a wish, whether anybody has it already or not.

        Raises:
            LineLimit: IBKR would not send it beside all that it sends already.
        """
        found = self._topics.get(wish.topic)
        if found is not None:
            _refuse_other_chart(found, wish)
            return found
        self._make_room(wish.topic)
        opened = self._topics[wish.topic] = self._by_name[wish.topic.name] = Subscription(wish.topic)
        return opened

    def _make_room(self, topic: Topic) -> None:
        most, there = MOST.get(topic.kind), self.of(topic.kind)
        if most is not None and len(there) >= most:
            idle = next((each for each in there if not each.readers), None)
            if idle is None:
                raise LineLimit(f"IBKR sends {most} of these at a time, and as many are being read")
            self._close(idle)
        if topic.kind is Kind.QUOTES:
            self.lines.streams(self.streamed | {topic.conid})

    def see_to(self, subscription: Subscription) -> None:
        """Ask for a topic, unless what was asked for brings all that is wanted."""
        asked = subscription.asked
        if asked is None or not is_covered(subscription.topic.kind, asked, subscription.wanted):
            self._ask(subscription)

    def up(self, tell: Tell) -> None:
        """A new socket stands, which knows of nothing."""
        self._tell = tell
        for subscription in self:
            subscription.picture.start_over()
            subscription.asked, subscription.server = None, ""
            if subscription.readers:
                self._ask(subscription)
            else:
                self._close(subscription)

    def down(self) -> None:
        """Nothing can be asked for."""
        self._tell = None

    def tend(self) -> None:
        """Renew what IBKR would forget, and end what nobody has wanted for a while."""
        now = self._clock.now()
        for subscription in self:
            if subscription.left_at is not None and now - subscription.left_at >= GRACE:
                self._close(subscription)
            elif subscription.topic.kind is Kind.QUOTES and now - subscription.asked_at >= RENEW_AFTER:
                self._ask(subscription)

    def free(self, conid: str) -> None:
        """Give a line back that only calls opened."""
        self._say(ends(Topic(Kind.QUOTES, conid)))

    def _say(self, frame: str) -> None:
        if self._tell is not None:
            self._tell(frame)

    def _ask(self, subscription: Subscription) -> None:
        if self._tell is not None:
            subscription.asked, subscription.asked_at = subscription.wanted, self._clock.now()
            self._tell(asks(subscription.topic, subscription.asked))

    def _close(self, subscription: Subscription) -> None:
        topic = subscription.topic
        del self._topics[topic], self._by_name[topic.name]
        if subscription.asked is None or (topic.kind is Kind.HISTORY and not subscription.server):
            return  # IBKR knows nothing of it, or cannot be told
        self._say(ends(topic, subscription.server))
        if topic.kind is Kind.LADDER:  # IBKR ends all of an account at once
            for other in self.meant(Leave(Kind.LADDER, topic.account)):
                self._ask(other)


def _named_by(leave: Leave, subscription: Subscription) -> str:
    """What the target of a leave of this kind would be for a topic."""
    topic = subscription.topic
    return {Kind.HISTORY: subscription.server, Kind.LADDER: topic.account}.get(leave.kind, topic.target)


def _refuse_other_chart(there: Subscription, wish: Wish) -> None:
    others = (other.args for other in there.readers.values())
    if wish.topic.kind is Kind.HISTORY and any(args != wish.args for args in others):
        raise LineLimit("another chart of this contract is being sent, and IBKR tells the two by their contract alone")
