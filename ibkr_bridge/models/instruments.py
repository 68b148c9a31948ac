"""Instruments: what can be held and traded."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import AssetClass, Conid, Currency, Model, Right


class Candidate(Model, frozen=True):
    """An instrument that a symbol may stand for."""

    conid: Conid
    symbol: str
    name: str | None
    asset_class: AssetClass
    exchange: str | None
    expiry: date | None


class Instrument(Model, frozen=True):
    """One instrument."""

    conid: Conid
    symbol: str
    name: str | None
    asset_class: AssetClass
    currency: Currency | None
    exchange: Annotated[str | None, Meta(description="Where it is listed.")]
    exchanges: Annotated[list[str], Meta(description="Where it can be traded.")]
    multiplier: Annotated[Decimal, Meta(description="Units in one contract; 1 for stocks.")]
    expiry: date | None
    strike: Decimal | None
    right: Right | None


class InstrumentSearch(Model, frozen=True):
    """What a symbol stands for."""

    instrument: Annotated[Instrument, Meta(description="The one that orders and quotes use for the symbol.")]
    candidates: Annotated[list[Candidate], Meta(description="All that the symbol may stand for, this one included.")]
