"""The history farm: servers of IBKR that answer nothing until a call opens them."""

from __future__ import annotations

from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.misc_calls import scan
from ibkr_bridge.sim.market.quote_calls import history
from ibkr_bridge.sim.market.world import World


def init(world: World, request: MarketRequest) -> MarketResponse:
    """Open the history farm for this login."""
    login = world.sessions.find_login(request.login, request.now)
    if login is not None:
        login.has_opened_farm = True
    return ok_response({"authenticated": True})


def farm_history(world: World, request: MarketRequest) -> MarketResponse:
    """Candles, from the history farm."""
    return history(world, request) if _is_open(world, request) else error_response(404, "Not found")


def farm_scan(world: World, request: MarketRequest) -> MarketResponse:
    """The result of a scanner, from the history farm."""
    return scan(world, request) if _is_open(world, request) else error_response(404, "Not found")


def _is_open(world: World, request: MarketRequest) -> bool:
    login = world.sessions.find_login(request.login, request.now)
    return login is not None and login.has_opened_farm


ROUTES = (
    Route("POST", "/hmds/auth/init", init, RequiredSession.LOGIN),
    Route("GET", "/hmds/history", farm_history, RequiredSession.LOGIN),
    Route("POST", "/hmds/scanner", farm_scan, RequiredSession.LOGIN),
)
