"""`bridge.py orders`: what became of orders, as the bridge's journal knows it; `orders verify`: is that journal whole?

The list is asked of the running bridge. `verify` reads the file itself, whether the bridge runs or not: every entry's
seal, number and story, from the first to the last.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from ibkr_bridge.cli import BAD, GOOD, MISCONFIGURED, complaint
from ibkr_bridge.cli.bridge_access import in_short, open_client, settings
from ibkr_bridge.client import ClientError
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.orders.journal.store import last_of, opened_to_read, read_rows
from ibkr_bridge.orders.journal.transitions import prove

FILE = "main.orders.db"
MOST = 1000  # orders in one list
MOST_FLAWS = 10  # that are told: where one is, all behind it may be
COLUMNS = ("created", "state", "account", "order_id", "coid", "id", "error")


def run(argv: Sequence[str]) -> int:
    """Print the orders, or prove their journal. Returns 0 where all is well, 1 where not, 78 for unusable settings."""
    asked = _parsed(argv)
    try:
        told = settings()
    except SettingsError as exc:
        print(complaint(exc), file=sys.stderr)
        return MISCONFIGURED
    return _verified(asked, told) if asked.verb == "verify" else _listed(asked, told)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bridge.py orders", description="What became of orders.")
    parser.add_argument("verb", nargs="?", choices=["list", "verify"], default="list", help="list (usual), or verify")
    parser.add_argument("file", nargs="?", type=Path, help="verify: a journal elsewhere, such as a copy")
    parser.add_argument("--unknown", action="store_true", help="only those that are being looked for")
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help=f"at most so many, up to {MOST} (default 50)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args(argv)
    if not 1 <= asked.limit <= MOST:
        parser.error(f"--limit takes a number from 1 to {MOST}")
    return asked


def _listed(asked: argparse.Namespace, told: Settings) -> int:
    """Returns 1 where the bridge cannot be asked, or where orders are unknown."""
    try:
        with open_client(told) as client:
            found = client.orders("unknown" if asked.unknown else None, asked.limit)
    except ClientError as exc:
        text = ": ".join(in_short(exc))
        print(json.dumps({"orders": None, "error": text}) if asked.json else text)
        return BAD
    print(json.dumps({"orders": found}) if asked.json else in_words(found))
    return BAD if any(row.get("state") == "unknown" for row in found) else GOOD


def in_words(found: list[dict[str, Any]]) -> str:
    """Orders as a person reads them: a line each, the latest first."""
    if not found:
        return "no orders"
    rows = [COLUMNS, *(tuple(_cell(row, name) for name in COLUMNS) for row in found)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(row: dict[str, Any], name: str) -> str:
    text = "".join(each if each.isprintable() else "?" for each in str(row.get(name) or ""))  # a caller chose some
    return text[:19].replace("T", " ") if name == "created" else text


def _verified(asked: argparse.Namespace, told: Settings) -> int:
    path = asked.file or (told.state_dir / FILE if told.state_dir else None)
    count, flaws = proved(path)
    if asked.json:
        print(json.dumps({"file": str(path), "entries": count, "flaws": flaws}))
    else:
        print("\n".join(flaws) if flaws else f"{count} entries, all as they were written")
    return BAD if flaws else GOOD


def proved(path: Path | None) -> tuple[int, list[str]]:
    """How many entries a journal has, and what is wrong with it."""
    if path is None:
        return 0, ["there is no state directory, and so no journal: set IBKR_BRIDGE_STATE_DIR"]
    try:
        with closing(opened_to_read(path)) as file:
            flaws = [f"entry {flaw.number}: {flaw.why}" for flaw in islice(prove(read_rows(file)), MOST_FLAWS)]
            return last_of(file)[0], flaws
    except FileNotFoundError:
        return 0, [f"there is no journal at {path}: no order has been placed, or name the file"]
    except (OSError, sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError) as exc:
        return 0, [f"{path} cannot be read as a journal: {exc}"]
