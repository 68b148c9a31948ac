"""IBKR's rows about accounts, as recorded, and with members missing or broken."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.models.accounts import AccountEntry, AccountKind
from ibkr_bridge.models.base import AssetClass, Right
from ibkr_bridge.translation.accounts import (
    AccountFigures,
    read_account,
    read_account_entries,
    read_balance,
    read_positions,
    read_trades,
)
from tests.translation import shown

ENTRY = AccountEntry("DU1", "A Person", "EUR", AccountKind.PAPER)
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SUMMARY = {
    "netliquidation": {"amount": Decimal("215100.43"), "currency": "EUR", "isNull": False},
    "totalcashvalue": {"amount": 1000, "currency": "EUR", "isNull": False},
    "buyingpower": {"amount": 0, "currency": None, "isNull": True},
}
LEDGER = {
    "USD": {"cashbalance": Decimal("10.5"), "settledcash": 10, "exchangerate": Decimal("0.92")},
    "BASE": {"cashbalance": 1000, "unrealizedpnl": Decimal("39695.82"), "realizedpnl": Decimal("-1.5")},
}
PNL = {"upnl": {"DU1.Core": {"dpl": Decimal("15.7"), "upl": Decimal("607.0")}, "DU10.Core": {"dpl": 99}}}
OPTION = {
    "acctId": "DU1",
    "conid": 722971234,
    "contractDesc": "SPY    DEC2026 540 C [SPY   261218C00540000 100]",
    "position": Decimal("-2.0"),
    "mktPrice": Decimal("5.11999989"),
    "mktValue": Decimal("-1024.0"),
    "currency": "USD",
    "avgCost": Decimal("498.95"),
    "avgPrice": Decimal("4.9895"),
    "unrealizedPnl": Decimal("-26.1"),
    "assetClass": "OPT",
    "multiplier": 100,
    "expiry": "20261218",
    "strike": "540",
    "putOrCall": "C",
}
TRADE = {
    "execution_id": "0000e0d5.6576fd38.01.01",
    "symbol": "IBKR",
    "side": "B",
    "order_id": 1370093238,
    "order_ref": "mine",
    "trade_time_r": 1_700_000_000_000,
    "size": 5,
    "price": "192.26",
    "commission": "1.01",
    "net_amount": Decimal("961.3"),
    "accountCode": "DU1",
    "sec_type": "STK",
    "conid": 12345,
}


def figures(summary: object = SUMMARY, ledger: object = LEDGER, pnl: object = PNL) -> AccountFigures:
    """The answers about one account."""
    return AccountFigures(ENTRY, summary, ledger, pnl, NOW, stale=False)


def test_an_account_is_made_of_three_answers() -> None:
    """What IBKR marks as null is null, and the row of another account is not used."""
    account = read_account(figures())

    assert shown(account.net_liquidation, account.cash, account.buying_power) == (Decimal("215100.43"), 1000, None)
    assert (account.day_pnl, account.unrealized_pnl, account.realized_pnl) == (
        Decimal("15.7"),
        Decimal(607),
        Decimal("-1.5"),
    )
    assert [(cash.currency, cash.cash, cash.exchange_rate) for cash in account.cash_by_currency] == [
        ("USD", Decimal("10.5"), Decimal("0.92"))
    ]


def test_without_the_profit_of_the_day_the_ledger_has_the_rest() -> None:
    """It needs the brokerage session; the others need the login only."""
    account = read_account(figures(pnl=None))

    assert (account.day_pnl, account.unrealized_pnl) == (None, Decimal("39695.82"))


def test_a_balance_has_the_currency_of_the_account() -> None:
    """And the net liquidation value as its balance."""
    balance = read_balance(figures())

    assert shown(balance.currency, balance.balance, balance.cash) == ("EUR", Decimal("215100.43"), 1000)


@pytest.mark.parametrize("broken", [None, [], "x", {"netliquidation": 5}, {"upnl": []}, {"BASE": None}])
def test_a_broken_answer_is_unknown_figures(broken: object) -> None:
    """Never an exception, and never zero."""
    account = read_account(figures(broken, broken, broken))

    assert (account.net_liquidation, account.day_pnl, account.cash_by_currency) == (None, None, [])


def test_an_option_has_its_terms() -> None:
    """The symbol is that of its underlying, and the price has no noise."""
    (position,) = read_positions([OPTION], "DU1")

    assert shown(position.symbol, position.asset_class, position.quantity) == ("SPY", AssetClass.OPTION, -2)
    assert shown(position.expiry, position.strike, position.right) == (date(2026, 12, 18), 540, Right.CALL)
    assert shown(position.price, position.multiplier) == (Decimal("5.12"), 100)


@pytest.mark.parametrize("extra", [{"position": 0}, {"conid": None}, {"position": None}])
def test_what_is_no_position_is_left_out(extra: dict[str, Any]) -> None:
    """IBKR lists closed positions until the end of the day."""
    assert read_positions([{**OPTION, **extra}], "DU1") == []


def test_trades_of_one_account_come_latest_first() -> None:
    """Those without an account in the row belong to nobody."""
    rows = [TRADE, {**TRADE, "execution_id": "2", "trade_time_r": 1_700_000_001_000}, {**TRADE, "accountCode": "DU2"}]

    assert [trade.id for trade in read_trades(rows, "DU1")] == ["2", TRADE["execution_id"]]
    assert len(read_trades(rows)) == 3


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*OPTION, *TRADE, "accountId", "id"]),
            st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
        )
    )
)
def test_any_rows_can_be_read(rows: list[dict[str, object]]) -> None:
    """IBKR's answers are broken until parsed."""
    read_positions(rows, "DU1")
    read_trades(rows)
    read_account_entries(rows, lambda _: AccountKind.UNKNOWN)
