"""Writes the table of our own routes into docs/api.md, from `ibkr_bridge/api/routes.py`: `python -m tools.routes`."""

from __future__ import annotations

from ibkr_bridge.api.routes import ROUTES, Auth, Route
from tools.marked_section import API_PAGE, write_section

SECTION = "routes"
HEAD = """
| method | path | effect | who may call | errors of its own | what |
|---|---|---|---|---|---|
"""
CALLERS = {Auth.OPEN: "everybody", Auth.KEY: "key", Auth.KEY_OR_TOKEN: "key or token"}


def table() -> str:
    """The section as it has to stand on the page."""
    return HEAD + "".join(map(_row, ROUTES)) + "\n"


def _row(route: Route) -> str:
    errors = ", ".join(f"`{error.code}`" for error in route.errors)
    caller = CALLERS[route.auth] + (", also `?token=`" if route.token_in_query else "")
    what = route.summary + (" Has no end of its own." if route.endless else "")
    cells = (", ".join(route.methods), f"`{route.path}`", route.effect.value, caller, errors, what)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    write_section(API_PAGE, SECTION, table())
