"""Stage `StreamedOrders`: a list of orders that IBKR's limits would refuse comes from the stream instead.

IBKR allows the list of orders once in five seconds, and the bridge itself reads it after a loss. A caller that polls it
after a placement would be refused again and again, although the stream has every order at once. What the stream has not
shown yet, the journal knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response, json_response
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.clock import Clock, utc_ms
from ibkr_bridge.errors import RateLimited
from ibkr_bridge.ibkr.catalogue import ORDERS_LIST
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.snapshot import rows_of
from ibkr_bridge.streaming.subscriber import StreamEvent, Subscriber

ANSWER_TIMEOUT_S = 2.0  # seconds for the first answer of the stream; IBKR answers within one
POLL_INTERVAL_S = 0.1
ALL_ORDERS = Subscribe(Topic(TopicKind.ORDERS))
ACCOUNT_MEMBERS = ("acct", "account")

Row = Mapping[str, Any]
RecentOrders = Callable[[], list[dict[str, Any]]]
"""Returns rows of the orders that were placed a moment ago, as far as the journal knows them."""


class StreamedOrders:
    """Answers the list of orders where IBKR's limits allow no call.

    Args:
        hub: has the orders that IBKR streams.
        recent_orders: see `RecentOrders`.
    """

    def __init__(self, hub: Hub, clock: Clock, recent_orders: RecentOrders) -> None:
        self._hub = hub
        self._clock = clock
        self._recent_orders = recent_orders
        self._subscriber = Subscriber(_NoSink(), _NoEncoding(), wants_source_events=False)

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`."""
        is_list = context.endpoint.segments == ORDERS_LIST and context.endpoint.is_read
        if not is_list or context.serves_order:
            return await proceed(context)
        try:
            return await proceed(context)
        except RateLimited:
            rows = await self._wait_for_orders()
            if rows is None:
                raise
        context.source, context.age_s = "stream", None
        streamed = {str(row.get("orderId")) for row in rows}
        rows += [row for row in self._recent_orders() if str(row.get("orderId")) not in streamed]
        return json_response({"orders": _of_account(rows, context), "snapshot": True})

    async def _wait_for_orders(self) -> list[dict[str, Any]] | None:
        """All orders of the stream; None if it is down or does not answer."""
        deadline = self._clock.now() + ANSWER_TIMEOUT_S
        while (rows := self._streamed_orders()) is None:
            if not self._hub.source.is_fresh or self._clock.now() >= deadline:
                return None
            await self._clock.wait(asyncio.Event(), POLL_INTERVAL_S)
        return rows

    def _streamed_orders(self) -> list[dict[str, Any]] | None:
        """The orders that IBKR streams; None if it is silent or the list is from before an outage.

        From the first call on, IBKR is asked to stream orders even while no subscriber wants them.
        """
        topics = self._hub.upstream_subscriptions
        subscription = topics.get_or_create(ALL_ORDERS, self._subscriber)
        if self._subscriber not in subscription.subscribers:
            subscription.add(self._subscriber, ALL_ORDERS, utc_ms(self._clock.utc()))
            topics.ensure(subscription)
        is_known = subscription.silence.is_answered and not subscription.topic_snapshot.is_over
        if not is_known or not self._hub.source.is_fresh:
            return None
        return [dict(row) for row in rows_of(subscription.topic_snapshot.as_message().get("args"))]


class _NoSink:
    """The bridge reads the snapshot of the topic; no connection gets its events."""

    is_writable, unsent_bytes = True, 0

    def write(self, data: bytes) -> None:
        """See `Sink`."""

    def close(self, reason: str) -> None:
        """See `Sink`."""


class _NoEncoding:
    """Encodes nothing."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding`."""
        return b""


def _of_account(rows: list[dict[str, Any]], context: CallContext) -> list[dict[str, Any]]:
    accounts = parse_qs(context.call.target.partition("?")[2]).get("accountId", [])
    if not accounts:
        return rows
    return [row for row in rows if any(row.get(name) == accounts[-1] for name in ACCOUNT_MEMBERS)]
