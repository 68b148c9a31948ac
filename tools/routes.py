"""Write the table of `ibkr_bridge/api/routes.py` into docs/api.md: `python -m tools.routes`."""

from __future__ import annotations

from ibkr_bridge.api.route import Auth, Route
from ibkr_bridge.api.routes import ROUTES
from tools.marked_section import API_PAGE, write_section

SECTION = "routes"
HEAD = """
| method | path | effect | who may call | own errors | meaning |
|---|---|---|---|---|---|
"""
CALLERS = {Auth.OPEN: "everybody", Auth.KEY: "key", Auth.KEY_OR_TOKEN: "key or token"}


def table() -> str:
    """The section of the page."""
    return HEAD + "".join(map(_row, ROUTES)) + "\n"


def _row(route: Route) -> str:
    errors = ", ".join(f"`{error.code}`" for error in route.errors)
    callers = CALLERS[route.auth] + (", also `?token=`" if route.token_in_query else "")
    meaning = route.summary + (" Does not end by itself." if route.endless else "")
    cells = (", ".join(route.methods), f"`{route.path}`", route.effect.value, callers, errors, meaning)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    write_section(API_PAGE, SECTION, table())
