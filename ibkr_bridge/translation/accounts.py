"""IBKR's rows about accounts as the shapes of the plain API. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from ibkr_bridge.models.accounts import (
    Account,
    AccountEntry,
    AccountKind,
    Balance,
    CashBalance,
    Position,
    Trade,
)
from ibkr_bridge.translation.classes import asset_class_of, right_of, side_of
from ibkr_bridge.translation.numbers import (
    Row,
    object_of,
    parse_body,
    rows_of,
    to_conid,
    to_date,
    to_decimal,
    to_text,
    to_time,
)

BASE = "BASE"  # the row of a ledger with the total of all currencies
KindOf = Callable[[str], AccountKind]


@dataclass(frozen=True)
class AccountFigures:
    """IBKR's answers about one account."""

    entry: AccountEntry
    summary: object
    ledger: object
    pnl: object
    """None if it could not be read: it needs the brokerage session."""
    as_of: datetime
    stale: bool


def read_account_entries(body: object, kind_of: KindOf) -> list[AccountEntry]:
    """The accounts in the answer of `/portfolio/accounts`, in IBKR's order."""
    rows = ((to_text(row.get("accountId")) or to_text(row.get("id")), row) for row in rows_of(body))
    return [
        AccountEntry(number, to_text(row.get("accountTitle")), _currency(row.get("currency")), kind_of(number))
        for number, row in rows
        if number is not None
    ]


def read_account(figures: AccountFigures) -> Account:
    """One account, from its summary, its ledger and its profit and loss."""
    entry, amounts = figures.entry, object_of(figures.summary)
    base, pnl = object_of(object_of(figures.ledger).get(BASE)), _pnl_row(figures.pnl, figures.entry.id)
    return Account(
        as_of=figures.as_of,
        stale=figures.stale,
        id=entry.id,
        title=entry.title,
        currency=entry.currency or _currency(_member(amounts, "netliquidation", "currency")),
        kind=entry.kind,
        net_liquidation=_amount(amounts, "netliquidation"),
        cash=_amount(amounts, "totalcashvalue"),
        cash_by_currency=_cash_balances(figures.ledger),
        buying_power=_amount(amounts, "buyingpower"),
        available_funds=_amount(amounts, "availablefunds"),
        excess_liquidity=_amount(amounts, "excessliquidity"),
        initial_margin=_amount(amounts, "initmarginreq"),
        maintenance_margin=_amount(amounts, "maintmarginreq"),
        positions_value=_amount(amounts, "grosspositionvalue"),
        day_pnl=to_decimal(pnl.get("dpl")),
        unrealized_pnl=_first(pnl.get("upl"), base.get("unrealizedpnl")),
        realized_pnl=_first(base.get("realizedpnl")),
    )


def read_balance(figures: AccountFigures) -> Balance:
    """The balance of one account, from its summary."""
    amounts = object_of(figures.summary)
    value = _amount(amounts, "netliquidation")
    return Balance(
        as_of=figures.as_of,
        stale=figures.stale,
        account=figures.entry.id,
        currency=figures.entry.currency or _currency(_member(amounts, "netliquidation", "currency")),
        balance=value,
        net_liquidation=value,
        cash=_amount(amounts, "totalcashvalue"),
        available_funds=_amount(amounts, "availablefunds"),
        buying_power=_amount(amounts, "buyingpower"),
    )


def _member(amounts: Row, name: str, member: str) -> object:
    return object_of(amounts.get(name)).get(member)


def _amount(amounts: Row, name: str) -> Decimal | None:
    row = object_of(amounts.get(name))
    return None if row.get("isNull") is True else to_decimal(row.get("amount"))


def _first(*values: object) -> Decimal | None:
    """The first value that is a number."""
    return next((number for value in values if (number := to_decimal(value)) is not None), None)


def _currency(value: object) -> str | None:
    text = to_text(value)
    return text if text is not None and len(text) == 3 and text.isascii() and text.isupper() else None


