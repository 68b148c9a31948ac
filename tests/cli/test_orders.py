"""`bridge.py orders`: orders and their states, and the verification of their journal."""

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
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, KEY, Demo, Place, demo, free_port
from tests.orders.journal.test_store import utc

ORDER = {"acctId": "DU1234567", "conid": 265598, "orderType": "MKT", "side": "BUY", "tif": "DAY", "quantity": 1}


def place_order(demo: Demo, coid: str) -> requests.Response:
    """Place an order with this cOID."""
    return requests.post(
        f"{demo.env['IBKR_BRIDGE_URL']}/iserver/account/DU1234567/orders",
        json={"orders": [{**ORDER, "cOID": coid}]},
        headers={"X-Bridge-Key": demo.env["IBKR_BRIDGE_KEY"]},
        timeout=20,
    )


def write_journal(path: Path, *orders: str) -> None:
    """Write a journal in which each of these orders was placed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store = JournalStore(path, Bus(), utc)
    for order in orders:
        store.append(
            store.new_entry(order, OrderEvent.SENT, OrderState.SENDING, {"kind": "place", "account": "DU1234567"})
        )
        store.append(store.new_entry(order, OrderEvent.TAKEN, OrderState.PLACED, {"order_ids": ["1"]}))
    store.close()


def test_the_list_is_printed_as_text_and_as_json(place: Place, running: Demo) -> None:
    """A line for each order, the latest first; account numbers are masked."""
    place_order(running, "first")
    place_order(running, "second")

    result, data = place.both("orders", **running.env)

    lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr, data.returncode) == (EXIT_OK, "", EXIT_OK)
    assert lines[0].split() == ["created", "kind", "state", "account", "order_id", "coid", "id", "error"]
    assert [lines[1].split()[number] for number in (2, 3, 4, 6)] == ["place", "placed", "DU*****67", "second"]
    assert [row["coid"] for row in json.loads(data.stdout)["orders"]][:2] == ["second", "first"]
    assert "DU1234567" not in result.stdout + data.stdout


def test_the_list_of_unknown_orders(tmp_path: Path) -> None:
    """The exit status is 1 if there are any: somebody should look."""
    place = Place(tmp_path)
    with demo(place) as running:  # not the shared demo: the lost order stays unknown for minutes
        none = place.run("orders", "--unknown", **running.env)
        place.run("trigger", "cut-before", "--path", "/DU1234567/orders$", "--times", "1", **running.env)
        place_order(running, "lost")

        some = place.run("orders", "--unknown", "--json", **running.env)

    assert (none.returncode, none.stdout) == (EXIT_OK, "no orders\n")
    assert some.returncode == EXIT_FAILURE
    assert [row["coid"] for row in json.loads(some.stdout)["orders"]] == ["lost"]


def test_a_missing_bridge_is_reported_in_one_line(place: Place) -> None:
    """With what to do about it."""
    env = {"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}"}

    result, data = place.both("orders", **env)

    assert (result.returncode, result.stderr, data.returncode) == (EXIT_FAILURE, "", EXIT_FAILURE)
    assert "start the bridge" in result.stdout
    assert json.loads(data.stdout)["orders"] is None


def test_settings_that_cannot_be_used(place: Place) -> None:
    """As for every command."""
    assert place.run("orders", IBKR_BRIDGE_KEY="short").returncode == EXIT_MISCONFIGURED


@pytest.mark.parametrize("words", [["--limit", "0"], ["--limit", "1001"], ["nonsense"], ["--what"]])
def test_wrong_arguments_are_refused(place: Place, words: list[str]) -> None:
    """The exit status is 1, and the usage is printed."""
    done = place.run("orders", *words, IBKR_BRIDGE_KEY=KEY)

    assert (done.returncode, "usage:" in done.stderr) == (EXIT_FAILURE, True)


def test_an_unchanged_journal_is_verified(tmp_path: Path) -> None:
    """Without the bridge; the usual file or a copy of it."""
    place = Place(tmp_path)
    path = place.home / "state" / "main.orders.db"
    write_journal(path, "a", "b")
    copy = place.home / "copy.db"
    copy.write_bytes(path.read_bytes())

    result, data = place.both("orders", "verify", IBKR_BRIDGE_KEY=KEY)
    copy_result = place.run("orders", "verify", str(copy), IBKR_BRIDGE_KEY=KEY)

    assert (result.returncode, result.stdout) == (EXIT_OK, "4 entries, all unchanged\n")
    assert json.loads(data.stdout) == {"file": str(path), "entries": 4, "flaws": []}
    assert copy_result.returncode == EXIT_OK


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
def test_a_change_of_the_journal_is_found(place: Place, tmp_path: Path, change: str, flaw: str) -> None:
    """The change is found even if the triggers of the file were dropped too."""
    path = tmp_path / "main.orders.db"
    write_journal(path, "a", "b")
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DROP TRIGGER entry_stays")
        file.execute("DROP TRIGGER entry_is_kept")
        file.execute(change)

    done = place.run("orders", "verify", str(path), IBKR_BRIDGE_KEY=KEY)

    assert done.returncode == EXIT_FAILURE
    assert flaw in done.stdout


@pytest.mark.parametrize("content", [None, b"garbage" * 1000])
def test_a_file_that_is_no_journal_is_reported(place: Place, tmp_path: Path, content: bytes | None) -> None:
    """A missing file and a damaged one."""
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)

    done = place.run("orders", "verify", str(path), IBKR_BRIDGE_KEY=KEY)

    assert done.returncode == EXIT_FAILURE
    assert "journal" in done.stdout
    assert path.exists() is (content is not None)


def test_an_empty_list_is_printed_as_text() -> None:
    """An empty table would not say that there are no orders."""
    assert format_orders([]) == "no orders"


def test_control_characters_of_a_coid_do_not_reach_the_terminal() -> None:
    """The caller chose the cOID, and it may hold any character."""
    row = {"id": "a", "state": "placed", "coid": "x\x1b[2J\ny\ud800"}

    assert "x?[2J?y?" in format_orders([row])


def test_one_order_is_shown_with_its_events(place: Place, running: Demo) -> None:
    """By the id of the journal; the account is masked."""
    ticket = {"side": "buy", "type": "market", "symbol": "AAPL", "quantity": 1}
    order = running.post("/accounts/DU1234567/orders", ticket).json()["id"]

    words, data = place.both("orders", "show", order, **running.env)

    assert words.stdout.splitlines()[0] == order
    assert "  symbol           AAPL" in words.stdout
    assert "sent" in words.stdout
    assert "DU1234567" not in words.stdout + data.stdout
    assert json.loads(data.stdout)["order"]["id"] == order


def test_an_order_that_does_not_exist_is_told(place: Place, running: Demo) -> None:
    """And `show` without an id says what it wants."""
    missing, without = place.run("orders", "show", "o-1", **running.env), place.run("orders", "show", **running.env)

    assert (missing.returncode, without.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert "order_not_found" in missing.stdout
    assert "show takes the id of an order" in without.stderr
