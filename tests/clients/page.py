"""The code blocks of docs/clients.md, run unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clients.md").read_text()


def read_block(heading: str, language: str) -> str:
    """The only block in this language under a heading."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(text)


def make_client(heading: str) -> Any:
    """The client that the Python block under a heading makes."""
    return run_python(heading)["client"]


def run_python(heading: str) -> dict[str, Any]:
    """Run the Python block under a heading. Returns its variables."""
    names: dict[str, Any] = {}
    exec(read_block(heading, "python"), names)  # noqa: S102  # a page of this project
    return names
