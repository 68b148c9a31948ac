"""`bridge.py backup`: complete, also while a bridge writes, and without a login or a key."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from ibkr_bridge.cli.backup import copy_journal, other_profiles
from ibkr_bridge.cli.orders import verify_file
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, KEY, Demo, Place
from tests.cli.state_maker import ORDERS, make_state, new_journal


@pytest.fixture
def lonely(tmp_path: Path) -> Place:
    """A bridge that has ended."""
    place = Place(tmp_path)
    place.write_dotenv(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_MAX_ORDER_VALUE=5000\n")
    make_state(tmp_path / "state")
    return place


def content_of(archive: Path) -> dict[str, bytes]:
    """The files of an archive."""
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_a_backup_has_no_login_and_no_key(lonely: Place) -> None:
    """It is copied to other machines."""
    result = lonely.run("backup", "b.zip", "--json")
    files = content_of(lonely.home / "b.zip")

    assert result.returncode == EXIT_OK, result.stdout
    assert sorted(json.loads(result.stdout)["files"]) == sorted(files.keys() - {"manifest.json"})
    assert "main.cookies.json" not in files
    assert "unrelated.txt" not in files
    assert b"IBKR_MAX_ORDER_VALUE=5000" in files["settings.env"]
    assert not any(secret in content for content in files.values() for secret in (KEY.encode(), b"secret-login"))
    assert (lonely.home / "b.zip").stat().st_mode & 0o777 == 0o600


def test_login_and_keys_are_there_if_asked_for(lonely: Place) -> None:
    """For a move to another machine."""
    lonely.run("backup", "b.zip", "--with-cookies", "--with-secrets")
    files = content_of(lonely.home / "b.zip")

    assert b"secret-login" in files["main.cookies.json"]
    assert KEY.encode() in files["settings.env"]


def test_nothing_is_left_behind(lonely: Place) -> None:
    """The work directory has the same files in clear text."""
    lonely.run("backup", "b.zip")
    again = lonely.run("backup", "b.zip")

    assert again.returncode == EXIT_FAILURE
    assert "it exists already" in again.stderr
    assert sorted(path.name for path in lonely.home.iterdir()) == [".env", "b.zip", "run", "state"]


def test_a_running_bridge_is_backed_up(running: Demo, place: Place, tmp_path: Path) -> None:
    """It does not notice."""
    result = place.run("backup", str(tmp_path / "b.zip"))

    assert result.returncode == EXIT_OK, result.stderr
    assert {"settings.env", "bridge.history.db"} <= content_of(tmp_path / "b.zip").keys()
    assert running.get("/gateway/status").status_code == 200


def test_the_copy_of_an_open_journal_is_in_order(tmp_path: Path) -> None:
    """Entries that are only in SQLite's side file are in it."""
    (tmp_path / "state").mkdir()
    journal = new_journal(tmp_path / "state")
    (tmp_path / "copy").mkdir()

    copy_journal(tmp_path / "state/main.orders.db", tmp_path / "copy/main.orders.db")
    journal.close()

    assert verify_file(tmp_path / "copy/main.orders.db") == (ORDERS, [])
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["main.orders.db", "main.orders.db-last"]


def test_a_link_in_place_of_the_journal_is_refused(lonely: Place) -> None:
    """Root may run this, and would read another program's file."""
    journal = lonely.home / "state/main.orders.db"
    journal.rename(lonely.home / "elsewhere.db")
    journal.symlink_to(lonely.home / "elsewhere.db")

    result = lonely.run("backup", "b.zip")

    assert result.returncode == EXIT_FAILURE
    assert "main.orders.db is a link" in result.stderr


def test_a_history_that_cannot_be_read_is_left_out(lonely: Place) -> None:
    """The journal of orders is worth a backup all the same."""
    history = lonely.home / "state" / "bridge.history.db"
    history.unlink(missing_ok=True)
    history.mkdir()

    result = lonely.run("backup", "b.zip")

    assert result.returncode == EXIT_OK
    assert "the history is left out" in result.stderr
    assert "main.orders.db" in content_of(lonely.home / "b.zip")


def test_a_backup_names_the_profiles_that_it_leaves_out(tmp_path: Path) -> None:
    """Somebody who relies on it must not miss their journals."""
    for name in ("main", "anna", "ben-2"):
        (tmp_path / f"{name}.orders.db").touch()

    assert other_profiles(tmp_path) == ["anna", "ben-2"]
