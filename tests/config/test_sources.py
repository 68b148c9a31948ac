"""The sources of settings: a `.env` file, secret files, systemd's copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ibkr_bridge.config import sources
from ibkr_bridge.config.sources import (
    dotenv_path,
    environment_at_reload,
    environment_at_restart,
    lines_systemd_reads_differently,
    read_dotenv,
    read_secret_files,
)
from ibkr_bridge.config.value_types import Problem

KEY = "IBKR_BRIDGE_KEY"


def test_a_missing_file_sets_nothing(tmp_path: Path) -> None:
    """Settings may come from the environment alone."""
    problems: list[Problem] = []

    assert (read_dotenv(tmp_path / ".env", problems), problems) == ({}, [])


def test_a_line_that_is_not_a_setting_is_reported_by_its_number(tmp_path: Path) -> None:
    """The other lines are read; empty lines count."""
    path, problems = tmp_path / ".env", list[Problem]()
    path.write_text("A=1\n\n\n'nonsense\nB=2\n")

    values = read_dotenv(path, problems)

    assert values["A"] == "1"
    assert [problem.found for problem in problems] == ["line 4 is not a setting"]


@pytest.mark.parametrize(
    ("line", "differs"),
    [
        ("IBKR_A=1", False),
        ("# a comment", False),
        ("IBKR_A=1 # why", True),
        ("IBKR_A=a\\b", True),
        ("IBKR_A = 1", True),
        ("OTHER=1 # why", False),
    ],
)
def test_a_line_that_systemd_would_read_differently_is_reported(tmp_path: Path, line: str, differs: bool) -> None:
    """The check is strict for the bridge's own settings; a setting of an app may have a comment."""
    (tmp_path / ".env").write_text(line)

    assert bool(lines_systemd_reads_differently(tmp_path / ".env")) is differs


def test_a_secret_file_is_read_unless_the_secret_is_set_directly(tmp_path: Path) -> None:
    """Docker passes secrets this way; the final newline is not part of the secret."""
    (tmp_path / "key").write_text("secret\n")
    env, problems = {f"{KEY}_FILE": str(tmp_path / "key")}, list[Problem]()

    assert read_secret_files(env, [KEY], problems) == {KEY: "secret"}
    assert read_secret_files({**env, KEY: "x"}, [KEY], problems) == {}
    assert read_secret_files({f"{KEY}_FILE": str(tmp_path / "no")}, [KEY], problems) == {}
    assert [problem.name for problem in problems] == [f"{KEY}_FILE"]


def test_systemds_credentials_are_found_by_the_settings_name(tmp_path: Path) -> None:
    """systemd names the directory in CREDENTIALS_DIRECTORY."""
    (tmp_path / KEY).write_text("secret")

    assert read_secret_files({"CREDENTIALS_DIRECTORY": str(tmp_path)}, [KEY], []) == {KEY: "secret"}


def test_a_reload_without_copies_sees_the_environment_as_it_was(tmp_path: Path) -> None:
    """There is no other source."""
    assert environment_at_reload({"A": "1"}) == {"A": "1"}
    assert environment_at_reload({"A": "1", "RELOAD_DIRECTORY": str(tmp_path)})["A"] == "1"


def test_a_restart_finds_what_the_new_copy_says(tmp_path: Path) -> None:
    """What came from elsewhere, such as a drop-in, stays; a line that was removed is gone."""
    (tmp_path / "env.began").write_text("A=1\nB=1\nC=1\n")
    (tmp_path / "env").write_text("A=2\nC=2\nE=2\n")

    values = environment_at_restart({"A": "1", "B": "1", "C": "other", "D": "1", "RELOAD_DIRECTORY": str(tmp_path)})

    assert values == {"A": "2", "C": "other", "D": "1", "E": "2", "RELOAD_DIRECTORY": str(tmp_path)}
    assert environment_at_restart({"A": "1"}) == {"A": "1"}
    assert environment_at_restart({"A": "1", "RELOAD_DIRECTORY": str(tmp_path / "none")})["A"] == "1"


def test_a_reload_takes_keys_from_the_new_copy_and_nothing_else(tmp_path: Path) -> None:
    """Other settings need a restart."""
    (tmp_path / "env.began").write_text(f"{KEY}=old\nIBKR_READ_ONLY=yes\n")
    (tmp_path / "env").write_text(f"{KEY}=new\nIBKR_READ_ONLY=no\n")

    values = environment_at_reload({KEY: "old", "IBKR_READ_ONLY": "yes", "RELOAD_DIRECTORY": str(tmp_path)})

    assert (values[KEY], values["IBKR_READ_ONLY"]) == ("new", "yes")


OTHER_USER = 54321
only_root_gives_away = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def planted(directory: Path, how: str) -> Path:
    """A `.env` that somebody else has written or can write."""
    path, target = directory / ".env", directory / "target"
    (target if how.startswith("link") else path).write_text("IBKR_READ_ONLY=no\nIBKR_TRADING_MODE=live\n")
    if how.startswith("link"):
        path.symlink_to(target)
    if how in ("owner", "link"):
        os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)
    if how == "link to a file of another user":
        os.chown(target, OTHER_USER, OTHER_USER)
    if how in ("group", "all"):
        path.chmod(0o660 if how == "group" else 0o606)
    return path


@only_root_gives_away
@pytest.mark.parametrize("how", ["owner", "group", "all", "link", "link to a file of another user"])
def test_a_file_of_somebody_else_is_a_problem_and_not_read(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory that everybody writes, such as /tmp, anybody could switch to live trading."""
    tmp_path.chmod(0o1777)
    monkeypatch.chdir(tmp_path)
    path, problems = planted(tmp_path, how), list[Problem]()

    assert (dotenv_path(), read_dotenv(path, problems)) == (path, {})
    (problem,) = problems
    assert str(path) in problem.found
    assert "chmod 600" in problem.allowed


@only_root_gives_away
def test_a_link_of_our_own_is_followed(tmp_path: Path) -> None:
    """We have chosen its target."""
    problems: list[Problem] = []

    assert read_dotenv(planted(tmp_path, "link of our own"), problems)["IBKR_TRADING_MODE"] == "live"
    assert problems == []


def test_a_link_to_nothing_is_not_replaced_by_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory has a `.env`, even if it is broken."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").symlink_to(tmp_path / "none")

    assert dotenv_path() == tmp_path / ".env"


@only_root_gives_away
def test_the_file_beside_the_program_may_belong_to_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of the program can change the program too. In the working directory no such owner is trusted."""
    path, problems = planted(tmp_path, "owner"), list[Problem]()
    (tmp_path / "sources.py").touch()
    os.chown(tmp_path / "sources.py", OTHER_USER, OTHER_USER)
    monkeypatch.setattr(sources, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "sources.py"))

    assert read_dotenv(path, problems) != {}
    monkeypatch.chdir(tmp_path)
    assert read_dotenv(path, problems) == {}
    assert len(problems) == 1


def test_a_pipe_in_place_of_a_file_is_a_problem_and_is_not_waited_for(tmp_path: Path) -> None:
    """Anybody can make one in a directory such as /tmp, and every command would hang there."""
    path, problems = tmp_path / ".env", list[Problem]()
    os.mkfifo(path)

    assert read_dotenv(path, problems) == {}
    assert lines_systemd_reads_differently(path) == []
    assert read_secret_files({f"{KEY}_FILE": str(path)}, [KEY], problems) == {}
    assert [problem.found for problem in problems] == [
        "cannot be read: it is no regular file",
        "the file cannot be read: it is no regular file",
    ]
