"""The files of profiles that were made while the bridge ran."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.profiles.made_profiles import _toml, remove_profile, write_profile

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # half a character cannot come from a body in UTF-8
VALUES = st.one_of(TEXTS, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.lists(TEXTS))


@given(VALUES)
def test_a_value_is_read_as_it_was_written(value: object) -> None:
    """Quotes, line breaks and every other character too."""
    assert tomllib.loads(f"a = {_toml(value)}") == {"a": value}


def test_a_file_is_written_and_removed(tmp_path: Path) -> None:
    """Only its owner can read it."""
    directory = tmp_path / "profiles"
    write_profile(directory, "anna", {"mode": "live", "accounts": ["U1"]})
    file = directory / "anna.toml"

    assert tomllib.loads(file.read_text()) == {"profile": {"anna": {"mode": "live", "accounts": ["U1"]}}}
    assert (file.stat().st_mode & 0o777, directory.stat().st_mode & 0o777) == (0o600, 0o700)
    remove_profile(directory, "anna")
    remove_profile(directory, "anna")
    assert list(directory.iterdir()) == []


def test_a_directory_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    """They could put a profile there."""
    directory = tmp_path / "profiles"
    directory.mkdir()
    directory.chmod(0o777)

    with pytest.raises(OSError, match="written by other users"):
        write_profile(directory, "anna", {})
