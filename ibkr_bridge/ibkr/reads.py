"""The reads of IBKR's API that the plain API is made of: path, query, and what each is about. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote, urlencode

from ibkr_bridge.ibkr.catalogue import ORDERS_LIST, PORTFOLIO_ACCOUNTS, TRADES, api_path


class Subject(Enum):
    """What a read is about, and so what does not exist if IBKR does not find it."""

    ACCOUNT = "account"
    INSTRUMENT = "instrument"
    ORDER = "order"
    NOTHING = "nothing"


@dataclass(frozen=True)
class IbkrRead:
    """One read of IBKR's API."""

    segments: tuple[str, ...]
    """Its path below `/v1/api`, not encoded."""
    query: tuple[tuple[str, str], ...] = ()
    subject: Subject = Subject.NOTHING
    body: bytes = b""
    """Sent with POST, if there is one."""

    @property
    def method(self) -> str:
        """The method of HTTP."""
        return "POST" if self.body else "GET"

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        path = api_path(tuple(quote(segment, safe="") for segment in self.segments))
        return f"{path}?{urlencode(self.query, safe=',')}" if self.query else path


def account_list() -> IbkrRead:
    """The accounts of the login."""
    return IbkrRead(PORTFOLIO_ACCOUNTS)


def account_summary(account: str) -> IbkrRead:
    """The balances of an account."""
    return IbkrRead(("portfolio", account, "summary"), subject=Subject.ACCOUNT)


def ledger(account: str) -> IbkrRead:
    """The cash of an account by currency."""
    return IbkrRead(("portfolio", account, "ledger"), subject=Subject.ACCOUNT)


def profit_and_loss() -> IbkrRead:
    """The profit and loss of all accounts."""
    return IbkrRead(("iserver", "account", "pnl", "partitioned"))


def positions(account: str) -> IbkrRead:
    """The positions of an account: the bridge fetches all pages."""
    return IbkrRead(("portfolio", account, "positions"), subject=Subject.ACCOUNT)


def trades(days: int) -> IbkrRead:
    """The trades of the last days, today included."""
    return IbkrRead(TRADES, (("days", str(days)),) if days > 1 else ())


def order_list() -> IbkrRead:
    """The orders of the day."""
    return IbkrRead(ORDERS_LIST)


def order_status(order_id: str) -> IbkrRead:
    """One order."""
    return IbkrRead(("iserver", "account", "order", "status", order_id), subject=Subject.ORDER)


def stocks(symbols: str) -> IbkrRead:
    """The stocks with a symbol, or with one of several between commas."""
    return IbkrRead(("trsrv", "stocks"), (("symbols", symbols),), Subject.INSTRUMENT)


def futures(symbol: str) -> IbkrRead:
    """The futures with a symbol."""
    return IbkrRead(("trsrv", "futures"), (("symbols", symbol),), Subject.INSTRUMENT)


def currency_pairs(currency: str) -> IbkrRead:
    """The pairs of a currency."""
    return IbkrRead(("iserver", "currency", "pairs"), (("currency", currency),), Subject.INSTRUMENT)


def contract_search(symbol: str) -> IbkrRead:
    """The contracts of every class with a symbol."""
    return IbkrRead(("iserver", "secdef", "search"), (("symbol", symbol),), Subject.INSTRUMENT)


def definitions(conids: Iterable[int]) -> IbkrRead:
    """The definitions of contracts."""
    return IbkrRead(("trsrv", "secdef"), (("conids", _joined(conids)),), Subject.INSTRUMENT)


def contract_rules(conid: int, *, is_buy: bool) -> IbkrRead:
    """What IBKR allows for one side of a contract: types, times in force, steps of prices."""
    body = json.dumps({"conid": conid, "isBuy": is_buy}).encode()
    return IbkrRead(("iserver", "contract", "rules"), (), Subject.INSTRUMENT, body)


def quote_snapshot(conids: Iterable[int], fields: Iterable[str]) -> IbkrRead:
    """The quotes of contracts: the bridge repeats the read until their fields are there."""
    return IbkrRead(
        ("iserver", "marketdata", "snapshot"),
        (("conids", _joined(conids)), ("fields", ",".join(fields))),
        Subject.INSTRUMENT,
    )


def price_history(conid: int, period: str, bar: str, *, outside_hours: bool) -> IbkrRead:
    """The candles of a contract."""
    query = (("conid", str(conid)), ("period", period), ("bar", bar), ("outsideRth", str(outside_hours).lower()))
    return IbkrRead(("iserver", "marketdata", "history"), query, Subject.INSTRUMENT)


def trading_schedule(word: str, symbol: str) -> IbkrRead:
    """The trading hours of a symbol, with the time zone of each exchange.

    Args:
        word: IBKR's word for the class.
    """
    return IbkrRead(("trsrv", "secdef", "schedule"), (("assetClass", word), ("symbol", symbol)), Subject.INSTRUMENT)


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


@dataclass(frozen=True)
class OrderPath:
    """The method and the path of an order call."""

    method: str
    segments: tuple[str, ...]

    @property
    def target(self) -> str:
        """The path as it is sent."""
        return api_path(tuple(quote(segment, safe="") for segment in self.segments))


def placement(account: str) -> OrderPath:
    """Places orders."""
    return OrderPath("POST", ("iserver", "account", account, "orders"))


def preview(account: str) -> OrderPath:
    """Says what an order would cost."""
    return OrderPath("POST", ("iserver", "account", account, "orders", "whatif"))


def modification(account: str, order_id: str) -> OrderPath:
    """Changes an order."""
    return OrderPath("POST", ("iserver", "account", account, "order", order_id))


def cancel(account: str, order_id: str) -> OrderPath:
    """Cancels an order."""
    return OrderPath("DELETE", ("iserver", "account", account, "order", order_id))


def reply(reply_id: str) -> OrderPath:
    """Answers a question."""
    return OrderPath("POST", ("iserver", "reply", reply_id))
