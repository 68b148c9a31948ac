"""How IBKR writes positions and their allocation to classes and sectors. Pure."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.instruments import CURRENCY, FUTURE, STOCK, Instrument, find_instrument
from ibkr_bridge.sim.market.lots import ZERO, to_cents
from ibkr_bridge.sim.market.money import Position, Statement, Totals

PAGE_ROWS = 100
COST_DIGITS = Decimal("0.00000001")
OTHERS = "Others"


def held_positions(statement: Statement) -> list[Position]:
    """What is held, in a stable order."""
    return [each for each in statement.positions if each.size]


def position_row(account: str, position: Position) -> dict[str, Any]:
    """One position."""
    instrument = position.instrument
    return {
        "acctId": account,
        "conid": instrument.conid,
        "contractDesc": instrument.description,
        "position": position.size,
        "mktPrice": position.price,
        "mktValue": position.value,
        "currency": instrument.currency,
        "avgCost": position.average_cost.quantize(COST_DIGITS),
        "avgPrice": position.average_price.quantize(COST_DIGITS),
        "realizedPnl": position.lot.realised,
        "unrealizedPnl": position.unrealised,
        "exchs": None,
        "expiry": instrument.expiry or None,
        "putOrCall": instrument.right or None,
        "multiplier": instrument.shown_multiplier,
        "strike": "0" if instrument.strike is None else str(instrument.strike),
        "exerciseStyle": None,
        "conExchMap": [],
        "assetClass": instrument.kind,
        "undConid": instrument.underlying_conid,
        "model": "",
        **_contract_members(instrument),
    }


def real_time_row(position: Position, second: int) -> dict[str, Any]:
    """One position as /portfolio2 writes it, with keys of its own; `second` is the time in seconds since 1970."""
    instrument = position.instrument
    return {
        "position": position.size,
        "conid": str(instrument.conid),
        "avgCost": position.average_cost.quantize(COST_DIGITS),
        "avgPrice": position.average_price.quantize(COST_DIGITS),
        "currency": instrument.currency,
        "description": instrument.description,
        "isLastToLoq": False,
        "marketPrice": position.price,
        "marketValue": position.value,
        "realizedPnl": position.lot.realised,
        "secType": instrument.kind,
        "timestamp": second,
        "unrealizedPnl": position.unrealised,
        "assetClass": instrument.kind,
        "sector": instrument.sector.sector if instrument.sector else None,
        "group": instrument.sector.group if instrument.sector else None,
        "model": "",
    }


def _contract_members(instrument: Instrument) -> dict[str, Any]:
    """What a position says of its contract."""
    sector, underlying = instrument.sector, find_instrument(instrument.underlying_conid)
    digits = max(-int(instrument.tick.as_tuple().exponent), 0)
    steps = [{"decimalDigits": digits, "lowerEdge": 0.0, "wholeDigits": 4}]
    members: dict[str, Any] = {
        "incrementRules": [{"lowerEdge": 0.0, "increment": instrument.tick}],
        "displayRule": {"magnification": 0, "displayRuleStep": steps},
        "crossCurrency": instrument.currency != "USD",
        "time": 6,
        "allExchanges": f"SMART,{instrument.exchange}",
        "listingExchange": instrument.exchange,
        "countryCode": instrument.country,
        "name": instrument.name,
        "lastTradingDay": instrument.expiry or None,
        "group": sector.group if sector else None,
        "sector": sector.sector if sector else None,
        "sectorGroup": sector.sector_group if sector else None,
        "ticker": instrument.symbol,
        "type": "COMMON" if instrument.kind == STOCK and sector else "ETF" if instrument.kind == STOCK else "",
        "hasOptions": instrument.kind == STOCK and instrument.country == "US",
        "fullName": instrument.full_name,
        "isUS": instrument.country == "US",
        "isEventContract": False,
        "pageSize": PAGE_ROWS,
    }
    return members | ({"undComp": underlying.name, "undSym": underlying.symbol} if underlying else {})


def allocation(statements: list[Statement]) -> dict[str, Any]:
    """The value of accounts by asset class, sector and group, in the base currency. Cash counts as a class."""
    classes, sectors, groups = _Sides(), _Sides(), _Sides()
    for statement in statements:
        for totals in statement.by_currency:
            classes.add(CURRENCY, totals, totals.cash)
            for position in held_positions(statement):
                instrument = position.instrument
                if instrument.kind == FUTURE or instrument.currency != totals.currency:
                    continue  # the profit of a future is part of the cash
                classes.add(instrument.kind, totals, position.value)
                sectors.add(instrument.sector.sector if instrument.sector else OTHERS, totals, position.value)
                groups.add(instrument.sector.group if instrument.sector else OTHERS, totals, position.value)
    return {"assetClass": classes.row(), "sector": sectors.row(), "group": groups.row()}


class _Sides:
    """Amounts by name, positive and negative ones apart; those of one currency are converted together."""

    def __init__(self) -> None:
        self._amounts: dict[tuple[str, str, Decimal], Decimal] = defaultdict(Decimal)

    def add(self, name: str, totals: Totals, amount: Decimal) -> None:
        """Add an amount in the currency of `totals`."""
        self._amounts["short" if amount < 0 else "long", name, totals.rate] += amount

    def row(self) -> dict[str, dict[str, Decimal]]:
        """Both sides in the base currency."""
        sides: dict[str, dict[str, Decimal]] = {"long": {}, "short": {}}
        for (side, name, rate), amount in self._amounts.items():
            sides[side][name] = sides[side].get(name, ZERO) + to_cents(amount * rate)
        return sides
