"""Generated sections of pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.marked_section import read_section, replace_section, write_section

PAGE = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n<!-- b: begin -->\n<!-- b: end -->\n"


def test_only_the_section_changes(tmp_path: Path) -> None:
    """The rest of the page is written by hand."""
    path = tmp_path / "page.md"
    path.write_text(PAGE)

    write_section(path, "a", "new\n")

    assert path.read_text() == PAGE.replace("old\n", "new\n")
    assert read_section(path.read_text(), "a") == "new\n"


@pytest.mark.parametrize(
    "page", ["", "<!-- a: begin -->\n", "<!-- a: end -->\n<!-- a: begin -->\n", PAGE + PAGE], ids=range(4)
)
def test_a_page_without_exactly_one_section_is_refused(page: str) -> None:
    """Otherwise a table would be lost or written twice."""
    with pytest.raises(ValueError, match="each once"):
        replace_section(page, "a", "new\n")
