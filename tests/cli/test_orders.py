"""`bridge.py orders`: what became of orders, and whether their journal is whole."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import requests

from ibkr_bridge.cli.orders import format_orders
from ibkr_bridge.events import Bus
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from tests.cli.typed import BAD, GOOD, KEY, MISCONFIGURED, Demo, Place, demo, free_port
from tests.orders.journal.test_store import utc

ORDER = {"acctId": "DU1234567", "conid": 265598, "orderType": "MKT", "side": "BUY", "tif": "DAY", "quantity": 1}


def ordered(demo: Demo, name: str) -> requests.Response:
    """An order of this name."""
    return requests.post(
        f"{demo.env['IBKR_BRIDGE_URL']}/iserver/account/DU1234567/orders",
        json={"orders": [{**ORDER, "cOID": name}]},
        headers={"X-Bridge-Key": demo.env["IBKR_BRIDGE_KEY"]},
        timeout=20,
    )


def journal(path: Path, *orders: str) -> None:
    """A journal with some orders in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = JournalStore(path, Bus(), utc)
    for order in orders:
        kept.append(
            kept.new_entry(order, OrderEvent.SENT, OrderState.SENDING, {"kind": "place", "account": "DU1234567"})
        )
        kept.append(kept.new_entry(order, OrderEvent.TAKEN, OrderState.PLACED, {"order_ids": ["1"]}))
    kept.close()


def test_the_list_is_told_in_words_and_in_json(place: Place, running: Demo) -> None:
    """A line each, the latest first; account numbers masked."""
    ordered(running, "first")
    ordered(running, "second")

    told, data = place.both("orders", **running.env)

    lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr, data.returncode) == (GOOD, "", GOOD)
    assert lines[0].split() == ["created", "state", "account", "order_id", "coid", "id", "error"]
    assert [lines[1].split()[number] for number in (2, 3, 5)] == ["placed", "DU*****67", "second"]
    assert [row["coid"] for row in json.loads(data.stdout)["orders"]][:2] == ["second", "first"]
    assert "DU1234567" not in told.stdout + data.stdout


def test_only_those_that_are_being_looked_for(tmp_path: Path) -> None:
    """Status 1 where there are any: somebody should look."""
    place = Place(tmp_path)
    with demo(place) as running:  # of its own: the lost order stays lost for minutes
        none = place.run("orders", "--unknown", **running.env)
        place.run("trigger", "cut-before", "--path", "/DU1234567/orders$", "--times", "1", **running.env)
        ordered(running, "lost")

        some = place.run("orders", "--unknown", "--json", **running.env)

    assert (none.returncode, none.stdout) == (GOOD, "no orders\n")
    assert some.returncode == BAD
    assert [row["coid"] for row in json.loads(some.stdout)["orders"]] == ["lost"]


def test_no_bridge_is_said_in_short(place: Place) -> None:
    """With what to do."""
    env = {"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}"}

    told, data = place.both("orders", **env)

    assert (told.returncode, told.stderr, data.returncode) == (BAD, "", BAD)
    assert "start the bridge" in told.stdout
    assert json.loads(data.stdout)["orders"] is None


def test_settings_that_cannot_be_used(place: Place) -> None:
    """As for every command."""
    assert place.run("orders").returncode == MISCONFIGURED


@pytest.mark.parametrize("words", [["--limit", "0"], ["--limit", "1001"], ["nonsense"], ["--what"]])
def test_words_that_are_none(place: Place, words: list[str]) -> None:
    """Are complained about."""
    done = place.run("orders", *words, IBKR_BRIDGE_KEY=KEY)

    assert (done.returncode, "usage:" in done.stderr) == (BAD, True)


def test_a_whole_journal_is_proved(tmp_path: Path) -> None:
    """Without the bridge; of the usual file, or of a copy."""
    place = Place(tmp_path)
    path = place.home / "state" / "main.orders.db"
    journal(path, "a", "b")
    copy = place.home / "copy.db"
    copy.write_bytes(path.read_bytes())

    told, data = place.both("orders", "verify", IBKR_BRIDGE_KEY=KEY)
    copied = place.run("orders", "verify", str(copy), IBKR_BRIDGE_KEY=KEY)

    assert (told.returncode, told.stdout) == (GOOD, "4 entries, all as they were written\n")
    assert json.loads(data.stdout) == {"file": str(path), "entries": 4, "flaws": []}
    assert copied.returncode == GOOD


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ("UPDATE entry SET facts = '{}' WHERE number = 1", "entry 1: its seal does not match"),
        ("UPDATE entry SET state = 'rejected' WHERE number = 2", "entry 2: its seal does not match"),
        ("DELETE FROM entry WHERE number = 2", "entry 3: entry 2 is missing"),
        ("UPDATE entry SET what = 'invented' WHERE number = 3", "cannot be read as a journal"),
        ("UPDATE entry SET facts = '{' WHERE number = 3", "cannot be read as a journal"),
    ],
)
def test_a_journal_that_was_changed_is_found_out(place: Place, tmp_path: Path, change: str, flaw: str) -> None:
    """By whoever has the file and takes its guards away."""
    path = tmp_path / "main.orders.db"
    journal(path, "a", "b")
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DROP TRIGGER entry_stays")
        file.execute("DROP TRIGGER entry_is_kept")
        file.execute(change)

    done = place.run("orders", "verify", str(path), IBKR_BRIDGE_KEY=KEY)

    assert done.returncode == BAD
    assert flaw in done.stdout


@pytest.mark.parametrize("content", [None, b"garbage" * 1000])
def test_what_is_no_journal_is_told(place: Place, tmp_path: Path, content: bytes | None) -> None:
    """A missing file, a spoilt one."""
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)

    done = place.run("orders", "verify", str(path), IBKR_BRIDGE_KEY=KEY)

    assert done.returncode == BAD
    assert "journal" in done.stdout
    assert path.exists() is (content is not None)


def test_words_for_no_orders() -> None:
    """An empty table says nothing."""
    assert format_orders([]) == "no orders"


def test_what_a_caller_chose_cannot_write_to_the_terminal() -> None:
    """A cOID may hold anything."""
    row = {"id": "a", "state": "placed", "coid": "x\x1b[2J\ny\ud800"}

    assert "x?[2J?y?" in format_orders([row])
