"""The table of the bridge's own routes on the page for callers."""

from __future__ import annotations

from ibkr_bridge.api.routes import ROUTES
from tools.marked_section import API_PAGE, read_section
from tools.routes import SECTION, table


def test_the_page_has_the_table() -> None:
    """`python -m tools.routes` writes it."""
    assert read_section(API_PAGE.read_text("utf-8"), SECTION) == table()


def test_every_route_has_one_row() -> None:
    """With its path and its methods."""
    rows = [line for line in table().splitlines() if line.startswith("| ") and "`/" in line]

    assert [row.split(" | ")[1] for row in rows] == [f"`{route.path}`" for route in ROUTES]
    assert [row.split(" | ")[0] for row in rows] == [f"| {', '.join(route.methods)}" for route in ROUTES]
