"""Profit and loss, `spl`, an account's summary, `ssd`, and its ledger, `sld`.

Summary and ledger come every ten seconds. The first message is complete. Later a row that has not changed has only its
key and the time.
"""

from __future__ import annotations

from collections.abc import Callable

from ibkr_bridge.sim.market.accounts import profit_rows
from ibkr_bridge.sim.market.balances import Row, ledger_totals, segment_amounts, stream_ledger_row, summary_texts
from ibkr_bridge.sim.market.feeds.feed import Feed, FeedContext, Message
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, read_texts
from ibkr_bridge.sim.market.world import World

PROFIT = ("rowType", "dpl", "nl", "upl", "uel", "mv")
ACCOUNT_CODE = "AccountCode"
"""The row that names the account; it comes with every request."""


class Profit(Feed):
    """Profit and loss of every account and model, each second if it has changed."""

    def __init__(self, context: FeedContext, request: FeedRequest) -> None:
        super().__init__(context, request)
        self._sent: dict[str, Row] = {}

    def first_messages(self, now: float) -> list[Message]:
        """All accounts."""
        return self.next_messages(now)

    def next_messages(self, now: float) -> list[Message]:
        """The complete rows of the accounts whose figures have changed."""
        rows = {name: {key: row[key] for key in PROFIT} for name, row in profit_rows(self.world, now).items()}
        new = {name: row for name, row in rows.items() if self._sent.get(name) != row}
        self._sent = rows
        return [self.message({"args": new})] if new else []


class Rows(Feed):
    """Rows about one account, by their keys."""

    INTERVAL_S = 10.0

    def __init__(
        self, context: FeedContext, request: FeedRequest, make_rows: Callable[[World, str, float], dict[str, Row]]
    ) -> None:
        super().__init__(context, request)
        self._make_rows = make_rows
        self._sent: dict[str, Row] = {}

    def first_messages(self, now: float) -> list[Message]:
        """Complete rows."""
        return self.next_messages(now)

    def next_messages(self, now: float) -> list[Message]:
        """All rows; of a row that has not changed only its key."""
        rows, previous = self._requested(self._make_rows(self.world, self.request.target, now)), self._sent
        self._sent = rows
        second = self.world.calendar.epoch_ms(now) // 1000
        result = [
            {"key": key, "timestamp": second, **({} if previous.get(key) == row else row)} for key, row in rows.items()
        ]
        return [{"result": result, "topic": self.request.name}]

    def _requested(self, rows: dict[str, Row]) -> dict[str, Row]:
        keys, fields = read_texts(self.request.form.get("keys")), read_texts(self.request.form.get("fields"))
        return {
            key: {name: value for name, value in row.items() if not fields or name in fields}
            for key, row in rows.items()
            if not keys or key in keys or key == ACCOUNT_CODE
        }


def _summary(world: World, account: str, now: float) -> dict[str, Row]:
    statement = world.accounting.statement(account, now)
    texts, amounts = summary_texts(account, statement), segment_amounts(statement)
    rows: dict[str, Row] = {key: {"value": text, "severity": 0} for key, text in texts.items()}
    return rows | {key: {"monetaryValue": sum_, "currency": "USD", "severity": 0} for key, sum_ in amounts.items()}


def _ledger(world: World, account: str, now: float) -> dict[str, Row]:
    totals = ledger_totals(world.accounting.statement(account, now))
    return {f"LedgerList{name}": stream_ledger_row(account, name, each) for name, each in totals.items()}


def begin_profit(context: FeedContext, request: FeedRequest, now: float) -> Profit:
    """Start profit and loss."""
    return Profit(context, request)


def begin_summary(context: FeedContext, request: FeedRequest, now: float) -> Rows | None:
    """Start an account's summary."""
    return Rows(context, request, _summary) if request.target in context.world.accounts else None


def begin_ledger(context: FeedContext, request: FeedRequest, now: float) -> Rows | None:
    """Start an account's ledger."""
    return Rows(context, request, _ledger) if request.target in context.world.accounts else None
