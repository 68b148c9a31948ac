"""One topic that somebody wants: who, since when IBKR was asked for it, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ibkr_bridge.streaming.protocol import MAX_FIELDS, Args, Subscribe, Topic, TopicKind, merge_args
from ibkr_bridge.streaming.snapshot import ROW_LAYOUT, Row, TopicSnapshot, rows_of
from ibkr_bridge.streaming.subscriber import Encoding, StreamEvent, Subscriber
from ibkr_bridge.streaming.views import Message, View, project, view_of

MAX_CHART_IDS = 20  # of charts, on so many sockets one after the other
ROW_KINDS = frozenset({TopicKind.ORDERS, TopicKind.TRADES, TopicKind.PNL})
"""Kinds that are told row by row where a connection wants rows."""


class Subscription:
    """One topic."""

    def __init__(self, topic: Topic, topic_snapshot: TopicSnapshot | None = None) -> None:
        self.topic = topic
        self.topic_snapshot = topic_snapshot or TopicSnapshot(topic.kind)
        self.subscribers: dict[Subscriber, Subscribe] = {}
        self.groups: dict[tuple[Encoding, View], list[Subscriber]] = {}
        """Readers who get the very same bytes."""
        self.requested_args: Args | None = None
        """What IBKR was asked for; None where it was not."""
        self.requested_at = 0.0
        self.is_answered = False
        """Whether IBKR has said anything since it was asked."""
        self.suspicion = 0
        """How often the socket ended just after IBKR was asked for this."""
        self.holds_market_data_line = False
        """Whether IBKR may hold a line of market data for it."""
        self.unused_since: float | None = None
        """Since when nobody wants it, seconds of the clock."""
        self.chart_id = ""
        """The id under which IBKR ends a chart."""
        self.chart_ids: list[str] = []
        """The ids that it had: readers know those of sockets before."""
        self.last_event = 0
        """Of the latest event."""
        self._views: dict[Subscriber, View] = {}

    def __repr__(self) -> str:
        return f"<Subscription {self.topic.kind.value}, {len(self.subscribers)} readers>"

    def add(self, subscriber: Subscriber, subscribe: Subscribe, now_ms: int) -> None:
        """Somebody wants it, or wants it differently from now on."""
        self.subscribers[subscriber] = subscribe
        self._views[subscriber] = view_of(subscribe, now_ms)
        self.unused_since = None
        self._group()

    def drop(self, subscriber: Subscriber, now: float) -> None:
        """Somebody wants it no more."""
        if self.subscribers.pop(subscriber, None) is not None:
            del self._views[subscriber]
            self._group()
            self.unused_since = None if self.subscribers else now

    def _group(self) -> None:
        self.groups = {}
        for subscriber, view in self._views.items():
            self.groups.setdefault((subscriber.encoding, view), []).append(subscriber)

    def merged_args(self, *, anew: bool) -> dict[str, Any]:
        """What IBKR has to be asked for: what it was asked for, too, so that no coming and going makes us ask again.

        Args:
            anew: forget what nobody wants any more.
        """
        wishes = [subscribe.args for subscribe in self.subscribers.values()]
        grown = merge_args(
            self.topic.kind, [*wishes, self.requested_args] if self.requested_args and not anew else wishes
        )
        too_many = len(grown.get("fields") or ()) > MAX_FIELDS
        return merge_args(self.topic.kind, wishes) if too_many else grown

    def on_message(self, message: Message, last_event: int, now: float) -> None:
        """IBKR said something about it, the event of this number."""
        self.last_event, self.is_answered = last_event, True
        if self.topic.kind is TopicKind.HISTORY and isinstance(message.get("serverId"), str):
            self.chart_id = message["serverId"]
            self.chart_ids = [*self.chart_ids[-MAX_CHART_IDS:], self.chart_id]
        self.topic_snapshot.add(message, now)

    def events_by_group(self, message: Message, last_event: str) -> Iterator[tuple[StreamEvent, list[Subscriber]]]:
        """A message as each group of readers is told it."""
        for (_, view), subscribers in self.groups.items():
            told = self._project(view, message)
            if told is not None:
                yield StreamEvent(told, tuple(self._with_ids(told, last_event))), subscribers

    def full_event(self, subscriber: Subscriber, last_event: str, now: float) -> StreamEvent | None:
        """All that is known, as a newcomer is told it; None where there is nothing for this one."""
        if self.topic_snapshot.is_empty or self._is_list_pending:
            return None
        told = self._project(self._views[subscriber], self.topic_snapshot.as_message())
        if told is None:
            return None
        if self.topic.kind is TopicKind.QUOTES:
            told = {**told, "_age": round(max(0.0, now - self.topic_snapshot.at), 3)}
        return StreamEvent(told, tuple(self._with_ids(told, last_event)))

    @property
    def _is_list_pending(self) -> bool:
        """Whether a list of orders is known from before alone, and the whole one is on its way."""
        return self.topic.kind is TopicKind.ORDERS and self.topic_snapshot.is_over and self.requested_args is not None

    def _project(self, view: View, message: Message) -> Message | None:
        if self.topic.kind is TopicKind.ORDERS and view.names:  # an update says its order's state only where it changed
            rows = (
                {"status": self.topic_snapshot.row(row.get("orderId")).get("status"), **row}
                for row in _rows_of(message)
            )
            message = {**message, "args": list(rows)}
        return project(self.topic.kind, view, message)

    def _with_ids(self, message: Message, last_event: str) -> Iterator[tuple[str, Row]]:
        """The rows of a message; the last of them alone has the number, so that no half of them is taken for all."""
        rows = self.merged_rows(message)
        for row in rows[:-1]:
            yield "", row
        for row in rows[-1:]:
            yield last_event, row

    def merged_rows(self, message: Message) -> list[Row]:
        """A message in rows, each with all that is known of it."""
        kind = self.topic.kind
        if kind in ROW_KINDS:
            places, key = ROW_LAYOUT[kind]
            return [self.topic_snapshot.row(row.get(key)) or row for row in rows_of(message.get(places))]
        if kind in (TopicKind.QUOTES, TopicKind.SESSION):
            return [{name: value for name, value in message.items() if name != "topic"}]
        return []


def _rows_of(message: Message) -> list[Row]:
    return rows_of(message.get("args"))
