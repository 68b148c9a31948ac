"""The blocks of docs/clients.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clients.md").read_text()


def block(heading: str, language: str) -> str:
    """The one block of a language under a heading."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(text)


def made(heading: str) -> Any:
    """The client that the page's Python makes."""
    return named(heading)["client"]


def named(heading: str) -> dict[str, Any]:
    """All that the page's Python makes."""
    names: dict[str, Any] = {}
    exec(block(heading, "python"), names)  # noqa: S102  # our own page
    return names
