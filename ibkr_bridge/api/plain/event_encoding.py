"""Events of the hub as Server-Sent Events in the shapes of the plain API.

An event has the name of its topic, and one struct as its data. Which topic a row belongs to shows in its members: an
event that is sent again after a reconnect has the row alone. All streams of a profile share two encodings, one for keys
that may trade and one for the others, so that an event is translated once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from weakref import WeakKeyDictionary

from ibkr_bridge.api.plain.journal import OrderView
from ibkr_bridge.api.plain.session import describe_session
from ibkr_bridge.conditions.condition import Condition
from ibkr_bridge.models.base import Model, encode_shape
from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.subscriber import StreamEvent, Subscriber
from ibkr_bridge.translation.accounts import read_trade
from ibkr_bridge.translation.numbers import Row
from ibkr_bridge.translation.quotes import read_quote

SESSION, ORDERS, TRADES, QUOTES = "session", "orders", "trades", "quotes"
MARKS: tuple[tuple[str, str], ...] = (
    ("execution_id", TRADES),
    ("orderId", ORDERS),
    ("conid", QUOTES),
    ("state", SESSION),
)
"""The member by which a row of each topic is recognised, the first that is there."""
TOPIC_OF_IBKR: Mapping[str, str] = {"smd": QUOTES, "sor": ORDERS, "str": TRADES, "session": SESSION}
MAX_INSTRUMENTS = 1000  # whose symbols are remembered for the quotes of streams


def sse_model(name: str, shape: Model | Mapping[str, object], number: str = "") -> bytes:
    """One event with a struct as its data. JSON of msgspec has no line breaks."""
    head = f"event: {name}\n" + (f"id: {number}\n" if number else "")
    return head.encode() + b"data: " + encode_shape(shape) + b"\n\n"


FindConditions = Callable[[], Sequence[Condition]]


class PlainEncoding:
    """Encodes the events of one profile.

    Args:
        profile: whose events they are.
        view: describes its orders.
        conditions: returns what holds now.
        may_trade: whether the keys of the streams may trade.
    """

    def __init__(self, profile: Profile, view: OrderView, conditions: FindConditions, *, may_trade: bool) -> None:
        self._profile = profile
        self._conditions = conditions
        self._view = view
        self._may_trade = may_trade
        self.instruments: dict[int, Instrument] = {}
        """What is known of the contracts that are streamed."""
        self.order_subscribers: set[Subscriber] = set()
        """Those that get each change of an order in the journal."""
        profile.orders.repository.subscribe(self._on_record)
        self._translate: Mapping[str, Callable[[Row], Model | None]] = {
            TRADES: read_trade,
            ORDERS: view.describe_row,
            QUOTES: self._quote,
            SESSION: self._session,
        }

    def __repr__(self) -> str:
        return f"<PlainEncoding of {self._profile.name}>"

    def remember(self, instruments: Mapping[int, Instrument]) -> None:
        """Remember instruments; the oldest are forgotten when there are too many."""
        self.instruments |= instruments
        while len(self.instruments) > MAX_INSTRUMENTS:
            del self.instruments[next(iter(self.instruments))]

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding.encode`."""
        if event.name:
            return b"".join(sse_model(event.name, _control(row)) for _, row in event.rows)
        return b"".join(self._row(number, row) for number, row in event.rows)

    def _row(self, number: str, row: Row) -> bytes:
        topic = next((topic for member, topic in MARKS if member in row), None)
        shape = self._translate[topic](row) if topic is not None else None
        return sse_model(topic, shape, number) if topic is not None and shape is not None else b""

    def _quote(self, row: Row) -> Model | None:
        """A row has what has changed only; the snapshot of its topic has all."""
        name = f"smd+{row.get('conidEx') or row.get('conid')}"
        subscription = self._profile.streaming.hub.upstream_subscriptions.by_name(name)
        whole = row if subscription is None else {**subscription.topic_snapshot.as_message(), **row}
        return read_quote(whole, self.instruments, self._now())

    def _session(self, _: Row) -> Model:
        session, conditions = self._profile.keeper.session, self._conditions()
        return describe_session(self._profile, session, conditions, may_trade=self._may_trade)

    def _now(self) -> datetime:
        return self._view.clock.utc()

    def _on_record(self, record: OrderRecord) -> None:
        """Send the new state of an order of the journal."""
        if not self.order_subscribers:
            return
        event = self.order_event(record)
        for subscriber in tuple(self.order_subscribers):
            subscriber.enqueue_bytes(event)
        self._profile.streaming.hub.schedule_flush()

    def order_event(self, record: OrderRecord) -> bytes:
        """The event about an order of the journal."""
        return sse_model(ORDERS, self._view.describe(record))


def _control(row: Row) -> dict[str, object]:
    """The data of an event about the stream itself, with the name of our topic instead of IBKR's."""
    topic = row.get("topic")
    if not isinstance(topic, str):
        return dict(row)
    kind, _, target = topic.partition("+")
    return {**row, "topic": TOPIC_OF_IBKR.get(kind, kind), **({"conid": target} if target else {})}


_ENCODINGS: WeakKeyDictionary[Hub, dict[bool, PlainEncoding]] = WeakKeyDictionary()


def encoding_of(profile: Profile, view: OrderView, conditions: FindConditions, *, may_trade: bool) -> PlainEncoding:
    """The encoding of a profile's streams, made when the first one is opened."""
    encodings = _ENCODINGS.setdefault(profile.streaming.hub, {})
    if may_trade not in encodings:
        encodings[may_trade] = PlainEncoding(profile, view, conditions, may_trade=may_trade)
    return encodings[may_trade]
