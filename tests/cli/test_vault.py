"""`bridge.py vault`: keys, checks, rotation, and the move into a database."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ibkr_bridge.profiles.company import OWNER as CONSUMER
from ibkr_bridge.vault.file_store import FileStore
from ibkr_bridge.vault.key_file import FileKeySource, parse_keys
from ibkr_bridge.vault.store_port import Owner
from ibkr_bridge.vault.vault import PlainCredential, Vault
from tests.cli.command_runner import BRIDGE, EXIT_FAILURE, EXIT_OK, KEY, Place
from tests.vault.conftest import database, server
from tests.vault.postgres import address

__all__ = ["database", "server"]
SECRET = b"CANARY"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place with a state directory, and with a file of keys that the test fills."""
    made = Place(tmp_path)
    lines = (f"IBKR_BRIDGE_KEY={KEY}", f"IBKR_BRIDGE_STATE_DIR={tmp_path / 'state'}")
    made.write_dotenv("\n".join((*lines, f"IBKR_BRIDGE_VAULT_KEYS={tmp_path / 'keys'}\n")))
    (tmp_path / "state").mkdir(mode=0o700)
    return made


def write_keys(tmp_path: Path, *lines: str) -> None:
    """Replace the file of keys."""
    file = tmp_path / "keys"
    file.unlink(missing_ok=True)
    file.write_text("\n".join(lines))
    file.chmod(0o400)


def save(tmp_path: Path, *lines: str) -> None:
    """Seal a credential and the keys of a company with these keys."""
    keys = FileKeySource(parse_keys("\n".join(lines)))
    vault = Vault(FileStore(tmp_path / "state" / "credentials"), keys)
    asyncio.run(vault.save(Owner("user-17", "anna"), PlainCredential("oauth1a", SECRET)))
    asyncio.run(vault.save(CONSUMER, PlainCredential("consumer", SECRET)))


def migrate(place: Place, url: str) -> subprocess.CompletedProcess[str]:
    """Run `vault migrate` with the address of an administrator on its standard input."""
    words = [sys.executable, str(BRIDGE), "vault", "migrate"]
    env = {**os.environ, **place.env}
    return subprocess.run(words, cwd=place.home, env=env, input=f"{url}\n", capture_output=True, text=True, check=False)


def new_key(place: Place) -> str:
    """A key as the command makes it."""
    made = place.run("vault", "key")
    assert made.returncode == EXIT_OK
    return made.stdout.strip()


def test_a_key_is_replaced_step_by_step(place: Place, tmp_path: Path) -> None:
    """As the help says: first line, rotate, check, remove the old line."""
    old, new = new_key(place), new_key(place)
    write_keys(tmp_path, old)
    save(tmp_path, old)
    write_keys(tmp_path, new, old)

    before = place.run("vault", "check")
    rotated = place.run("vault", "rotate", "--json")
    write_keys(tmp_path, new)
    after = place.run("vault", "check", "--json")

    assert "sealed with an older key" in before.stdout
    assert json.loads(rotated.stdout) == {"changed": 2}
    assert json.loads(after.stdout)["credentials"] == [
        {"profile": "_consumer", "kind": "consumer", "problem": None, "newest": True},
        {"profile": "anna", "kind": "oauth1a", "problem": None, "newest": True},
    ]


def test_a_missing_key_is_a_failure_in_words(place: Place, tmp_path: Path) -> None:
    """Nothing of the credential is shown."""
    old, other = new_key(place), new_key(place)
    save(tmp_path, old)
    without = place.run("vault", "check")
    write_keys(tmp_path, other)
    wrong = place.run("vault", "check")

    assert (without.returncode, wrong.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert "the file of keys is missing" in without.stdout
    assert "the key that sealed this record is missing" in wrong.stdout
    assert place.run("vault", "rotate").returncode == EXIT_FAILURE


def test_credentials_move_into_a_database_and_back(place: Place, tmp_path: Path, server: Path, database: str) -> None:
    """Each is opened at its new place before it is removed from the old one."""
    key = new_key(place)
    write_keys(tmp_path, key)
    save(tmp_path, key)
    nowhere = place.run("vault", "move", "--to", "database")
    text = (tmp_path / ".env").read_text()
    place.write_dotenv(text + f"IBKR_BRIDGE_DATABASE_URL={address(server, 'ibkr_bridge', database)}\n")

    there = place.run("vault", "move", "--to", "database")
    checked = place.run("vault", "check")
    files = list((tmp_path / "state" / "credentials").iterdir())
    back = place.run("vault", "move", "--to", "files", "--json")

    assert "IBKR_BRIDGE_DATABASE_URL" in nowhere.stdout
    assert (there.returncode, checked.returncode, files) == (EXIT_OK, EXIT_OK, []), there.stdout
    assert "2 credentials in the database" in checked.stdout
    assert json.loads(back.stdout) == {"moved": 2}


def test_the_table_is_made_by_an_administrator(place: Place, server: Path, database: str) -> None:
    """The address comes over standard input, since other users can read arguments."""
    again = migrate(place, address(server, database=database))
    nobody = migrate(place, "postgresql://x:PASSWORD@/none?host=/nowhere")

    assert (again.returncode, "0 migrations ran" in again.stdout) == (EXIT_OK, True)
    assert (nobody.returncode, "PASSWORD" in nobody.stdout + nobody.stderr) == (EXIT_FAILURE, False)
