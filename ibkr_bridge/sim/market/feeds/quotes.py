"""Quotes, `smd`: everything at first, later only what has changed, and after a quarter of an hour nothing, unsaid.

An instrument of which nothing is known, a derivative not searched for, and the hundred and first line get no answer.
"""

from __future__ import annotations

import re
from typing import Any

from ibkr_bridge.sim.market.feeds.feed import Feed, Floor, Message, changed
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, texts
from ibkr_bridge.sim.market.lines import Line
from ibkr_bridge.sim.market.quote_calls import ABOUT, DERIVATIVES, MAX_FIELDS, shown
from ibkr_bridge.sim.market.quotes import Instrument

LASTS = 900.0
"""Seconds after which a quote ends unless it is asked for again."""
EMPTY_EACH = 16
"""One update in so many is an empty one, without a contract id."""
CATCH_UP = 1.0
"""Seconds by which a rate may fall behind and is made up for."""
JUMPS = 401
"""Ticks between which prices jump where a rate is wanted; 7 leads through all of them."""
MOVING = {"31": 0, "84": -1, "86": 1}
"""Fields that jump, and how many ticks they are from the last price."""


class Quote(Feed):
    """One instrument's quotes on one socket."""

    def __init__(self, floor: Floor, asked: FeedRequest, what: Instrument, line: Line, until: float) -> None:
        super().__init__(floor, asked)
        self.line = line
        self.what = what
        self._until = until
        self._fields = texts(asked.form.get("fields"))[:MAX_FIELDS]
        self._told: dict[str, str] = {}
        self._count = 0

    @property
    def every(self) -> float:
        """See `Feed.every`."""
        return max(self.floor.quotes, 1) / self.floor.rate if self.floor.rate else self.floor.quotes_every

    @property
    def slack(self) -> float:
        """See `Feed.slack`."""
        return CATCH_UP if self.floor.rate else 0.0

    def first(self, now: float) -> list[Message]:
        """Everything there is of what was asked."""
        self._told = self._look(now)
        return [self._update({**ABOUT, **self._told}, now)]

    def later(self, now: float) -> list[Message]:
        """What has changed since; now and then nothing at all."""
        self._count += 1
        if self.floor.rate:
            new = {field: self._jumped(off) for field, off in MOVING.items() if field in self._fields}
        elif self._count % EMPTY_EACH == 0:
            return [self.says({"_updated": self.world.calendar.ms(now)})]
        else:
            new = changed(self._look(now), self._told)
        self._told |= new
        return [self._update(new, now)] if new else []

    def is_over(self, now: float) -> bool:
        """See `Feed.is_over`; a call over HTTP may have closed the line as well."""
        session = self.world.sessions.brokerage
        return now >= self._until or session is None or not session.lines.holds(self.what.conid, self.line)

    def _look(self, now: float) -> dict[str, str]:
        return shown(self.world.quotes, self.what, self._fields, self.line.opened, now)

    def _jumped(self, off: int) -> str:
        """Simple sums, as there may be a thousand a second: never the same price twice in a row."""
        return f"{self.what.price + self.what.tick * (self._count * 7 % JUMPS - JUMPS // 2 + off):,}"

    def _update(self, fields: dict[str, str], now: float) -> Message:
        about: dict[str, Any] = {"conid": self.what.conid, "conidEx": self.asked.target}
        return self.says({**about, "_updated": self.world.calendar.ms(now), **fields})


def quote(floor: Floor, asked: FeedRequest, now: float) -> Quote | None:
    """Open an instrument's quotes, or the same ones anew."""
    what = instrument(floor, asked.target.partition("@")[0])
    session = floor.world.sessions.brokerage
    if what is None or session is None or (what.kind in DERIVATIVES and what.conid not in session.searched):
        return None
    line = session.lines.take(what.conid, now, now + LASTS)
    return None if line is None else Quote(floor, asked, what, line, now + LASTS)


def give_back(floor: Floor, asked: FeedRequest) -> None:
    """Close an instrument's line, whoever opened it, unless a socket still listens to it."""
    what, session = instrument(floor, asked.target.partition("@")[0]), floor.world.sessions.brokerage
    heard = {feed.what for feed in floor.feeds() if isinstance(feed, Quote)}
    if what is not None and session is not None and what not in heard:
        session.lines.give_back(what.conid)


def instrument(floor: Floor, conid: str) -> Instrument | None:
    """What hides behind a contract id as a client wrote it; None where that is no number, or nothing does."""
    return floor.world.quotes.instrument(int(conid)) if re.fullmatch("[0-9]{1,12}", conid) else None
