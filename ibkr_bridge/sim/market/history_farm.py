"""The history farm: other machines of IBKR's, which answer nothing until they are asked to open."""

from __future__ import annotations

from ibkr_bridge.sim.market.dispatch import Answer, Ask, Needs, Route, error, ok
from ibkr_bridge.sim.market.misc_calls import scan
from ibkr_bridge.sim.market.quote_calls import history
from ibkr_bridge.sim.market.world import World


def init(world: World, ask: Ask) -> Answer:
    """Open it for this login."""
    login = world.sessions.login(ask.login, ask.now)
    if login is not None:
        login.farm_open = True
    return ok({"authenticated": True})


def farm_history(world: World, ask: Ask) -> Answer:
    """Candles."""
    return history(world, ask) if _is_open(world, ask) else error(404, "Not found")


def farm_scan(world: World, ask: Ask) -> Answer:
    """What a scanner finds."""
    return scan(world, ask) if _is_open(world, ask) else error(404, "Not found")


def _is_open(world: World, ask: Ask) -> bool:
    login = world.sessions.login(ask.login, ask.now)
    return login is not None and login.farm_open


ROUTES = (
    Route("POST", "/hmds/auth/init", init, Needs.LOGIN),
    Route("GET", "/hmds/history", farm_history, Needs.LOGIN),
    Route("POST", "/hmds/scanner", farm_scan, Needs.LOGIN),
)