def _cash_balances(ledger: object) -> list[CashBalance]:
    return [
        CashBalance(
            currency,
            to_decimal(row.get("cashbalance")),
            to_decimal(row.get("settledcash")),
            to_decimal(row.get("exchangerate")),
        )
        for currency, row in object_of(ledger).items()
        if _currency(currency) and isinstance(row, dict)
    ]


def _pnl_row(pnl: object, account: str) -> Row:
    """The row of an account: IBKR names it `DU1234567.Core`."""
    rows = object_of(object_of(pnl).get("upnl"))
    return next((object_of(row) for name, row in rows.items() if name.partition(".")[0] == account), {})


@lru_cache(maxsize=32)  # the same answer of the cache is translated for each page that polls
def positions_in(body: bytes, account: str) -> tuple[Position, ...] | None:
    """The positions in an answer of IBKR's; None if it is not a list."""
    rows = parse_body(body)
    return tuple(read_positions(rows, account)) if isinstance(rows, list) else None


def read_positions(body: object, account: str) -> list[Position]:
    """The positions of an account, without those of size zero."""
    return [position for row in rows_of(body) if (position := read_position(row, account)) and position.quantity]


def read_position(row: Row, account: str) -> Position | None:
    """One position; None if the row has no contract or no size."""
    conid, quantity = to_conid(row.get("conid")), to_decimal(row.get("position"))
    if conid is None or quantity is None:
        return None
    description = to_text(row.get("contractDesc"))
    return Position(
        account=to_text(row.get("acctId")) or account,
        conid=conid,
        symbol=to_text(row.get("ticker")) or (description.split()[0] if description else None),
        description=description,
        asset_class=asset_class_of(row.get("assetClass")),
        currency=_currency(row.get("currency")),
        exchange=to_text(row.get("listingExchange")),
        quantity=quantity,
        average_cost=to_decimal(row.get("avgCost")),
        average_price=to_decimal(row.get("avgPrice")),
        price=to_decimal(row.get("mktPrice")),
        value=to_decimal(row.get("mktValue")),
        unrealized_pnl=to_decimal(row.get("unrealizedPnl")),
        realized_pnl=to_decimal(row.get("realizedPnl")),
        multiplier=to_decimal(row.get("multiplier")) or Decimal(1),
        expiry=to_date(row.get("expiry")),
        strike=to_decimal(row.get("strike")) or None,
        right=right_of(row.get("putOrCall")),
    )


def read_trades(body: object, account: str | None = None) -> list[Trade]:
    """The trades, the latest first; of one account only, if it is named."""
    trades = [trade for row in rows_of(body) if (trade := read_trade(row))]
    return sorted(
        (trade for trade in trades if account in (None, trade.account)), key=lambda trade: trade.at, reverse=True
    )


def read_trade(row: Row) -> Trade | None:
    """One trade; None if the row lacks what every trade has."""
    conid, side, at = to_conid(row.get("conid")), side_of(row.get("side")), to_time(row.get("trade_time_r"))
    identity, quantity, price = (
        to_text(row.get("execution_id")),
        to_decimal(row.get("size")),
        to_decimal(row.get("price")),
    )
    if conid is None or side is None or at is None or identity is None or quantity is None or price is None:
        return None
    return Trade(
        id=identity,
        account=to_text(row.get("accountCode")) or to_text(row.get("account")),
        order_id=to_text(row.get("order_id")),
        client_order_id=to_text(row.get("order_ref")),
        conid=conid,
        symbol=to_text(row.get("symbol")),
        asset_class=asset_class_of(row.get("sec_type")),
        side=side,
        quantity=quantity,
        price=price,
        net_amount=to_decimal(row.get("net_amount")),
        commission=to_decimal(row.get("commission")),
        exchange=to_text(row.get("exchange")),
        at=at,
    )
