"""One topic that somebody wants: who, since when IBKR was asked for it, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ibkr_bridge.streaming.protocol import MOST_FIELDS, Args, Kind, Topic, Wish, joined
from ibkr_bridge.streaming.snapshot import ROWS, Picture, Row, rows_of
from ibkr_bridge.streaming.subscriber import Event, Form, Reader
from ibkr_bridge.streaming.views import Message, View, part, view_of

MOST_IDS = 20  # of charts, on so many sockets one after the other
ROW_BY_ROW = frozenset({Kind.ORDERS, Kind.TRADES, Kind.PNL})
"""Kinds that are told row by row where a connection wants rows."""


class Subscription:
    """One topic."""

    def __init__(self, topic: Topic, picture: Picture | None = None) -> None:
        self.topic = topic
        self.picture = picture or Picture(topic.kind)
        self.readers: dict[Reader, Wish] = {}
        self.groups: dict[tuple[Form, View], list[Reader]] = {}
        """Readers who get the very same bytes."""
        self.asked: Args | None = None
        """What IBKR was asked for; None where it was not."""
        self.asked_at = 0.0
        self.is_answered = False
        """Whether IBKR has said anything since it was asked."""
        self.suspicion = 0
        """How often the socket ended just after IBKR was asked for this."""
        self.has_line = False
        """Whether IBKR may hold a line of market data for it."""
        self.left_at: float | None = None
        """Since when nobody wants it, seconds of the clock."""
        self.server = ""
        """The id under which IBKR ends a chart."""
        self.servers: list[str] = []
        """The ids that it had: readers know those of sockets before."""
        self.number = 0
        """Of the latest event."""
        self._views: dict[Reader, View] = {}

    def __repr__(self) -> str:
        return f"<Subscription {self.topic.kind.value}, {len(self.readers)} readers>"

    def add(self, reader: Reader, wish: Wish, now_ms: int) -> None:
        """Somebody wants it, or wants it differently from now on."""
        self.readers[reader] = wish
        self._views[reader] = view_of(wish, now_ms)
        self.left_at = None
        self._group()

    def drop(self, reader: Reader, now: float) -> None:
        """Somebody wants it no more."""
        if self.readers.pop(reader, None) is not None:
            del self._views[reader]
            self._group()
            self.left_at = None if self.readers else now

    def _group(self) -> None:
        self.groups = {}
        for reader, view in self._views.items():
            self.groups.setdefault((reader.form, view), []).append(reader)

    def to_ask(self, *, anew: bool) -> dict[str, Any]:
        """What IBKR has to be asked for: what it was asked for, too, so that no coming and going makes us ask again.

        Args:
            anew: forget what nobody wants any more.
        """
        wishes = [wish.args for wish in self.readers.values()]
        grown = joined(self.topic.kind, [*wishes, self.asked] if self.asked and not anew else wishes)
        too_many = len(grown.get("fields") or ()) > MOST_FIELDS
        return joined(self.topic.kind, wishes) if too_many else grown

    def take(self, message: Message, number: int, now: float) -> None:
        """IBKR said something about it, the event of this number."""
        self.number, self.is_answered = number, True
        if self.topic.kind is Kind.HISTORY and isinstance(message.get("serverId"), str):
            self.server = message["serverId"]
            self.servers = [*self.servers[-MOST_IDS:], self.server]
        self.picture.add(message, now)

    def events(self, message: Message, number: str) -> Iterator[tuple[Event, list[Reader]]]:
        """A message as each group of readers is told it."""
        for (_, view), readers in self.groups.items():
            told = self._part(view, message)
            if told is not None:
                yield Event(told, tuple(self._numbered(told, number))), readers

    def whole(self, reader: Reader, number: str, now: float) -> Event | None:
        """All that is known, as a newcomer is told it; None where there is nothing for this one."""
        if self.picture.is_empty or self._is_to_come:
            return None
        told = self._part(self._views[reader], self.picture.told())
        if told is None:
            return None
        if self.topic.kind is Kind.QUOTES:
            told = {**told, "_age": round(max(0.0, now - self.picture.at), 3)}
        return Event(told, tuple(self._numbered(told, number)))

    @property
    def _is_to_come(self) -> bool:
        """Whether a list of orders is known from before alone, and the whole one is on its way."""
        return self.topic.kind is Kind.ORDERS and self.picture.is_over and self.asked is not None

    def _part(self, view: View, message: Message) -> Message | None:
        if self.topic.kind is Kind.ORDERS and view.names:  # an update says its order's state only where it changed
            rows = ({"status": self.picture.row(row.get("orderId")).get("status"), **row} for row in _rows(message))
            message = {**message, "args": list(rows)}
        return part(self.topic.kind, view, message)

    def _numbered(self, message: Message, number: str) -> Iterator[tuple[str, Row]]:
        """The rows of a message; the last of them alone has the number, so that no half of them is taken for all."""
        rows = self.rows(message)
        for row in rows[:-1]:
            yield "", row
        for row in rows[-1:]:
            yield number, row

    def rows(self, message: Message) -> list[Row]:
        """A message in rows, each with all that is known of it."""
        kind = self.topic.kind
        if kind in ROW_BY_ROW:
            where, key = ROWS[kind]
            return [self.picture.row(row.get(key)) or row for row in rows_of(message.get(where))]
        if kind in (Kind.QUOTES, Kind.SESSION):
            return [{name: value for name, value in message.items() if name != "topic"}]
        return []


def _rows(message: Message) -> list[Row]:
    return rows_of(message.get("args"))
