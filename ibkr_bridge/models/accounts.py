"""Accounts: their balances, positions and trades."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import AccountId, Aging, AssetClass, Conid, Currency, Model, Right, Side, UtcTime


class AccountKind(Enum):
    """Whether an account trades with real money."""

    PAPER = "paper"
    LIVE = "live"
    UNKNOWN = "unknown"


class AccountEntry(Model, frozen=True):
    """One account of the login."""

    id: AccountId
    title: Annotated[str | None, Meta(description="The name of the account at IBKR.")]
    currency: Annotated[Currency | None, Meta(description="Its base currency.")]
    kind: AccountKind


class AccountList(Aging, frozen=True):
    """The accounts of the login."""

    accounts: list[AccountEntry]


class CashBalance(Model, frozen=True):
    """The cash of an account in one currency."""

    currency: Currency
    cash: Decimal | None
    settled_cash: Decimal | None
    exchange_rate: Annotated[Decimal | None, Meta(description="One unit in the base currency of the account.")]


class Account(Aging, frozen=True):
    """One account with its balances, in its base currency."""

    id: AccountId
    title: str | None
    currency: Currency | None
    kind: AccountKind
    net_liquidation: Annotated[Decimal | None, Meta(description="Cash and the value of all positions.")]
    cash: Annotated[Decimal | None, Meta(description="Cash of all currencies together.")]
    cash_by_currency: list[CashBalance]
    buying_power: Decimal | None
    available_funds: Decimal | None
    excess_liquidity: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    positions_value: Annotated[Decimal | None, Meta(description="Value of all positions.")]
    day_pnl: Annotated[Decimal | None, Meta(description="Profit and loss since the last close.")]
    unrealized_pnl: Annotated[Decimal | None, Meta(description="Profit and loss of the open positions.")]
    realized_pnl: Annotated[Decimal | None, Meta(description="Profit and loss of what was closed today.")]


class Balance(Aging, frozen=True):
    """The balance of one account in a few figures."""

    account: AccountId
    currency: Currency | None
    balance: Annotated[Decimal | None, Meta(description="Net liquidation value: cash and all positions.")]
    net_liquidation: Decimal | None
    cash: Decimal | None
    available_funds: Decimal | None
    buying_power: Decimal | None


class Position(Model, frozen=True):
    """What an account holds of one instrument."""

    account: AccountId
    conid: Conid
    symbol: str | None
    description: Annotated[str | None, Meta(description="IBKR's text, with expiry and strike of a derivative.")]
    asset_class: AssetClass
    currency: Currency | None
    exchange: Annotated[str | None, Meta(description="Where it is listed.")]
    quantity: Annotated[Decimal, Meta(description="Negative if it is short.")]
    average_cost: Annotated[Decimal | None, Meta(description="For one unit, multiplier and fees included.")]
    average_price: Annotated[Decimal | None, Meta(description="As quoted: without the multiplier.")]
    price: Annotated[Decimal | None, Meta(description="The price that IBKR values it at.")]
    value: Annotated[Decimal | None, Meta(description="In the currency of the instrument.")]
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    multiplier: Annotated[Decimal, Meta(description="Units in one contract; 1 for stocks.")]
    expiry: date | None
    strike: Decimal | None
    right: Right | None


class PositionList(Aging, frozen=True):
    """Positions, without those of size zero."""

    positions: list[Position]


class Trade(Model, frozen=True):
    """One execution. A partly filled order has several."""

    id: Annotated[str, Meta(description="IBKR's id of the execution.")]
    account: AccountId | None
    order_id: Annotated[str | None, Meta(description="IBKR's number of the order.")]
    client_order_id: str | None
    conid: Conid
    symbol: str | None
    asset_class: AssetClass
    side: Side
    quantity: Decimal
    price: Decimal
    net_amount: Annotated[Decimal | None, Meta(description="Quantity times price times multiplier.")]
    commission: Decimal | None
    exchange: str | None
    at: UtcTime


class TradeList(Aging, frozen=True):
    """Trades, the latest first."""

    trades: list[Trade]
