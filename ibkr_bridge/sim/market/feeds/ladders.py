"""The ladder of prices, `sbd`: how much is offered and wanted at each, around the last one. It is ended by account."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.market.feeds.feed import Feed, Floor, Message
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.feeds.quotes import instrument
from ibkr_bridge.sim.market.quotes import Instrument

HALF = 5
"""Rows above and below the last price."""


class Ladder(Feed):
    """One instrument's ladder."""

    def __init__(self, floor: Floor, asked: FeedRequest, account: str, what: Instrument) -> None:
        super().__init__(floor, asked)
        self._account = account
        self._what = what
        self._told: list[dict[str, Any]] = []

    def goes_by(self, target: str) -> bool:
        """See `Feed.goes_by`."""
        return target == self._account

    def first(self, now: float) -> list[Message]:
        """Every row."""
        self._told = self._rows(now)
        return [self.says({"data": self._told})]

    def later(self, now: float) -> list[Message]:
        """The rows that have changed."""
        rows = self._rows(now)
        new = [row for row, old in zip(rows, self._told, strict=True) if row != old]
        self._told = rows
        return [self.says({"data": new})] if new else []

    def _rows(self, now: float) -> list[dict[str, Any]]:
        last = self.world.quotes.last(self._what.conid, now)
        return [
            self._row(number, f"{last + (HALF - number) * self._what.tick:,}", now) for number in range(2 * HALF + 1)
        ]

    def _row(self, number: int, price: str, now: float) -> dict[str, Any]:
        size = str(100 + (int(now) * (number + 3)) % 900)
        bid, ask = (size if number > HALF else "", size if number < HALF else "")
        return {"row": number, "focus": int(number == HALF), "price": price, "bid": bid, "ask": ask}


def ladder(floor: Floor, asked: FeedRequest, now: float) -> Ladder | None:
    """Show a ladder, `sbd+account+conid+exchange`, the exchange left out at will."""
    account, conid, *_ = [*asked.target.split("+"), ""]
    what = instrument(floor, conid)
    return Ladder(floor, asked, account, what) if what is not None and account in floor.world.accounts else None
