"""Orders, `sor`, and trades, `str`: all of the day first, then each change and each trade.

Orders fill only when the book is read, so these feeds read it twice a second. Changes during a time in which the stream
of orders is muted are not sent later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.feeds.feed import Feed, FeedContext, Message, changed_members
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.order_lists import MAX_ROWS, order_row, trade_row

LOOK_INTERVAL_S = 0.5
MAX_ROWS_PER_MESSAGE = 50
"""The Gateway does not relay a message that is longer than these rows."""
DAY_S = 86_400.0


class Orders(Feed):
    """Today's orders of all accounts."""

    INTERVAL_S = LOOK_INTERVAL_S

    def __init__(self, context: FeedContext, request: FeedRequest) -> None:
        super().__init__(context, request)
        self._seen_count = 0
        """The number of `Book.changed_numbers` that were read."""
        self._orders: dict[int, Order] = {}

    def first_messages(self, now: float) -> Iterable[Message]:
        """All orders, fifty in each message."""
        orders = self.world.book.orders(now)
        self._orders, self._seen_count = {order.number: order for order in orders}, len(self.world.book.changed_numbers)
        rows = [order_row(self.world, order) for order in orders[:MAX_ROWS]]
        return () if self._is_muted else [self.message({"args": part}) for part in _split_rows(rows)]

    def next_messages(self, now: float) -> Iterable[Message]:
        """The orders that have changed, including fills of this moment."""
        self.world.book.fill_orders(now)
        return self.messages_after_call()

    def messages_after_call(self) -> list[Message]:
        """One message for each order that has changed, with the changed members."""
        book = self.world.book
        changed, self._seen_count = dict.fromkeys(book.changed_numbers[self._seen_count :]), len(book.changed_numbers)
        rows = [self._changed_row(book.last_state(number)) for number in changed]
        return [] if self._is_muted else [self.message({"args": [each]}) for each in rows]

    def _changed_row(self, order: Order) -> dict[str, Any]:
        previous, self._orders[order.number] = self._orders.get(order.number), order
        new = order_row(self.world, order)
        old = {} if previous is None else order_row(self.world, previous)
        return {"acct": order.account, "orderId": order.number, **changed_members(new, old)}

    @property
    def _is_muted(self) -> bool:
        session = self.world.sessions.brokerage
        return session is not None and session.is_order_stream_muted


class Trades(Feed):
    """The executions so far, unless only new ones were requested, and each new one."""

    INTERVAL_S = LOOK_INTERVAL_S

    def __init__(self, context: FeedContext, request: FeedRequest) -> None:
        super().__init__(context, request)
        self._sent_count = 0

    def first_messages(self, now: float) -> list[Message]:
        """The trades of the requested number of days, by default one."""
        self.world.book.fill_orders(now)
        self._sent_count = len(self.world.book.trades)
        if self.request.form.get("realtimeUpdatesOnly") is True:
            return []
        days = self.request.form.get("days")
        since = now - DAY_S * (days if isinstance(days, int) and 1 <= days <= 7 else 1)
        rows = [trade_row(self.world, trade) for trade in self.world.book.trades if trade.at >= since]
        return [self.message({"args": part}) for part in _split_rows(rows)]

    def next_messages(self, now: float) -> list[Message]:
        """The new trades, including those of this moment."""
        self.world.book.fill_orders(now)
        return self.messages_after_call()

    def messages_after_call(self) -> list[Message]:
        """One message for each new trade."""
        new = self.world.book.trades[self._sent_count :]
        self._sent_count += len(new)
        return [self.message({"args": [trade_row(self.world, trade)]}) for trade in new]


def _split_rows(rows: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    return [rows[start : start + MAX_ROWS_PER_MESSAGE] for start in range(0, len(rows), MAX_ROWS_PER_MESSAGE)] or [[]]


def begin_orders(context: FeedContext, request: FeedRequest, now: float) -> Orders:
    """Start the stream of orders."""
    return Orders(context, request)


def begin_trades(context: FeedContext, request: FeedRequest, now: float) -> Trades:
    """Start the stream of trades."""
    return Trades(context, request)
