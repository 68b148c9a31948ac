"""Settings in an app's `.env` file: other lines stay, nobody else reads it, and no link is followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ibkr_bridge.cli.env_file import EnvFileError, read_lines, set_names, write_settings

SETTINGS = {"IBKR_BRIDGE_URL": "http://127.0.0.1:8010", "IBKR_BRIDGE_KEY": "key"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A path at which there is no file yet."""
    return tmp_path / ".env"


def test_a_new_file_has_both_lines_and_is_private(file: Path) -> None:
    """It has a key."""
    write_settings(file, SETTINGS)

    assert file.read_text() == "IBKR_BRIDGE_URL=http://127.0.0.1:8010\nIBKR_BRIDGE_KEY=key\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_other_lines_of_a_file_stay_byte_for_byte(file: Path) -> None:
    """Comments, empty lines, and text in another encoding. A file that others could read becomes private."""
    file.write_bytes(b"# my app\n\nNAME='caf\xe9'\nMY_IBKR_BRIDGE_KEY=x")
    file.chmod(0o644)

    write_settings(file, SETTINGS)

    first = b"# my app\n\nNAME='caf\xe9'\nMY_IBKR_BRIDGE_KEY=x\n"
    assert file.read_bytes() == first + b"IBKR_BRIDGE_URL=http://127.0.0.1:8010\nIBKR_BRIDGE_KEY=key\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_old_value_is_replaced_in_its_place_and_written_once() -> None:
    """The last of two lines would win, or the first one: readers do not agree."""
    lines = ["A=1", "export IBKR_BRIDGE_KEY = old", "IBKR_BRIDGE_KEY=older", "# IBKR_BRIDGE_URL=no"]

    assert set_names(lines, SETTINGS) == [
        "A=1",
        "IBKR_BRIDGE_KEY=key",
        lines[3],
        "IBKR_BRIDGE_URL=http://127.0.0.1:8010",
    ]


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    """It may lead to a file that matters."""
    (tmp_path / "other").write_text("A=1\n")
    file.symlink_to(tmp_path / "other")

    with pytest.raises(EnvFileError, match="symbolic link"):
        write_settings(file, SETTINGS)

    assert (tmp_path / "other").read_text() == "A=1\n"


def test_a_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would become ours, with its text."""
    file.write_text("A=1\n")
    owner = os.geteuid()
    monkeypatch.setattr("ibkr_bridge.cli.env_file.os.geteuid", lambda: owner + 1)

    with pytest.raises(EnvFileError, match="belongs to another user"):
        write_settings(file, SETTINGS)

    assert file.read_text() == "A=1\n"


def test_a_pipe_and_a_directory_are_refused(file: Path, tmp_path: Path) -> None:
    """Opening a pipe would wait for a writer."""
    os.mkfifo(file)
    for path in (file, tmp_path):
        with pytest.raises(EnvFileError, match="regular file"):
            read_lines(path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """It is not made."""
    with pytest.raises(EnvFileError, match="there is no directory"):
        write_settings(tmp_path / "missing" / ".env", SETTINGS)


@pytest.mark.parametrize("value", ["a b", "a#b", "a$b", 'a"b', "a'b", "a\\b", "a\nB=1"])
def test_a_value_that_readers_understand_differently_is_refused(file: Path, value: str) -> None:
    """A line break would make another setting."""
    with pytest.raises(EnvFileError, match="IBKR_BRIDGE_KEY"):
        write_settings(file, {"IBKR_BRIDGE_KEY": value})

    assert not file.exists()


def test_a_failed_write_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    file.write_text("A=1\n")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ibkr_bridge.cli.env_file.os.fsync", fail)
    with pytest.raises(EnvFileError, match="No space left"):
        write_settings(file, SETTINGS)

    assert (file.read_text(), list(file.parent.iterdir())) == ("A=1\n", [file])
