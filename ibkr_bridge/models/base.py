"""What all shapes have in common: they are frozen, and each member is named. Also the parts that many of them share."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct

UtcTime = Annotated[datetime, Meta(tz=True)]
AccountId = Annotated[str, Meta(description="An account number at IBKR.", examples=["DU1234567"])]
Conid = Annotated[int, Meta(description="IBKR's number of an instrument.", gt=0, le=10**12, examples=[265598])]
Currency = Annotated[str, Meta(description="ISO 4217 code of a currency.", examples=["USD"])]
Symbol = Annotated[
    str, Meta(description="A symbol; `SYMBOL@EXCHANGE` names the exchange too.", max_length=64, examples=["AAPL"])
]


class Model(Struct, frozen=True):
    """A shape of the plain API. A reader ignores members that it does not know: a newer bridge may add some."""


class RequestModel(Model, frozen=True, forbid_unknown_fields=True):
    """A shape that callers send. A member that the bridge does not know is refused: it may be misspelt."""


class Aging(Model, frozen=True):
    """What ages: how old it is, and whether newer figures exist."""

    as_of: Annotated[UtcTime, Meta(description="When IBKR gave these figures.")]
    stale: Annotated[
        bool, Meta(description="Whether newer figures exist or may exist: the source is lost, delayed or closed.")
    ]


class AssetClass(Enum):
    """The class of an instrument."""

    STOCK = "stock"
    ETF = "etf"
    OPTION = "option"
    FUTURE = "future"
    FUTURE_OPTION = "future_option"
    CURRENCY = "currency"
    BOND = "bond"
    FUND = "fund"
    WARRANT = "warrant"
    INDEX = "index"
    CRYPTO = "crypto"
    CFD = "cfd"
    COMBINATION = "combination"
    OTHER = "other"


class Side(Enum):
    """The side of an order or a trade."""

    BUY = "buy"
    SELL = "sell"


class Right(Enum):
    """What an option gives the right to do."""

    CALL = "call"
    PUT = "put"
