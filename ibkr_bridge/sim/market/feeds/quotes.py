"""Quotes, `smd`: all fields first, then changes, and after fifteen minutes nothing more, without notice.

An unknown contract, a derivative that no search has found, and a contract beyond 100 market data lines get no response.
"""

from __future__ import annotations

import re
from typing import Any

from ibkr_bridge.sim.market.feeds.feed import Feed, FeedContext, Message, changed_members
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, read_texts
from ibkr_bridge.sim.market.instruments import Instrument
from ibkr_bridge.sim.market.lines import MarketDataLine
from ibkr_bridge.sim.market.quote_calls import AVAILABILITY, MAX_FIELDS, SERVER, shown_fields

QUOTE_TTL_S = 900.0
"""A quote ends after this time unless it is requested again."""
EMPTY_UPDATE_EVERY = 16
"""One update in so many is empty, without a contract id."""
MAX_CATCH_UP_S = 1.0
"""With a rate, updates that are late by up to this time are made up for."""
JUMP_RANGE_TICKS = 401
"""With a rate, prices jump within this many ticks. Steps of 7 lead through all of them."""
MOVING_FIELDS = {"31": 0, "84": -1, "86": 1}
"""The fields that jump, each with its distance from the last price in ticks."""


class Quote(Feed):
    """One instrument's quotes on one socket."""

    def __init__(
        self, context: FeedContext, request: FeedRequest, instrument: Instrument, line: MarketDataLine, ends_at: float
    ) -> None:
        super().__init__(context, request)
        self.line = line
        self.instrument = instrument
        self._ends_at = ends_at
        self._fields = read_texts(request.form.get("fields"))[:MAX_FIELDS]
        self._sent: dict[str, str] = {}
        self._update_count = 0

    @property
    def interval_s(self) -> float:
        """See `Feed.interval_s`."""
        return (
            max(self.context.quote_count, 1) / self.context.rate if self.context.rate else self.context.quote_interval_s
        )

    @property
    def slack_s(self) -> float:
        """See `Feed.slack_s`."""
        return MAX_CATCH_UP_S if self.context.rate else 0.0

    def first_messages(self, now: float) -> list[Message]:
        """All available ones of the requested fields."""
        self._sent = self._current_fields(now)
        return [self._update({**SERVER, **self._sent}, now)]

    def next_messages(self, now: float) -> list[Message]:
        """The fields that have changed; at times an empty update."""
        self._update_count += 1
        if self.context.rate:
            new = {field: self._jumping_price(off) for field, off in MOVING_FIELDS.items() if field in self._fields}
        elif self._update_count % EMPTY_UPDATE_EVERY == 0:
            return [self.message({"_updated": self.world.calendar.epoch_ms(now)})]
        else:
            new = changed_members(self._current_fields(now), self._sent)
        self._sent |= new
        return [self._update(new, now)] if new else []

    def is_over(self, now: float) -> bool:
        """See `Feed.is_over`; a call over HTTP may have released the market data line too."""
        session = self.world.sessions.brokerage
        return now >= self._ends_at or session is None or not session.lines.is_open(self.instrument.conid, self.line)

    def _current_fields(self, now: float) -> dict[str, str]:
        quotes, instrument = self.world.quotes, self.instrument
        fields = shown_fields(quotes, instrument, self._fields, self.line.opened_at, now)
        return {AVAILABILITY: quotes.availability.code_of(instrument.conid), **fields}

    def _jumping_price(self, offset_ticks: int) -> str:
        """A price that is never the same twice in a row. The sum is simple, as there may be a thousand a second."""
        jump_ticks = self._update_count * 7 % JUMP_RANGE_TICKS - JUMP_RANGE_TICKS // 2 + offset_ticks
        return f"{self.instrument.price + self.instrument.tick * jump_ticks:,}"

    def _update(self, fields: dict[str, str], now: float) -> Message:
        contract: dict[str, Any] = {"conid": self.instrument.conid, "conidEx": self.request.target}
        return self.message({**contract, "_updated": self.world.calendar.epoch_ms(now), **fields})


def begin_quote(context: FeedContext, request: FeedRequest, now: float) -> Quote | None:
    """Open the quotes of a contract, or prolong them."""
    instrument = find_instrument(context, request.target.partition("@")[0])
    session = context.world.sessions.brokerage
    if (
        instrument is None
        or session is None
        or (instrument.is_derivative and instrument.conid not in session.searched_conids)
    ):
        return None
    line = session.lines.open_line(instrument.conid, now, now + QUOTE_TTL_S)
    return None if line is None else Quote(context, request, instrument, line, now + QUOTE_TTL_S)


def release_line(context: FeedContext, request: FeedRequest) -> None:
    """Release the market data line of a contract, unless a socket still streams it. Any caller may have opened it."""
    instrument, session = find_instrument(context, request.target.partition("@")[0]), context.world.sessions.brokerage
    streamed = {feed.instrument for feed in context.feeds() if isinstance(feed, Quote)}
    if instrument is not None and session is not None and instrument not in streamed:
        session.lines.close_line(instrument.conid)


def find_instrument(context: FeedContext, conid: str) -> Instrument | None:
    """The instrument of a contract id as a client wrote it; None if it is not a number or unknown."""
    return context.world.quotes.instrument(int(conid)) if re.fullmatch("[0-9]{1,12}", conid) else None
