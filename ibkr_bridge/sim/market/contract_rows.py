"""How IBKR writes contracts, in each of its calls about them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ibkr_bridge.sim.market.instruments import CURRENCY, STOCK, Instrument

MONTHS = "SEP27;DEC27;MAR28"
"""The months of options that a search names."""


def search_row(instrument: Instrument) -> dict[str, Any]:
    """One contract as a search finds it, with the classes of derivatives on it."""
    sections: list[dict[str, str]] = [{"secType": instrument.kind}]
    if instrument.kind == STOCK and instrument.country == "US":
        sections.append({"secType": "OPT", "months": MONTHS, "exchange": "SMART;CBOE"})
    return {
        "conid": str(instrument.conid),
        "companyHeader": f"{instrument.name} - {instrument.exchange}",
        "companyName": instrument.name,
        "symbol": instrument.symbol,
        "description": instrument.exchange,
        "restricted": None,
        "sections": sections,
    }


def details_row(instrument: Instrument) -> dict[str, Any]:
    """All that IBKR says of one contract."""
    return {
        "con_id": instrument.conid,
        "conid": instrument.conid,
        "symbol": instrument.symbol,
        "ticker": instrument.symbol,
        "company_name": instrument.name,
        "instrument_type": instrument.kind,
        "secType": instrument.kind,
        "exchange": instrument.exchange,
        "valid_exchanges": f"SMART,{instrument.exchange}",
        "currency": instrument.currency,
        "multiplier": str(instrument.multiplier) if instrument.is_derivative else None,
        "smart_available": True,
        "local_symbol": instrument.symbol,
        "maturity_date": instrument.expiry or None,
        "strike": instrument.strike or 0.0,
        "right": instrument.right or None,
        "underlying_con_id": instrument.underlying_conid,
        "r_t_h": True,
        "trading_class": instrument.symbol,
    }


OUTSIDE_HOURS = ["limit", "stop_limit", "lit", "trailing_stop_limit", "relative"]
DERIVATIVE_TYPES = ["limit", "market", "stop", "stop_limit", "mit", "lit", "trailing_stop", "trailing_stop_limit"]
STOCK_TYPES = [*DERIVATIVE_TYPES, "midprice", "relative", "marketonclose", "limitonclose"]
TIMES = ["IOC/MARKET,LIMIT,RELATIVE,MARKETONCLOSE,MIDPRICE,LIMITONCLOSE,MKT_PROTECT,STPPRT,a", "GTC/o,a", "DAY/o,a"]


def rules_row(instrument: Instrument, accounts: Iterable[str]) -> dict[str, Any]:
    """The order types, sizes and prices that a contract allows: for a stock as IBKR's OpenAPI document shows them.

    What IBKR says of other classes is not documented; the lists are shorter by what exists for stocks alone.
    """
    is_stock = instrument.kind == STOCK
    return {
        "algoEligible": True,
        "canTradeAcctIds": [*accounts],
        "error": None,
        "orderTypes": STOCK_TYPES if is_stock else DERIVATIVE_TYPES,
        "fraqTypes": DERIVATIVE_TYPES if is_stock else [],
        "cqtTypes": DERIVATIVE_TYPES if is_stock or instrument.kind == CURRENCY else [],
        "orderTypesOutside": OUTSIDE_HOURS,
        "defaultSize": 100,
        "sizeIncrement": 100 if is_stock else 1,
        "tifTypes": [*TIMES, "OPG/LIMIT,MARKET,a"] if is_stock else TIMES,
        "limitPrice": instrument.price,
        "priceMagnifier": None,
        "negativeCapable": False,
        "incrementRules": [{"lowerEdge": 0.0, "increment": instrument.tick}],
        "increment": instrument.tick,
        "incrementDigits": -int(instrument.tick.as_tuple().exponent),
        "forceOrderPreview": False,
        "preview": True,
    }


def definition_row(instrument: Instrument) -> dict[str, Any]:
    """The definition of one contract, as `/trsrv/secdef` writes it."""
    return {
        "conid": instrument.conid,
        "currency": instrument.currency,
        "name": instrument.name,
        "assetClass": instrument.kind,
        "ticker": instrument.symbol,
        "listingExchange": instrument.exchange,
        "multiplier": instrument.shown_multiplier,
        "incrementRules": [{"lowerEdge": 0.0, "increment": instrument.tick}],
        "allExchanges": f"SMART,{instrument.exchange}",
        "hasOptions": instrument.kind == STOCK and instrument.country == "US",
        "strike": "0" if instrument.strike is None else str(instrument.strike),
        "putOrCall": instrument.right or None,
        "expiry": instrument.expiry or None,
        "undConid": instrument.underlying_conid,
        "countryCode": instrument.country,
        "fullName": instrument.full_name,
    }


def stock_row(instrument: Instrument) -> dict[str, Any]:
    """One stock with the contract of its listing."""
    listed = [{"conid": instrument.conid, "exchange": instrument.exchange, "isUS": instrument.country == "US"}]
    return {"name": instrument.name, "chineseName": None, "assetClass": instrument.kind, "contracts": listed}


def future_row(instrument: Instrument) -> dict[str, Any]:
    """One future with its last trading day."""
    dates = {"expirationDate": int(instrument.expiry), "ltd": int(instrument.expiry)}
    return {
        "symbol": instrument.symbol,
        "conid": instrument.conid,
        "underlyingConid": instrument.underlying_conid,
    } | dates
