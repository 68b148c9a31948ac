"""The four pages of the brokerage summary: the same balances as text with a currency, as IBKR writes them for people.

Pure. Each page has sections: the total, the segment of commodities and that of securities, or one for each currency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from ibkr_bridge.sim.market.balances import BASE_TOTAL, segment_amounts
from ibkr_bridge.sim.market.lots import ZERO
from ibkr_bridge.sim.market.money import Statement, Totals

Page = dict[str, dict[str, str]]
SEGMENTS = {"total": "", "commodities": "-C", "securities": "-S"}
NO_AMOUNT = ""
"""The name of an amount that is always zero."""

AVAILABLE_FUNDS = {
    "current_available": "AvailableFunds",
    "current_excess": "ExcessLiquidity",
    "Prdctd Pst-xpry Excss": NO_AMOUNT,
    "Lk Ahd Avlbl Fnds": "LookAheadAvailableFunds",
    "Lk Ahd Excss Lqdty": "LookAheadExcessLiquidity",
    "overnight_available": "AvailableFunds",
    "overnight_excess": "ExcessLiquidity",
    "buying_power": "BuyingPower",
}
BALANCES = {
    "net_liquidation": "NetLiquidation",
    "Nt Lqdtn Uncrtnty": NO_AMOUNT,
    "equity_with_loan": "EquityWithLoanValue",
    "Prvs Dy Eqty Wth Ln Vl": "PreviousDayEquityWithLoanValue",
    "sec_gross_pos_val": "GrossPositionValue",
    "cash": "TotalCashValue",
    "MTD Interest": NO_AMOUNT,
    "Pndng Dbt Crd Chrgs": NO_AMOUNT,
}
MARGINS = {
    "current_initial": "InitMarginReq",
    "Prdctd Pst-xpry Mrgn @ Opn": NO_AMOUNT,
    "current_maint": "MaintMarginReq",
    "projected_liquidity_inital_margin": "LookAheadInitMarginReq",  # IBKR's own spelling
    "Prjctd Lk Ahd Mntnnc Mrgn": "LookAheadMaintMarginReq",
    "projected_overnight_initial_margin": "InitMarginReq",
    "Prjctd Ovrnght Mntnnc Mrgn": "MaintMarginReq",
}


def _segment_page(names: Mapping[str, str]) -> Callable[[Statement], Page]:
    def page(statement: Statement) -> Page:
        amounts = segment_amounts(statement)
        sections: Page = {}
        for section, suffix in SEGMENTS.items():
            keys = {key: f"{name}{suffix}" if name else NO_AMOUNT for key, name in names.items()}
            shown = {key: name for key, name in keys.items() if name == NO_AMOUNT or name in amounts}
            sections[section] = {key: f"{amounts.get(name, ZERO):,.0f} USD" for key, name in shown.items()}
        return sections

    return page


def _market_value_page(statement: Statement) -> Page:
    sections = {each.currency: each for each in statement.by_currency} | {BASE_TOTAL: statement.base}
    return {name: _market_value_section(totals) for name, totals in sections.items()}


def _market_value_section(totals: Totals) -> dict[str, str]:
    amounts: dict[str, Decimal] = {
        "total_cash": totals.cash,
        "settled_cash": totals.cash,
        "MTD Interest": ZERO,
        "stock": totals.stocks,
        "options": totals.options,
        "futures": totals.futures,
        "future_options": ZERO,
        "funds": ZERO,
        "dividends_receivable": ZERO,
        "mutual_funds": ZERO,
        "money_market": ZERO,
        "bonds": ZERO,
        "Govt Bonds": totals.bonds,
        "t_bills": ZERO,
        "warrants": ZERO,
        "issuer_option": ZERO,
        "commodity": ZERO,
        "Notional CFD": ZERO,
        "cfd": ZERO,
        "Cryptocurrency": ZERO,
        "net_liquidation": totals.net_liquidation,
        "unrealized_pnl": totals.unrealised,
        "realized_pnl": totals.realised,
    }
    return {name: f"{amount:,.0f}" for name, amount in amounts.items()} | {"Exchange Rate": f"{totals.rate:.7g}"}


PAGES: Mapping[str, Callable[[Statement], Page]] = {
    "available_funds": _segment_page(AVAILABLE_FUNDS),
    "balances": _segment_page(BALANCES),
    "margins": _segment_page(MARGINS),
    "market_value": _market_value_page,
}
