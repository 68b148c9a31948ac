"""The table of all conditions on its page."""

from __future__ import annotations

from ibkr_bridge.conditions.condition import KINDS
from tools.conditions import PAGE, SECTION, table
from tools.marked_section import read_section


def test_the_page_has_the_table() -> None:
    """`python -m tools.conditions` writes it."""
    assert read_section(PAGE.read_text("utf-8"), SECTION) == table()


def test_every_condition_has_one_row_and_says_what_to_do() -> None:
    """No template is left."""
    rows = [line for line in table().splitlines() if line.startswith("| `")]

    assert [row.split("`")[1] for row in rows] == list(KINDS)
    assert "{" not in table()
    assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))


def test_every_condition_stands_in_the_page_about_problems() -> None:
    """A person who reads a word on any surface finds it there."""
    page = (PAGE.parent / "troubleshooting.md").read_text("utf-8")

    assert [name for name in KINDS if f"`{name}`" not in page] == []
