"""The generated section of a page, between two comments: `<!-- name: begin -->` and `<!-- name: end -->`."""

from __future__ import annotations

from pathlib import Path

API_PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"


def read_section(page: str, name: str) -> str:
    """The text between the two comments.

    Raises:
        ValueError: the page does not have each comment once, in this order.
    """
    begin, end = _position(page, name)
    return page[begin:end]


def replace_section(page: str, name: str, text: str) -> str:
    """The page with another text between the two comments. Raises the same errors as `read_section`."""
    begin, end = _position(page, name)
    return page[:begin] + text + page[end:]


def write_section(path: Path, name: str, text: str) -> None:
    """Replace the section in a file. Raises the same errors as `read_section`."""
    path.write_text(replace_section(path.read_text("utf-8"), name, text), "utf-8")


def _position(page: str, name: str) -> tuple[int, int]:
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        raise ValueError(f"the page must have `{begin.strip()}` and then `{end}`, each once")
    return page.index(begin) + len(begin), page.index(end)
