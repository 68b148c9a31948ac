"""Orders, `sor`, and trades, `str`: all of the day at first, then each change of an order, and each trade.

Orders fill when somebody looks, so these look twice a second. While the stream of orders is silent, what happens is
not told later either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.feeds.feed import Feed, Floor, Message, changed
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.order_lists import MOST, execution, row

LOOK_EVERY = 0.5
AT_ONCE = 50
"""Rows of one message; more would be longer than what the Gateway passes on."""
DAY = 86_400.0


class Orders(Feed):
    """Today's orders of all accounts."""

    EVERY = LOOK_EVERY

    def __init__(self, floor: Floor, asked: FeedRequest) -> None:
        super().__init__(floor, asked)
        self._seen = 0
        """How many of the book's moves are known."""
        self._orders: dict[int, Order] = {}

    def first(self, now: float) -> Iterable[Message]:
        """All of them; more than fifty in several messages."""
        orders = self.world.book.orders(now)
        self._orders, self._seen = {order.number: order for order in orders}, len(self.world.book.moved)
        rows = [row(self.world, order) for order in orders[:MOST]]
        return () if self._is_silent else [self.says({"args": part}) for part in _parts(rows)]

    def later(self, now: float) -> Iterable[Message]:
        """What has changed, fills of this moment among it."""
        self.world.book.look(now)
        return self.stirred()

    def stirred(self) -> list[Message]:
        """One message for each order that has changed, with what has changed of it."""
        news = self._changes()
        return [] if self._is_silent else [self.says({"args": [each]}) for each in news]

    def _changes(self) -> list[dict[str, Any]]:
        book = self.world.book
        moved, self._seen = dict.fromkeys(book.moved[self._seen :]), len(book.moved)
        return [self._change(book.known(number)) for number in moved]

    def _change(self, order: Order) -> dict[str, Any]:
        before, self._orders[order.number] = self._orders.get(order.number), order
        new = row(self.world, order)
        old = {} if before is None else row(self.world, before)
        return {"acct": order.account, "orderId": order.number, **changed(new, old)}

    @property
    def _is_silent(self) -> bool:
        session = self.world.sessions.brokerage
        return session is not None and session.orders_silent


class Trades(Feed):
    """Executions: those there are, unless only new ones are wanted, and each new one."""

    EVERY = LOOK_EVERY

    def __init__(self, floor: Floor, asked: FeedRequest) -> None:
        super().__init__(floor, asked)
        self._told = 0

    def first(self, now: float) -> list[Message]:
        """Those of the last days, one unless more are asked for."""
        self.world.book.look(now)
        self._told = len(self.world.book.trades)
        if self.asked.form.get("realtimeUpdatesOnly") is True:
            return []
        days = self.asked.form.get("days")
        since = now - DAY * (days if isinstance(days, int) and 1 <= days <= 7 else 1)
        rows = [execution(self.world, trade) for trade in self.world.book.trades if trade.at >= since]
        return [self.says({"args": part}) for part in _parts(rows)]

    def later(self, now: float) -> list[Message]:
        """Those of this moment among them."""
        self.world.book.look(now)
        return self.stirred()

    def stirred(self) -> list[Message]:
        """One message for each new one."""
        new = self.world.book.trades[self._told :]
        self._told += len(new)
        return [self.says({"args": [execution(self.world, trade)]}) for trade in new]


def _parts(rows: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    return [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)] or [[]]


def orders(floor: Floor, asked: FeedRequest, now: float) -> Orders:
    """Tell of orders."""
    return Orders(floor, asked)


def trades(floor: Floor, asked: FeedRequest, now: float) -> Trades:
    """Tell of trades."""
    return Trades(floor, asked)
