"""Writes `ibkr_bridge/history/nyse_days.json` from the package `holidays`.

python -m tools.trading_days
"""

from __future__ import annotations

import json
from datetime import date

from holidays.constants import HALF_DAY, PUBLIC
from holidays.financial.ny_stock_exchange import NewYorkStockExchange

from ibkr_bridge.history.trading_hours import DATA_FILE, WEEKEND

YEARS = range(2026, 2041)


def exchange_days() -> dict[str, list[str]]:
    """The closed and the short days of the New York Stock Exchange, without weekends."""
    return {"closed": _days(PUBLIC), "early": _days(HALF_DAY)}


def _days(category: str) -> list[str]:
    days = NewYorkStockExchange(years=YEARS, categories=category)  # type: ignore[no-untyped-call]
    return sorted(day.isoformat() for day in days if _is_weekday(day))


def _is_weekday(day: date) -> bool:
    return day.weekday() not in WEEKEND


if __name__ == "__main__":
    DATA_FILE.write_text(json.dumps(exchange_days(), indent=1) + "\n", encoding="utf-8")
