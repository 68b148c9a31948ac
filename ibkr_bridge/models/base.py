"""What all shapes have in common: they are frozen, each member is named, and they are written as JSON. Also the parts
that many of them share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct, json, to_builtins

UtcTime = Annotated[datetime, Meta(tz=True)]
AccountId = Annotated[str, Meta(description="An account number at IBKR.", examples=["DU1234567"])]
Conid = Annotated[int, Meta(description="IBKR's number of an instrument.", gt=0, le=10**12, examples=[265598])]
Currency = Annotated[str, Meta(description="ISO 4217 code of a currency.", examples=["USD"])]
Symbol = Annotated[
    str, Meta(description="A symbol; `SYMBOL@EXCHANGE` names the exchange too.", max_length=64, examples=["AAPL"])
]


HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_encode = json.Encoder().encode


def encode_shape(shape: Model | Mapping[str, object]) -> bytes:
    """A shape as JSON. JSON of others can have half a character, which UTF-8 has not: a mark stands for it then.

    An order must not become an error because of one character in IBKR's words.
    """
    try:
        return _encode(shape)
    except UnicodeEncodeError:
        return _encode(_whole(to_builtins(shape)))


def _whole(value: object) -> object:
    if isinstance(value, str):
        return HALF_CHARACTER.sub("\ufffd", value)
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


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
