"""The price ladder, `sbd`: bids and offers at each price around the last one. It is ended by account."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.market.feeds.feed import Feed, FeedContext, Message
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.feeds.quotes import find_instrument
from ibkr_bridge.sim.market.instruments import Instrument

ROWS_PER_SIDE = 5
"""Rows above and below the last price."""


class Ladder(Feed):
    """The price ladder of one contract."""

    def __init__(self, context: FeedContext, request: FeedRequest, account: str, instrument: Instrument) -> None:
        super().__init__(context, request)
        self._account = account
        self._instrument = instrument
        self._sent: list[dict[str, Any]] = []

    def is_ended_by(self, target: str) -> bool:
        """See `Feed.is_ended_by`."""
        return target == self._account

    def first_messages(self, now: float) -> list[Message]:
        """Every row."""
        self._sent = self._rows(now)
        return [self.message({"data": self._sent})]

    def next_messages(self, now: float) -> list[Message]:
        """The rows that have changed."""
        rows = self._rows(now)
        new = [row for row, old in zip(rows, self._sent, strict=True) if row != old]
        self._sent = rows
        return [self.message({"data": new})] if new else []

    def _rows(self, now: float) -> list[dict[str, Any]]:
        last = self.world.quotes.last_price(self._instrument.conid, now)
        return [
            self._row(number, f"{last + (ROWS_PER_SIDE - number) * self._instrument.tick:,}", now)
            for number in range(2 * ROWS_PER_SIDE + 1)
        ]

    def _row(self, number: int, price: str, now: float) -> dict[str, Any]:
        size = str(100 + (int(now) * (number + 3)) % 900)
        bid, ask = (size if number > ROWS_PER_SIDE else "", size if number < ROWS_PER_SIDE else "")
        return {"row": number, "focus": int(number == ROWS_PER_SIDE), "price": price, "bid": bid, "ask": ask}


def begin_ladder(context: FeedContext, request: FeedRequest, now: float) -> Ladder | None:
    """Start a ladder, `sbd+account+conid+exchange`; the exchange is optional."""
    account, conid, *_ = [*request.target.split("+"), ""]
    instrument = find_instrument(context, conid)
    return (
        Ladder(context, request, account, instrument)
        if instrument is not None and account in context.world.accounts
        else None
    )
