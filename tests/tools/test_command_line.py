"""The page of the command line, and the parsers that it describes."""

from __future__ import annotations

import pytest

from tools.command_line import OPTIONS, PAGE, STATUSES, TABLE, command_table, option_tables, status_table
from tools.marked_section import read_section


@pytest.mark.parametrize(
    ("section", "text"), [(TABLE, command_table()), (STATUSES, status_table()), (OPTIONS, option_tables())]
)
def test_the_page_has_what_the_parsers_say(section: str, text: str) -> None:
    """`python -m tools.command_line` writes it."""
    assert read_section(PAGE.read_text("utf-8"), section) == text
