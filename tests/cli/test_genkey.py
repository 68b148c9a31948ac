"""`bridge.py genkey`: a random key for callers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ibkr_bridge.config.settings import Settings
from tests.cli.command_runner import EXIT_OK, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty directory."""
    return Place(tmp_path)


def test_a_key_stands_alone_on_its_line(place: Place) -> None:
    """So that `IBKR_BRIDGE_KEY=$(python bridge.py genkey)` works."""
    made = place.run("genkey")

    assert (made.returncode, made.stderr) == (EXIT_OK, "")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", made.stdout)  # 256 bits


def test_the_bridge_takes_it(place: Place) -> None:
    """It passes the checks of the settings."""
    key = place.run("genkey").stdout.strip()

    assert Settings.from_env({"IBKR_BRIDGE_KEY": key}).key == key


def test_no_two_are_the_same(place: Place) -> None:
    """They come from the random numbers of the system."""
    assert place.run("genkey").stdout != place.run("genkey").stdout


def test_programs_get_json(place: Place) -> None:
    """One object, nothing else."""
    made = place.run("genkey", "--json")

    assert list(json.loads(made.stdout)) == ["key"]
    assert len(json.loads(made.stdout)["key"]) == 43


def test_it_needs_no_settings(place: Place) -> None:
    """A person runs it before there are settings."""
    place.write_dotenv("IBKR_BRIDGE_KEY=REPLACE_WITH_REAL_KEY\nnonsense\n")

    assert place.run("genkey", IBKR_BRIDGE_URL="nonsense").returncode == EXIT_OK
