"""Money: profit and loss, `spl`, an account's summary, `ssd`, and its ledger, `sld`.

Summary and ledger come every ten seconds, whole at first; later a row that has not changed is its key and the time.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.accounts import profits
from ibkr_bridge.sim.market.feeds.feed import Feed, Floor, Message
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, texts
from ibkr_bridge.sim.market.holdings import CASH, worth
from ibkr_bridge.sim.market.world import World

Row = dict[str, Any]
PROFIT = ("rowType", "dpl", "nl", "upl", "uel", "mv")
ACCOUNT_CODE = "AccountCode"
"""The row that names the account; it comes whatever was asked for."""


class Profit(Feed):
    """Profit and loss of every account and model, each second while it moves."""

    def __init__(self, floor: Floor, asked: FeedRequest) -> None:
        super().__init__(floor, asked)
        self._told: dict[str, Row] = {}

    def first(self, now: float) -> list[Message]:
        """All of it."""
        return self.later(now)

    def later(self, now: float) -> list[Message]:
        """The accounts whose figures have changed, whole."""
        rows = {name: {key: found[key] for key in PROFIT} for name, found in profits(self.world, now).items()}
        new = {name: found for name, found in rows.items() if self._told.get(name) != found}
        self._told = rows
        return [self.says({"args": new})] if new else []


class Rows(Feed):
    """Rows about one account, by their keys."""

    EVERY = 10.0

    def __init__(self, floor: Floor, asked: FeedRequest, made: Callable[[World, str, float], dict[str, Row]]) -> None:
        super().__init__(floor, asked)
        self._made = made
        self._told: dict[str, Row] = {}

    def first(self, now: float) -> list[Message]:
        """Whole rows."""
        return self.later(now)

    def later(self, now: float) -> list[Message]:
        """The same again; of a row as it was before only its key."""
        rows, before = self._wanted(self._made(self.world, self.asked.target, now)), self._told
        self._told = rows
        second = self.world.calendar.ms(now) // 1000
        told = [
            {"key": key, "timestamp": second, **({} if before.get(key) == row else row)} for key, row in rows.items()
        ]
        return [{"result": told, "topic": self.asked.name}]

    def _wanted(self, rows: dict[str, Row]) -> dict[str, Row]:
        keys, fields = texts(self.asked.form.get("keys")), texts(self.asked.form.get("fields"))
        chosen = {key: row for key, row in rows.items() if not keys or key in keys or key == ACCOUNT_CODE}
        return {key: _fields(row, fields) for key, row in chosen.items()}


def _fields(row: Row, wanted: list[str]) -> Row:
    return {name: value for name, value in row.items() if not wanted or name in wanted}


def _summary(world: World, account: str, now: float) -> dict[str, Row]:
    value = worth(world, account, now)
    amounts = {
        "AccruedCash": Decimal(),
        "AvailableFunds": CASH,
        "BuyingPower": CASH * 4,
        "EquityWithLoanValue": value,
        "ExcessLiquidity-S": CASH,
        "GrossPositionValue": value - CASH,
        "NetLiquidation": value,
        "TotalCashValue": CASH,
    }
    texts = {ACCOUNT_CODE: account, "AccountType": "INDIVIDUAL"}
    rows: dict[str, Row] = {key: {"value": text, "severity": 0} for key, text in texts.items()}
    return rows | {key: {"monetaryValue": sum_, "currency": "USD", "severity": 0} for key, sum_ in amounts.items()}


def _ledger(world: World, account: str, now: float) -> dict[str, Row]:
    value = worth(world, account, now)
    purses = {"USD": (CASH, value), "EUR": (Decimal(), Decimal()), "BASE": (CASH, value)}
    return {f"LedgerList{name}": _purse(account, name, *held) for name, held in purses.items()}


def _purse(account: str, currency: str, cash: Decimal, value: Decimal) -> Row:
    return {
        "acctCode": account,
        "cashbalance": cash,
        "commodityMarketValue": 0.0,
        "exchangeRate": 1.0,
        "marketValue": value - cash,
        "netLiquidationValue": value,
        "realizedPnl": 0.0,
        "secondKey": currency,
        "settledCash": cash,
        "severity": 0,
        "stockMarketValue": value - cash,
        "unrealizedPnl": 0.0,
    }


def profit(floor: Floor, asked: FeedRequest, now: float) -> Profit:
    """Tell of profit and loss."""
    return Profit(floor, asked)


def summary(floor: Floor, asked: FeedRequest, now: float) -> Rows | None:
    """Tell an account's summary."""
    return Rows(floor, asked, _summary) if asked.target in floor.world.accounts else None


def ledger(floor: Floor, asked: FeedRequest, now: float) -> Rows | None:
    """Tell an account's ledger."""
    return Rows(floor, asked, _ledger) if asked.target in floor.world.accounts else None
