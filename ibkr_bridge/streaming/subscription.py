"""One topic with its subscribers, its request at IBKR and its snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ibkr_bridge.streaming.protocol import MAX_FIELDS, Args, Subscribe, Topic, TopicKind, merge_args
from ibkr_bridge.streaming.snapshot import ROW_LAYOUT, Row, TopicSnapshot, rows_of
from ibkr_bridge.streaming.subscriber import Encoding, StreamEvent, Subscriber
from ibkr_bridge.streaming.topic_silence import TopicSilence
from ibkr_bridge.streaming.views import Message, View, project, view_of

MAX_CHART_IDS = 20  # ids of a chart, one for each websocket so far
ROW_KINDS = frozenset({TopicKind.ORDERS, TopicKind.TRADES, TopicKind.PNL})
"""Kinds that are sent row by row to connections that use rows."""


class Subscription:
    """One topic."""

    def __init__(self, topic: Topic, topic_snapshot: TopicSnapshot | None = None) -> None:
        self.topic = topic
        self.topic_snapshot = topic_snapshot or TopicSnapshot(topic.kind)
        self.subscribers: dict[Subscriber, Subscribe] = {}
        self.groups: dict[tuple[Encoding, View], list[Subscriber]] = {}
        """Subscribers that get identical bytes."""
        self.requested_args: Args | None = None
        """The arguments that were sent to IBKR; None if it was not requested."""
        self.requested_at = 0.0
        self.is_answered = False
        """Whether IBKR has sent a message since the request."""
        self.silence = TopicSilence(topic.kind)
        """Whether IBKR has answered on the present websocket."""
        self.suspicion = 0
        """How often the feed ended just after the request."""
        self.holds_market_data_line = False
        """Whether IBKR may hold a market data line for it."""
        self.unused_since: float | None = None
        """Since when it has no subscriber, in seconds of the clock."""
        self.chart_id = ""
        """IBKR's id of the chart, which ends it."""
        self.chart_ids: list[str] = []
        """All ids that it had: subscribers know those of earlier websockets."""
        self.last_event = 0
        """The number of the latest event."""
        self._views: dict[Subscriber, View] = {}

    def __repr__(self) -> str:
        return f"<Subscription {self.topic.kind.value}, {len(self.subscribers)} readers>"

    @property
    def has_reduced_share(self) -> bool:
        """Whether only subscribers with a reduced share read it."""
        return all(subscriber.has_reduced_share for subscriber in self.subscribers)

    def add(self, subscriber: Subscriber, subscribe: Subscribe, now_ms: int) -> None:
        """Add a subscriber, or change its arguments."""
        self.subscribers[subscriber] = subscribe
        self._views[subscriber] = view_of(subscribe, now_ms)
        self.unused_since = None
        self._group()

    def drop(self, subscriber: Subscriber, now: float) -> None:
        """Remove a subscriber."""
        if self.subscribers.pop(subscriber, None) is not None:
            del self._views[subscriber]
            self._group()
            self.unused_since = None if self.subscribers else now

    def _group(self) -> None:
        self.groups = {}
        for subscriber, view in self._views.items():
            self.groups.setdefault((subscriber.encoding, view), []).append(subscriber)

    def merged_args(self, *, drop_unused: bool) -> dict[str, Any]:
        """The arguments for IBKR. They include those of the last request, so that subscribers that come and go cause no
        new one.

        Args:
            drop_unused: leave out what no subscriber requests any more.
        """
        requested = [subscribe.args for subscribe in self.subscribers.values()]
        grown = merge_args(
            self.topic.kind, [*requested, self.requested_args] if self.requested_args and not drop_unused else requested
        )
        too_many = len(grown.get("fields") or ()) > MAX_FIELDS
        return merge_args(self.topic.kind, requested) if too_many else grown

    def on_message(self, message: Message, last_event: int, now: float) -> None:
        """Merge a message of IBKR, which is the event of this number."""
        self.last_event, self.is_answered = last_event, True
        if self.topic.kind is TopicKind.HISTORY and isinstance(message.get("serverId"), str):
            self.chart_id = message["serverId"]
            self.chart_ids = [*self.chart_ids[-MAX_CHART_IDS:], self.chart_id]
        self.topic_snapshot.add(message, now)

    def events_by_group(self, message: Message, last_event: str) -> Iterator[tuple[StreamEvent, list[Subscriber]]]:
        """The part of a message for each group of subscribers."""
        for (_, view), subscribers in self.groups.items():
            part = self._project(view, message)
            if part is not None:
                yield StreamEvent(part, tuple(self._with_ids(part, last_event))), subscribers

    def full_event(self, subscriber: Subscriber, last_event: str, now: float) -> StreamEvent | None:
        """The full state for a new subscriber; None if there is nothing for it."""
        if self.topic_snapshot.is_empty or self._is_list_pending:
            return None
        part = self._project(self._views[subscriber], self.topic_snapshot.as_message())
        if part is None:
            return None
        if self.topic.kind is TopicKind.QUOTES:
            part = {**part, "_age": round(max(0.0, now - self.topic_snapshot.at), 3)}
        return StreamEvent(part, tuple(self._with_ids(part, last_event)))

    @property
    def _is_list_pending(self) -> bool:
        """Whether the list of orders is from before an outage, and the new one has been requested."""
        return self.topic.kind is TopicKind.ORDERS and self.topic_snapshot.is_over and self.requested_args is not None

    def _project(self, view: View, message: Message) -> Message | None:
        if (
            self.topic.kind is TopicKind.ORDERS and view.names
        ):  # an update contains the order's state only if it changed
            rows = (
                {"status": self.topic_snapshot.row(row.get("orderId")).get("status"), **row}
                for row in rows_of(message.get("args"))
            )
            message = {**message, "args": list(rows)}
        return project(self.topic.kind, view, message)

    def _with_ids(self, message: Message, last_event: str) -> Iterator[tuple[str, Row]]:
        """The rows of a message; only the last one has the id, so that a part is never taken for the whole."""
        rows = self.merged_rows(message)
        for row in rows[:-1]:
            yield "", row
        for row in rows[-1:]:
            yield last_event, row

    def merged_rows(self, message: Message) -> list[Row]:
        """The rows of a message, each with its merged state."""
        kind = self.topic.kind
        if kind in ROW_KINDS:
            places, key = ROW_LAYOUT[kind]
            return [self.topic_snapshot.row(row.get(key)) or row for row in rows_of(message.get(places))]
        if kind in (TopicKind.QUOTES, TopicKind.SESSION):
            return [{name: value for name, value in message.items() if name != "topic"}]
        return []
