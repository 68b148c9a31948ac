"""`bridge.py restore`: only a good backup, only while no bridge runs, and nothing is lost."""

from __future__ import annotations

import json
import os
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from ibkr_bridge.cli import restore as module
from ibkr_bridge.cli.orders import verify_file
from ibkr_bridge.history.store import APPLICATION_ID
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, KEY, Demo, Place, free_port
from tests.cli.state_maker import ORDERS, make_state, new_journal
from tests.cli.test_backup_archive import archive_with


@pytest.fixture
def lonely(tmp_path: Path) -> Place:
    """A bridge that has ended, and a backup of it."""
    place = Place(tmp_path)
    place.write_dotenv(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_BRIDGE_URL=http://127.0.0.1:{free_port()}\n")
    make_state(tmp_path / "state")
    assert place.run("backup", "b.zip").returncode == EXIT_OK
    return place


def asides(place: Place) -> list[Path]:
    """The former states that are kept."""
    return sorted(place.home.glob("state.before-*"))


def test_a_backup_is_put_back(lonely: Place) -> None:
    """The former state stays beside it, and the person learns what is not known any more."""
    (lonely.home / "state/main.orders.db").write_bytes(b"damaged")

    result = lonely.run("restore", "b.zip", "--yes")

    assert result.returncode == EXIT_OK, result.stderr
    assert verify_file(lonely.home / "state/main.orders.db") == (ORDERS, [])
    assert (lonely.home / "state").stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (lonely.home / "state").iterdir()] == [0o600] * 3
    assert (asides(lonely)[0] / "main.orders.db").read_bytes() == b"damaged"
    assert "Orders that were placed since then" in result.stdout


def test_a_bridge_starts_with_a_restored_state(lonely: Place) -> None:
    """Its journal goes on where the backup ends."""
    lonely.run("restore", "b.zip", "--yes")
    with lonely.running("serve") as bridge:
        bridge.wait_for("bridge.started")
        listing = lonely.run("orders", "verify")
        refused = lonely.run("restore", "b.zip", "--yes")

    assert listing.returncode == EXIT_OK, listing.stdout
    assert refused.returncode == EXIT_FAILURE
    assert "a bridge runs on" in refused.stderr


def test_it_asks_first(lonely: Place) -> None:
    """Nobody answers here, so nothing is changed."""
    result = lonely.run("restore", "b.zip")

    assert result.returncode == EXIT_FAILURE
    assert "Backup of" in result.stdout
    assert asides(lonely) == []


def test_the_list_changes_nothing(lonely: Place) -> None:
    """It also works while a bridge runs."""
    result = lonely.run("restore", "b.zip", "--list")

    assert result.returncode == EXIT_OK
    assert "main.orders.db, " in result.stdout
    assert asides(lonely) == []


def test_the_list_needs_no_settings(lonely: Place) -> None:
    """On a new computer there are none yet. To put the backup in place needs them."""
    lonely.write_dotenv("")

    listed, refused = (lonely.run("restore", "b.zip", last) for last in ("--list", "--yes"))

    assert listed.returncode == EXIT_OK, listed.stderr
    assert "main.orders.db, " in listed.stdout
    assert refused.returncode == EXIT_MISCONFIGURED
    assert asides(lonely) == []


def test_settings_go_into_a_new_file(lonely: Place) -> None:
    """They may belong to another machine, so none is put in force."""
    lonely.run("restore", "b.zip", "--yes", "--settings", "new.env")
    again = lonely.run("restore", "b.zip", "--yes", "--settings", "new.env")

    assert "IBKR_BRIDGE_URL=" in (lonely.home / "new.env").read_text()
    assert not (lonely.home / "state/settings.env").exists()
    assert again.returncode == EXIT_FAILURE
    assert "nothing was changed" in again.stderr


def with_journal(place: Place, change: str) -> bytes:
    """The journal of the backup after a change of one of its entries."""
    with zipfile.ZipFile(place.home / "b.zip") as archive:
        return archive.read("main.orders.db").replace(b"order1", change.encode())


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"main.orders.db": b"no database"}, "cannot be read as a journal"),
        ({"main.paused.json": b"{"}, "a file of the backup cannot be read"),
        ({"bridge.history.db": b"no database"}, "a file of the backup cannot be read"),
        ({"keys.json": b"{}"}, "a file of the backup cannot be read"),
        ({"../x": b""}, "files that no backup has"),
    ],
)
def test_a_bad_archive_changes_nothing(lonely: Place, files: dict[str, bytes], text: str) -> None:
    """Whoever made it."""
    archive_with(lonely.home / "bad.zip", files)

    result = lonely.run("restore", "bad.zip", "--yes")

    assert result.returncode == EXIT_FAILURE
    assert text in result.stderr
    assert sorted(path.name for path in lonely.home.iterdir()) == [".env", "b.zip", "bad.zip", "run", "state"]


def test_words_of_an_archive_do_not_control_the_terminal(lonely: Place) -> None:
    """An archive may come from anywhere."""
    with zipfile.ZipFile(lonely.home / "b.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    files["manifest.json"] = json.dumps({**manifest, "created": "\x1b[2Jnow"}).encode()
    with zipfile.ZipFile(lonely.home / "strange.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)

    result = lonely.run("restore", "strange.zip", "--yes")

    assert result.returncode == EXIT_OK
    assert "\x1b" not in result.stdout


def test_a_history_with_a_trigger_is_refused(lonely: Place) -> None:
    """It would run whenever the bridge writes."""
    path = lonely.home / "planted.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        file.executescript(
            "CREATE TABLE counter (revision INTEGER);"
            "CREATE TRIGGER planted AFTER UPDATE ON counter BEGIN DELETE FROM counter; END;"
        )
    archive_with(lonely.home / "bad.zip", {"bridge.history.db": path.read_bytes()})

    result = lonely.run("restore", "bad.zip", "--yes")

    assert result.returncode == EXIT_FAILURE
    assert "a file of the backup cannot be read" in result.stderr


def test_a_journal_that_was_changed_is_refused(lonely: Place) -> None:
    """Its seals do not fit any more."""
    archive_with(lonely.home / "bad.zip", {"main.orders.db": with_journal(lonely, "order9")})

    result = lonely.run("restore", "bad.zip", "--yes")

    assert result.returncode == EXIT_FAILURE
    assert "the journal of the backup is not in order" in result.stderr


def test_a_running_demo_is_not_replaced(running: Demo, place: Place, tmp_path: Path) -> None:
    """Its journal is open."""
    state = next(place.home.rglob("running.json")).parent
    place.run("backup", str(tmp_path / "b.zip"))

    result = place.run(
        "restore", str(tmp_path / "b.zip"), "--yes", IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_STATE_DIR=str(state)
    )

    assert result.returncode == EXIT_FAILURE
    assert running.get("/gateway/status").status_code == 200


def test_a_bridge_that_starts_meanwhile_keeps_its_state(tmp_path: Path) -> None:
    """The lock of its journal is held."""
    state, work = make_state(tmp_path / "state"), tmp_path / "work"
    work.mkdir()
    journal = new_journal(state)

    with pytest.raises(ValueError, match="another bridge"):
        module.replace_directory(state, work)

    journal.close()
    assert (state / "unrelated.txt").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_restores_for_the_owner_of_the_state(lonely: Place) -> None:
    """The bridge's own user must be able to use it."""
    os.chown(lonely.home / "state", 12345, 12346)

    result = lonely.run("restore", "b.zip", "--yes")

    paths = [lonely.home / "state", *(lonely.home / "state").iterdir()]
    assert result.returncode == EXIT_OK, result.stderr
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(12345, 12346)}
