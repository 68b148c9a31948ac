"""One topic that somebody wants: who, since when IBKR was asked for it, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ibkr_bridge.stream.pictures import Picture, rows_of
from ibkr_bridge.stream.readers import Event, Form, Reader
from ibkr_bridge.stream.ring import Row
from ibkr_bridge.stream.shares import Message, View, part, view_of
from ibkr_bridge.stream.topics import Args, Kind, Topic, Wish, joined

ROWS_BY = {Kind.ORDERS: ("args", "orderId"), Kind.TRADES: ("args", "execution_id"), Kind.PNL: ("args", "key")}
"""Kinds that are told row by row where a connection wants rows, and by what their rows are known."""


class Subscription:
    """One topic."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.picture = Picture(topic.kind)
        self.readers: dict[Reader, Wish] = {}
        self.groups: dict[tuple[Form, View], list[Reader]] = {}
        """Readers who get the very same bytes."""
        self.asked: Args | None = None
        """What IBKR was asked for; None where it was not."""
        self.asked_at = 0.0
        self.left_at: float | None = None
        """Since when nobody wants it, seconds of the clock."""
        self.server = ""
        """The id under which IBKR ends a history."""
        self.number = 0
        """Of the latest event."""

    def __repr__(self) -> str:
        return f"<Subscription {self.topic.kind.value}, {len(self.readers)} readers>"

    def add(self, reader: Reader, wish: Wish) -> None:
        """Somebody wants it, or wants it differently from now on."""
        self.readers[reader] = wish
        self.left_at = None
        self._group()

    def drop(self, reader: Reader, now: float) -> None:
        """Somebody wants it no more."""
        if self.readers.pop(reader, None) is not None:
            self._group()
            self.left_at = None if self.readers else now

    def take(self, message: Message, number: int, now: float) -> None:
        """IBKR said something about it, the event of this number."""
        self.number = number
        self.picture.add(message, now)
        if self.topic.kind is Kind.HISTORY and isinstance(message.get("serverId"), str):
            self.server = message["serverId"]

    def _group(self) -> None:
        self.groups = {}
        for reader, wish in self.readers.items():
            self.groups.setdefault((reader.form, view_of(wish)), []).append(reader)

    @property
    def wanted(self) -> dict[str, Any]:
        """What IBKR has to be asked for."""
        return joined(self.topic.kind, (wish.args for wish in self.readers.values()))

    def events(self, message: Message, number: str) -> Iterator[tuple[Event, list[Reader]]]:
        """A message as each group of readers is told it."""
        for (_, view), readers in self.groups.items():
            told = part(self.topic.kind, view, message)
            if told is not None:
                yield Event(told, tuple(self._numbered(told, number))), readers

    def whole(self, reader: Reader, number: str, now: float) -> Event | None:
        """All that is known, as a newcomer is told it; None where there is nothing for this one."""
        if self.picture.is_empty:
            return None
        told = part(self.topic.kind, view_of(self.readers[reader]), self.picture.told())
        if told is None:
            return None
        if self.topic.kind is Kind.QUOTES:
            told = {**told, "_age": round(max(0.0, now - self.picture.at), 3)}
        return Event(told, tuple(self._numbered(told, number)))

    def _numbered(self, message: Message, number: str) -> Iterator[tuple[str, Row]]:
        """The rows of a message; the last of them alone has the number, so that no half of them is taken for all."""
        rows = self.rows(message)
        for row in rows[:-1]:
            yield "", row
        for row in rows[-1:]:
            yield number, row

    def rows(self, message: Message) -> list[Row]:
        """A message in rows, each with all that is known of it."""
        if self.topic.kind in ROWS_BY:
            where, key = ROWS_BY[self.topic.kind]
            return [self.picture.row(row.get(key)) or row for row in rows_of(message.get(where))]
        if self.topic.kind in (Kind.QUOTES, Kind.SESSION):
            return [{name: value for name, value in message.items() if name != "topic"}]
        return []
