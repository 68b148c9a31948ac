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

from ibkr_bridge.cli import BAD, GOOD, MISCONFIGURED, settings_message
from ibkr_bridge.cli.bridge_access import client_settings, open_client, summarise
from ibkr_bridge.client import ClientError
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.orders.journal.store import last_entry, open_read_only, read_rows
from ibkr_bridge.orders.journal.transitions import verify

FILE = "main.orders.db"
MAX_ORDERS = 1000  # orders in one list
MAX_FLAWS = 10  # that are told: where one is, all behind it may be
COLUMNS = ("created", "state", "account", "order_id", "coid", "id", "error")


def run(argv: Sequence[str]) -> int:
    """Print the orders, or prove their journal. Returns 0 where all is well, 1 where not, 78 for unusable settings."""
    args = _parse_arguments(argv)
    try:
        settings = client_settings()
    except SettingsError as exc:
        print(settings_message(exc), file=sys.stderr)
        return MISCONFIGURED
    return _verify(args, settings) if args.verb == "verify" else _list_orders(args, settings)


def _parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bridge.py orders", description="What became of orders.")
    parser.add_argument("verb", nargs="?", choices=["list", "verify"], default="list", help="list (usual), or verify")
    parser.add_argument("file", nargs="?", type=Path, help="verify: a journal elsewhere, such as a copy")
    parser.add_argument("--unknown", action="store_true", help="only those that are being looked for")
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help=f"at most so many, up to {MAX_ORDERS} (default 50)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args(argv)
    if not 1 <= args.limit <= MAX_ORDERS:
        parser.error(f"--limit takes a number from 1 to {MAX_ORDERS}")
    return args


def _list_orders(args: argparse.Namespace, settings: Settings) -> int:
    """Returns 1 where the bridge cannot be asked, or where orders are unknown."""
    try:
        with open_client(settings) as client:
            found = client.orders("unknown" if args.unknown else None, args.limit)
    except ClientError as exc:
        text = ": ".join(summarise(exc))
        print(json.dumps({"orders": None, "error": text}) if args.json else text)
        return BAD
    print(json.dumps({"orders": found}) if args.json else format_orders(found))
    return BAD if any(row.get("state") == "unknown" for row in found) else GOOD


def format_orders(found: list[dict[str, Any]]) -> str:
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


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    path = args.file or (settings.state_dir / FILE if settings.state_dir else None)
    count, flaws = verify_file(path)
    if args.json:
        print(json.dumps({"file": str(path), "entries": count, "flaws": flaws}))
    else:
        print("\n".join(flaws) if flaws else f"{count} entries, all as they were written")
    return BAD if flaws else GOOD


def verify_file(path: Path | None) -> tuple[int, list[str]]:
    """How many entries a journal has, and what is wrong with it."""
    if path is None:
        return 0, ["there is no state directory, and so no journal: set IBKR_BRIDGE_STATE_DIR"]
    try:
        with closing(open_read_only(path)) as file:
            flaws = [f"entry {flaw.number}: {flaw.reason}" for flaw in islice(verify(read_rows(file)), MAX_FLAWS)]
            return last_entry(file)[0], flaws
    except FileNotFoundError:
        return 0, [f"there is no journal at {path}: no order has been placed, or name the file"]
    except (OSError, sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError) as exc:
        return 0, [f"{path} cannot be read as a journal: {exc}"]
