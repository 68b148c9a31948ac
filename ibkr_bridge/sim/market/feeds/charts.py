"""Charts, `smh`: the candles once, then scraps of the last one. Five at a time, and only an end makes room for another.

They are ended by the number IBKR gave them, not by what was asked; the same chart can therefore be open twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkr_bridge.sim.market.feeds.feed import Feed, Floor, Message, RefusedError, changed
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.feeds.quotes import instrument
from ibkr_bridge.sim.market.quote_calls import chart, span
from ibkr_bridge.sim.market.quotes import Instrument

MOST = 5


class Chart(Feed):
    """One chart."""

    def __init__(self, floor: Floor, asked: FeedRequest, what: Instrument, drawn: Mapping[str, Any], bar: int) -> None:
        super().__init__(floor, asked)
        self.number = str(next(floor.charts))
        self._what = what
        self._drawn = drawn
        self._bar = bar
        self._told: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """See `Feed.key`."""
        return f"{self.asked.topic} {self.number}"

    def goes_by(self, target: str) -> bool:
        """See `Feed.goes_by`."""
        return target == self.number

    def first(self, now: float) -> list[Message]:
        """The whole period."""
        self._told = self._candle(now)
        return [{**self._drawn, "serverId": self.number, "topic": self.asked.name}]

    def later(self, now: float) -> list[Message]:
        """What has changed of the last candle: its close, and with a new one its open as well."""
        candle = self._candle(now)
        new = changed(candle, self._told)
        self._told = candle
        scrap = {"serverId": self.number, "data": [{**new, "t": candle["t"]}]}
        return [self.says(scrap)] if new else []

    def _candle(self, now: float) -> dict[str, Any]:
        start, quotes = now - now % self._bar, self.world.quotes
        price = {"o": quotes.last(self._what.conid, start), "c": quotes.last(self._what.conid, now)}
        return {**price, "t": self.world.calendar.ms(start)}


def begin_chart(floor: Floor, asked: FeedRequest, now: float) -> Chart | None:
    """Draw a chart and keep it up.

    Raises:
        RefusedError: there are five already, or there is nothing to be drawn.
    """
    what = instrument(floor, asked.target)
    if sum(isinstance(each, Chart) for each in floor.feeds()) >= MOST:
        raise RefusedError({"topic": asked.name, "error": "Too many chart requests"})  # in words of ours
    query = {name: str(value).lower() for name, value in asked.form.items()}
    drawn = chart(floor.world, what, query, now) if what else None
    if what is None or drawn is None:
        raise RefusedError({"topic": asked.name, "error": "Chart data unavailable"})
    return Chart(floor, asked, what, drawn, span(query.get("bar", "1h")))
