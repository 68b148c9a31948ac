"""Every call the market answers under /v1/api, in one table; the first row that matches is used."""

from __future__ import annotations

from ibkr_bridge.sim.market import (
    accounts,
    contracts,
    history_farm,
    misc_calls,
    order_calls,
    order_lists,
    portfolio,
    quote_calls,
    session_calls,
)
from ibkr_bridge.sim.market.dispatch import Route

ROUTES: tuple[Route, ...] = (
    *session_calls.ROUTES,
    *accounts.ROUTES,
    *order_lists.ROUTES,
    *order_calls.ROUTES,
    *quote_calls.ROUTES,
    *portfolio.ROUTES,
    *contracts.ROUTES,
    *misc_calls.ROUTES,
    *history_farm.ROUTES,
)
