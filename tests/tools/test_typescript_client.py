"""The TypeScript client as one file."""

from __future__ import annotations

import re

from ibkr_bridge.api.documents import CLIENT_FILE
from tools.typescript_client import MODULES, SOURCE, text


def test_the_file_is_the_client() -> None:
    """`python -m tools.typescript_client` writes it."""
    assert CLIENT_FILE.read_text("utf-8") == text()


def test_the_file_needs_no_other_file() -> None:
    """An app copies it, and nothing else."""
    assert re.findall(r"^import .*$", text(), re.MULTILINE) == []


def test_every_module_is_in_it_but_those_of_react() -> None:
    """And the list of what the package exports."""
    of_pages = {"page", "react", "bridge-path", "callback-problem", "ticket", "event-feed"}

    assert set(MODULES) == {path.stem for path in SOURCE.glob("*.ts")} - {"index"} - of_pages
