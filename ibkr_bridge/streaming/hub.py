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
from ibkr_bridge.streaming.deduplication import Known
from ibkr_bridge.streaming.protocol import Kind, Leave, Topic, Wish
from ibkr_bridge.streaming.replay_buffer import KEPT, Ring, Row
from ibkr_bridge.streaming.subscriber import TOO_SLOW, Event, Form, Reader, Rounds
from ibkr_bridge.streaming.subscription import Subscription
from ibkr_bridge.streaming.upstream_subscriptions import POISON, Asking
from ibkr_bridge.streaming.views import Message

FOR_ALL = frozenset({"act", "sts", "ntf", "blt", "error"})
"""Topics nobody subscribes to: every socket has them."""
REMEMBERED = frozenset({"act"})
"""Those that a newcomer is told as well."""
SESSION = Topic(Kind.SESSION)
MOST_READERS = 256  # half of the connections there may be: who asks for nothing but /health must get in


@dataclass(frozen=True)
class Source:
    """Whether what readers see is fresh, and if not, why and since when."""

    is_fresh: bool
    reason: str
    since: datetime

    @property
    def told(self) -> Row:
        """In words for readers."""
        return {"reason": self.reason, "since": self.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


class Hub:
    """All readers of one line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session = Subscription(SESSION)
        self._readers: dict[Reader, None] = {}
        self._for_all: dict[str, Message] = {}
        self._rounds = Rounds(self._write)
        self._user = ""
        self.asking = Asking(clock)
        self._known = {kind: Known(kind) for kind in KEPT}
        self.ring = Ring(f"{utc_ms(clock.utc()):x}")
        self.source = Source(False, "starting", clock.utc())

    def __repr__(self) -> str:
        return f"<Hub {len(self._readers)} readers of {len(self.asking)} topics>"

    @property
    def readers(self) -> tuple[Reader, ...]:
        """All of them."""
        return tuple(self._readers)

    @property
    def counts(self) -> dict[str, int]:
        """How much goes on: readers, those that are behind, topics, contracts among them."""
        behind = sum(reader.is_behind for reader in self._readers)
        quotes = len(self.asking.of(Kind.QUOTES))
        return {"readers": len(self._readers), "behind": behind, "topics": len(self.asking), "quotes": quotes}

    # -- readers

    def check_room(self) -> None:
        """See that one more may read.

        Raises:
            Busy: too many do.
        """
        if len(self._readers) >= MOST_READERS:
            raise Busy(f"{MOST_READERS} streams are being read", hint="read more in one stream, and close the others")

    def enter(self, reader: Reader) -> None:
        """Somebody begins to read; where the source is away they are told so first."""
        self._readers[reader] = None
        reader.had = self.ring.number
        if reader.minds_source and not self.source.is_fresh:
            self._put(reader, self._sourced)

    def join(self, reader: Reader, wish: Wish, last: str | None = None) -> None:
        """Somebody wants a topic, or wants it differently.

        Args:
            last: the id of the last event of it that they had, if they had any.

        Raises:
            LineLimit: IBKR would not send it beside all that it sends already.
        """
        is_ours = wish.topic == SESSION
        subscription = self._session if is_ours else self.asking.opened(wish, reader)
        subscription.add(reader, wish, utc_ms(self._clock.utc()))
        if not is_ours:
            self.asking.see_to(subscription)
        self._show(reader, subscription, last)

    def leave(self, reader: Reader, leave: Leave) -> None:
        """Somebody wants no more of a topic, or of all that the target names."""
        for subscription in self.asking.meant(leave):
            subscription.drop(reader, self._clock.now())

    def gone(self, reader: Reader) -> None:
        """Somebody has left for good."""
        self._readers.pop(reader, None)
        for subscription in (self._session, *self.asking):
            subscription.drop(reader, self._clock.now())

    def end_all(self, reason: str) -> None:
        """Nobody reads any more."""
        for reader in self.readers:
            reader.end(reason)

    def tend(self) -> None:
        """What time brings: for what IBKR is asked, and for those who read."""
        for poison in self.asking.tend():
            self._refused(poison, {"topic": poison.topic.name, "error": POISON, "code": "stream_poison"})
        self.check()

    def check(self) -> None:
        """End those who may not go on reading, and those who take nothing any more."""
        now = self._clock.now()
        for reader in self.readers:
            why = reader.trouble() or (TOO_SLOW if reader.is_stuck(now) else None)
            if why is not None:
                reader.end(why)

    def soon(self) -> None:
        """Something waits to be written, or can be written now."""
        self._rounds.soon()

    # -- the source

    def up(self, tell: Callable[[str], None], user: str) -> None:
        """IBKR's socket stands: it is asked for everything again."""
        self._user = user
        self._now(Source(True, "ready", self._clock.utc()))
        self.asking.up(tell)

    def deaf(self, *, was_cut: bool) -> None:
        """Nothing that is said to IBKR from now on is heard."""
        self.asking.down(was_cut=was_cut)

    def down(self, reason: str) -> None:
        """It does not stand; what is known gets old. Readers are told once, whatever the reason later proves to be."""
        self.deaf(was_cut=False)
        self._for_all.clear()
        if self.source.is_fresh:
            self._now(Source(False, reason, self._clock.utc()))
        else:
            self.source = Source(False, reason, self.source.since)

    def _now(self, source: Source) -> None:
        self.source = source
        self._tell_all(self._sourced, (reader for reader in self._readers if reader.minds_source))

    @property
    def _sourced(self) -> Event:
        """What is told about the source; to sockets that it is back as IBKR tells that one is connected."""
        source = self.source
        name, more = ("fresh", {"success": self._user}) if source.is_fresh else ("stale", {})
        return Event({"topic": "system", **more, name: source.told}, (("", source.told),), name)

    def greeting(self) -> list[Message]:
        """What a fresh socket is told first, as IBKR does."""
        if not self.source.is_fresh:
            return [{"message": "waiting for session"}]
        signed_in = {"topic": "sts", "args": {"authenticated": True}}
        return [{"topic": "system", "success": self._user}, *self._for_all.values(), signed_in]

    def take(self, message: Message) -> None:
        """IBKR said something."""
        topic = message.get("topic")
        subscription = self.asking.named(f"smd+{message.get('conidEx')}") or self.asking.named(topic)
        if "error" in message:
            self._refused(subscription, message)
        elif subscription is not None:
            self._tell(subscription, message)
        elif isinstance(topic, str) and topic in FOR_ALL:
            if topic in REMEMBERED:
                self._for_all[topic] = message
            self.say(message)
        else:
            self.asking.end_stray(message)

    def _refused(self, subscription: Subscription | None, message: Message) -> None:
        """IBKR says no: to those who wanted it, or to everybody where nobody knows to what."""
        if subscription is None:
            self.say(message)
            return
        told = {name: value for name, value in message.items() if name != "topic"}
        self._tell_all(Event(message, (("", told),), "problem"), subscription.readers)
        self.asking.refused(subscription)

    def say(self, message: Message) -> None:
        """Tell every socket."""
        self._tell_all(Event(message), self._readers)

    def _tell_all(self, event: Event, readers: Iterable[Reader]) -> None:
        groups: dict[Form, list[Reader]] = {}
        for reader in readers:
            groups.setdefault(reader.form, []).append(reader)
        for group in groups.values():
            _spread(event, group, may_skip=False)
        self.soon()

    def session_is(self, told: Row) -> None:
        """The session is another one now."""
        self._tell(self._session, {"topic": SESSION.name, **told})

    # -- telling

    def _tell(self, subscription: Subscription, message: Message) -> None:
        """Tell a topic's readers, each what they want of it."""
        number = self.ring.next()
        subscription.take(message, self.ring.number, self._clock.now())
        kind = subscription.topic.kind
        if kind in KEPT:
            news = self._known[kind].news(subscription.rows(message))
            self.ring.keep(kind, news)
            if kind is Kind.TRADES and message.get("args"):
                message = {**message, "args": news}  # a list that IBKR was asked for anew tells no trade twice
                if not news:
                    return
        for event, readers in subscription.events(message, number):
            _spread(event, readers, may_skip=kind is Kind.QUOTES)
        self.soon()

    def _show(self, reader: Reader, subscription: Subscription, last: str | None) -> None:
        """What a newcomer is told first: what they missed, or the whole picture."""
        kind = subscription.topic.kind
        missed = self.ring.since(kind, last) if last is not None else None
        if last is not None and kind in KEPT and missed is None:
            self._put(reader, Event({}, (("", {"after": last}),), "gap"))
        if missed is not None:
            self._put(reader, Event({}, tuple(missed)))
        elif (event := subscription.whole(reader, self.ring.id, self._clock.now())) is not None:
            self._put(reader, event)

    def _put(self, reader: Reader, event: Event) -> None:
        reader.put(event)
        self.soon()

    def _write(self) -> None:
        """One round: write to all who have something waiting and take it."""
        now = self._clock.now()
        for reader in self.readers:
            if reader.flush(now) and (not reader.is_behind or self._catches_up(reader, now)):
                reader.had = self.ring.number

    def _catches_up(self, reader: Reader, now: float) -> bool:
        """What waited has been written; where more is taken, the newest picture of each quote that moved follows."""
        if not reader.outlet.is_clear:
            return False
        reader.is_behind = False
        for subscription in self.asking.of(Kind.QUOTES):
            if reader in subscription.readers and subscription.number > reader.had:
                event = subscription.whole(reader, self.ring.id, now)
                if event is not None:
                    _spread(event, [reader], may_skip=True)
        return reader.flush(now)


def _spread(event: Event, readers: list[Reader], *, may_skip: bool) -> None:
    """Tell an event to readers of one form; who is behind does without quotes: the newest picture follows."""
    data = readers[0].form.write(event)
    for reader in readers:
        if not may_skip:
            reader.say(data)
        elif not reader.is_behind:
            reader.quotes.append(data)
