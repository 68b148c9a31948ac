"""Charts, `smh`: all candles once, then updates of the last one; five at a time.

A sixth chart is refused until another has ended. A chart is ended by the number that IBKR gave it, not by its request,
so the same chart can be open twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkr_bridge.sim.market.feeds.feed import Feed, FeedContext, Message, RefusedError, changed_members
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.feeds.quotes import find_instrument
from ibkr_bridge.sim.market.instruments import Instrument
from ibkr_bridge.sim.market.quote_calls import draw_chart, parse_span

MAX_CHARTS = 5


class Chart(Feed):
    """One chart."""

    def __init__(
        self, context: FeedContext, request: FeedRequest, instrument: Instrument, candles: Mapping[str, Any], bar: int
    ) -> None:
        super().__init__(context, request)
        self.number = str(next(context.chart_numbers))
        self._instrument = instrument
        self._candles = candles
        self._bar = bar
        self._sent: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """See `Feed.key`."""
        return f"{self.request.topic} {self.number}"

    def is_ended_by(self, target: str) -> bool:
        """See `Feed.is_ended_by`."""
        return target == self.number

    def first_messages(self, now: float) -> list[Message]:
        """All candles of the period."""
        self._sent = self._candle(now)
        return [{**self._candles, "serverId": self.number, "topic": self.request.name}]

    def next_messages(self, now: float) -> list[Message]:
        """The changed members of the last candle: its close, and for a new candle its open too."""
        candle = self._candle(now)
        new = changed_members(candle, self._sent)
        self._sent = candle
        message = {"serverId": self.number, "data": [{**new, "t": candle["t"]}]}
        return [self.message(message)] if new else []

    def _candle(self, now: float) -> dict[str, Any]:
        start, quotes = now - now % self._bar, self.world.quotes
        price = {
            "o": quotes.last_price(self._instrument.conid, start),
            "c": quotes.last_price(self._instrument.conid, now),
        }
        return {**price, "t": self.world.calendar.epoch_ms(start)}


def begin_chart(context: FeedContext, request: FeedRequest, now: float) -> Chart | None:
    """Start a chart.

    Raises:
        RefusedError: five charts are open already, or there is no data for this one.
    """
    instrument = find_instrument(context, request.target)
    if sum(isinstance(each, Chart) for each in context.feeds()) >= MAX_CHARTS:
        raise RefusedError({"topic": request.name, "error": "Too many chart requests"})  # this text is invented
    query = {name: str(value).lower() for name, value in request.form.items()}
    candles = draw_chart(context.world, instrument, query, now) if instrument else None
    if instrument is None or candles is None:
        raise RefusedError({"topic": request.name, "error": "Chart data unavailable"})
    return Chart(context, request, instrument, candles, parse_span(query.get("bar", "1h")))
