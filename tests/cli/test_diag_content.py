"""What goes into a bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ibkr_bridge.cli import diag_content
from ibkr_bridge.cli.diag_content import PARTS, SHOWN_VALUES, redact, redactor_for
from ibkr_bridge.config.settings import setting_names
from ibkr_bridge.config.sources import SECRET_NAMES
from tests.harness import KEY, READONLY_KEY, settings_for


def test_each_secret_of_this_machine_is_known(tmp_path: Path) -> None:
    """Also the parts of cookies, at any depth of their file."""
    cookies = {"host": [{"name": "api", "value": "a-long-session-value"}], "path": "/"}
    (tmp_path / "main.cookies.json").write_text(json.dumps(cookies))
    settings = settings_for(
        "https://127.0.0.1:5000", tmp_path, IBKR_BRIDGE_READONLY_KEY=READONLY_KEY, IBKR_ALLOWED_ACCOUNTS="DU1234567"
    )
    text = f"{KEY} {READONLY_KEY} a-long-session-value DU1234567 U7654321 / {os.environ['HOME']}/x"

    shown = redact(text, redactor_for(settings))

    assert shown == "[hidden] [hidden] [hidden] DU*****67 U*****21 / ~/x"


@pytest.mark.parametrize("content", ["", "[", "null", "3"])
def test_a_damaged_file_of_cookies_does_no_harm(tmp_path: Path, content: str) -> None:
    """The bundle is made when something is wrong."""
    (tmp_path / "main.cookies.json").write_text(content)

    assert redactor_for(settings_for("https://127.0.0.1:5000", tmp_path)).redact("plain") == "plain"


def test_only_harmless_values_are_shown() -> None:
    """A new setting is not shown until somebody has thought about it."""
    assert set(setting_names()) > SHOWN_VALUES
    assert not SHOWN_VALUES & {*SECRET_NAMES, "IBKR_ALLOWED_ACCOUNTS", "IBKR_BRIDGE_URL", "IBKR_GATEWAY_URL"}


def test_a_log_that_cannot_be_read_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed host may have no journalctl for this user."""
    log = next(part for part in PARTS if part.name == "log.txt")
    settings = settings_for("https://127.0.0.1:5000", tmp_path)
    monkeypatch.setattr(diag_content, "is_installed", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert log.collect(settings) == "journalctl cannot be run: FileNotFoundError"
