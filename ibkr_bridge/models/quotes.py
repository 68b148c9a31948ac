"""Quotes and price history."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import Aging, Conid, Currency, Model, UtcTime


class QuoteKind(Enum):
    """What a quote is worth."""

    LIVE = "live"
    DELAYED = "delayed"  # by 10 to 20 minutes, without a subscription to market data
    FROZEN = "frozen"  # the last quote before the market closed
    CLOSED = "closed"  # the exchange is closed, and there is only the last close
    NONE = "none"  # IBKR sends none


class Quote(Aging, frozen=True):
    """The quote of one instrument."""

    conid: Conid
    symbol: str | None
    kind: QuoteKind
    currency: Currency | None
    last: Decimal | None
    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    previous_close: Decimal | None
    change: Annotated[Decimal | None, Meta(description="Since the previous close.")]
    change_percent: Decimal | None
    volume: Annotated[Decimal | None, Meta(description="Of the day, in units.")]


class QuoteProblem(Model, frozen=True):
    """Why an instrument that was asked for has no quote."""

    requested: Annotated[str, Meta(description="The symbol or number as it was asked for.")]
    code: str
    detail: str


class QuoteList(Model, frozen=True):
    """Quotes in the order in which they were asked for, and why others have none."""

    quotes: list[Quote]
    problems: list[QuoteProblem]


class Bar(Model, frozen=True):
    """One bar of a price history."""

    start: Annotated[UtcTime, Meta(description="When the bar begins.")]
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Annotated[Decimal | None, Meta(description="In units.")]


class History(Aging, frozen=True):
    """The prices of one instrument in the past."""

    conid: Conid
    symbol: str | None
    period: str
    bar: str
    kind: QuoteKind
    time_zone: Annotated[
        str | None, Meta(description="Time zone of the exchange, in which the days of its bars begin and end.")
    ]
    outside_hours: bool
    bars: list[Bar]
