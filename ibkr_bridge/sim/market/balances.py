"""How IBKR writes an account's balances: summaries, ledgers, profit and loss. Pure.

All calls and topics about money take their figures from here, and this file takes them from one `Statement`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.lots import ZERO
from ibkr_bridge.sim.market.money import Statement, Totals

Row = dict[str, Any]
BASE_TOTAL = "Total (in USD)"

AMOUNTS: Mapping[str, Callable[[Statement], Decimal]] = {
    "AccruedCash": lambda statement: ZERO,
    "AvailableFunds": lambda statement: statement.available_funds,
    "BuyingPower": lambda statement: statement.buying_power,
    "EquityWithLoanValue": lambda statement: statement.equity_with_loan,
    "ExcessLiquidity": lambda statement: statement.excess_liquidity,
    "FullAvailableFunds": lambda statement: statement.available_funds,
    "FullExcessLiquidity": lambda statement: statement.excess_liquidity,
    "FullInitMarginReq": lambda statement: statement.base.initial_margin,
    "FullMaintMarginReq": lambda statement: statement.base.maintenance_margin,
    "GrossPositionValue": lambda statement: statement.base.gross,
    "InitMarginReq": lambda statement: statement.base.initial_margin,
    "LookAheadAvailableFunds": lambda statement: statement.available_funds,
    "LookAheadExcessLiquidity": lambda statement: statement.excess_liquidity,
    "LookAheadInitMarginReq": lambda statement: statement.base.initial_margin,
    "LookAheadMaintMarginReq": lambda statement: statement.base.maintenance_margin,
    "MaintMarginReq": lambda statement: statement.base.maintenance_margin,
    "NetLiquidation": lambda statement: statement.base.net_liquidation,
    "PreviousDayEquityWithLoanValue": lambda statement: statement.day_start,
    "TotalCashValue": lambda statement: statement.base.cash,
}
"""The amounts of a summary, under IBKR's names."""

COMMODITY_AMOUNTS: Mapping[str, Callable[[Statement], Decimal]] = {
    **dict.fromkeys(("AvailableFunds", "FullAvailableFunds", "LookAheadAvailableFunds"), lambda statement: ZERO),
    **dict.fromkeys(
        ("ExcessLiquidity", "FullExcessLiquidity", "LookAheadExcessLiquidity"),
        lambda statement: statement.base.commodity_margin - statement.base.commodity_maintenance,
    ),
    **dict.fromkeys(
        ("InitMarginReq", "FullInitMarginReq", "LookAheadInitMarginReq", "NetLiquidation", "EquityWithLoanValue"),
        lambda statement: statement.base.commodity_margin,
    ),
    **dict.fromkeys(
        ("MaintMarginReq", "FullMaintMarginReq", "LookAheadMaintMarginReq"),
        lambda statement: statement.base.commodity_maintenance,
    ),
    "AccruedCash": lambda statement: ZERO,
    "TotalCashValue": lambda statement: statement.base.commodity_margin,
}
"""The part of an amount in the segment of commodities. IBKR moves the cash there that futures need as margin."""


def segment_amounts(statement: Statement) -> dict[str, Decimal]:
    """All amounts of a summary; `-C` is the segment of commodities, `-S` that of securities."""
    amounts = {}
    for name, amount_of in AMOUNTS.items():
        amounts[name] = amount_of(statement)
        if name in COMMODITY_AMOUNTS:
            amounts[f"{name}-C"] = COMMODITY_AMOUNTS[name](statement)
            amounts[f"{name}-S"] = amounts[name] - amounts[f"{name}-C"]
    return amounts


def summary_texts(account: str, statement: Statement) -> dict[str, str]:
    """The members of a summary that are texts."""
    value = statement.base.net_liquidation
    cushion = statement.excess_liquidity / value if value else ZERO
    texts = {"AccountCode": account, "AccountReady": "true", "AccountType": "INDIVIDUAL", "Cushion": f"{cushion:.6f}"}
    return texts | {"SegmentTitle-C": "US Commodities", "SegmentTitle-S": "US Securities"}


