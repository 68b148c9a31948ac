"""IBKR's words for classes of instruments, sides and rights, and ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ibkr_bridge.models.base import AssetClass, Right, Side

CLASS_BY_WORD: Mapping[str, AssetClass] = {
    "STK": AssetClass.STOCK,
    "ETF": AssetClass.ETF,
    "OPT": AssetClass.OPTION,
    "FUT": AssetClass.FUTURE,
    "FOP": AssetClass.FUTURE_OPTION,
    "CASH": AssetClass.CURRENCY,
    "BOND": AssetClass.BOND,
    "BILL": AssetClass.BOND,
    "FUND": AssetClass.FUND,
    "WAR": AssetClass.WARRANT,
    "IOPT": AssetClass.WARRANT,
    "IND": AssetClass.INDEX,
    "CRYPTO": AssetClass.CRYPTO,
    "CFD": AssetClass.CFD,
    "BAG": AssetClass.COMBINATION,
}
WORD_BY_CLASS: Mapping[AssetClass, str] = {  # ETFs are stocks at IBKR
    **{each: word for word, each in reversed(list(CLASS_BY_WORD.items()))},
    AssetClass.ETF: "STK",
}
SIDES: Mapping[str, Side] = {
    **dict.fromkeys(("B", "BUY", "BOT"), Side.BUY),
    **dict.fromkeys(("S", "SELL", "SLD", "SSHORT"), Side.SELL),
}
RIGHTS: Mapping[str, Right] = {"C": Right.CALL, "CALL": Right.CALL, "P": Right.PUT, "PUT": Right.PUT}


def asset_class_of(word: object) -> AssetClass:
    """The class that a word of IBKR's names."""
    return CLASS_BY_WORD.get(str(word or "").upper(), AssetClass.OTHER)


def side_of(word: object) -> Side | None:
    """The side that a word of IBKR's names; None if it names none."""
    return SIDES.get(str(word or "").upper())


def right_of(word: object) -> Right | None:
    """The right that a word of IBKR's names; None if it names none."""
    return RIGHTS.get(str(word or "").upper())