def brokerage_summary(statement: Statement) -> Row:
    """The summary of the brokerage session, as numbers."""
    base = statement.base
    return {
        "accountType": "",
        "status": "",
        "balance": base.net_liquidation,
        "SMA": statement.available_funds,
        "buyingPower": statement.buying_power,
        "availableFunds": statement.available_funds,
        "excessLiquidity": statement.excess_liquidity,
        "netLiquidationValue": base.net_liquidation,
        "equityWithLoanValue": statement.equity_with_loan,
        "regTLoan": 0.0,
        "securitiesGVP": base.gross,
        "totalCashValue": base.cash,
        "accruedInterest": 0.0,
        "regTMargin": base.initial_margin - base.commodity_margin,
        "initialMargin": base.initial_margin,
        "maintenanceMargin": base.maintenance_margin,
        "cashBalances": [_cash_row(each.currency, each) for each in statement.by_currency]
        + [_cash_row(BASE_TOTAL, base)],
    }


def profit_row(statement: Statement) -> Row:
    """Profit and loss: of the day (`dpl`), open (`upl`), with the values that belong to it."""
    liquidity = statement.excess_liquidity
    return {
        "rowType": 1,
        "dpl": statement.day_profit,
        "nl": statement.base.net_liquidation,
        "upl": statement.base.unrealised,
        "uel": liquidity,
        "el": liquidity,
        "mv": statement.base.market_value,
    }


def ledger_totals(statement: Statement) -> dict[str, Totals]:
    """The totals of each currency, and of all under BASE."""
    return {each.currency: each for each in statement.by_currency} | {"BASE": statement.base}


NOT_HELD = (
    *("cashbalancefxsegment", "commoditymarketvalue", "corporatebondsmarketvalue", "cryptocurrencyvalue", "dividends"),
    *("funds", "futureoptionmarketvalue", "interest", "issueroptionsmarketvalue", "moneyfunds", "tbillsmarketvalue"),
    "warrantsmarketvalue",
)
"""The members of a ledger's row that are always 0."""


def ledger_row(account: str, name: str, totals: Totals, second: int) -> Row:
    """One currency of a ledger; `second` is the time in seconds since 1970."""
    return dict.fromkeys(NOT_HELD, 0.0) | {
        "acctcode": account,
        "cashbalance": totals.cash,
        "currency": name,
        "exchangerate": totals.rate,
        "futuremarketvalue": totals.futures,
        "futuresonlypnl": totals.futures,
        "key": "LedgerList",
        "netliquidationvalue": totals.net_liquidation,
        "realizedpnl": totals.realised,
        "secondkey": name,
        "sessionid": 1,
        "settledcash": totals.cash,
        "severity": 0,
        "stockmarketvalue": totals.stocks,
        "stockoptionmarketvalue": totals.options,
        "tbondsmarketvalue": totals.bonds,
        "timestamp": second,
        "unrealizedpnl": totals.unrealised,
    }


def stream_ledger_row(account: str, name: str, totals: Totals) -> Row:
    """One currency of a ledger on the stream."""
    return {
        "acctCode": account,
        "cashbalance": totals.cash,
        "commodityMarketValue": 0.0,
        "exchangeRate": totals.rate,
        "futureMarketValue": totals.futures,
        "marketValue": totals.market_value,
        "netLiquidationValue": totals.net_liquidation,
        "optionMarketValue": totals.options,
        "realizedPnl": totals.realised,
        "secondKey": name,
        "settledCash": totals.cash,
        "severity": 0,
        "stockMarketValue": totals.stocks,
        "unrealizedPnl": totals.unrealised,
    }


def _cash_row(name: str, totals: Totals) -> Row:
    return {"currency": name, "balance": totals.cash, "settledCash": totals.cash}
