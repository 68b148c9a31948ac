"""`bridge.py orders`: the orders of the journal with their states. `orders verify`: whether the journal is unchanged.

The list comes from the running bridge. `verify` reads the file itself, whether the bridge runs or not. It checks every
entry from the first to the last: its seal, its number, and whether it may follow the entry before. The file beside the
journal, whose name ends in `-last`, shows whether entries are missing at its end.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import open_client, report_failure, settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.client import ClientError
from ibkr_bridge.config.profile_files import NAME_PATTERN
from ibkr_bridge.config.settings import MAIN, Settings
from ibkr_bridge.orders.journal.end_mark import missing_end, read_mark
from ibkr_bridge.orders.journal.store import last_entry, open_read_only, read_rows
from ibkr_bridge.orders.journal.transitions import verify
from ibkr_bridge.redaction import escape_unprintable, mask_account

MAX_ORDERS = 1000  # the most that one list of the bridge has
MAX_FLAWS = 10  # one flaw may be followed by one for every entry behind it
COLUMNS = ("created", "kind", "state", "account", "order_id", "coid", "id", "error")

EXAMPLES = {
    "orders": "the latest orders",
    "orders --unknown": "those of unknown outcome",
    "orders show 19c0…": "one order with its events",
    "orders verify": "whether the journal is complete and unchanged",
    "orders verify --profile anna": "that of another profile",
}


def run(argv: Sequence[str]) -> int:
    """List the orders or verify their journal. Returns 0 if all is well, 1 if not, 78 if settings cannot be used."""
    args = _parse_arguments(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    return VERBS[args.verb](args, settings)


def _parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.verb == "show" and not args.subject:
        parser.error("show takes the id of an order")
    if not 1 <= args.limit <= MAX_ORDERS:
        parser.error(f"--limit takes a number from 1 to {MAX_ORDERS}")
    return args


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("orders", "List orders and their state, or verify their journal.", EXAMPLES)
    parser.add_argument("verb", nargs="?", choices=list(VERBS), default="list", help="list (default), show or verify")
    parser.add_argument("subject", nargs="?", help="show: the id of an order; verify: a journal elsewhere, as a copy")
    parser.add_argument(
        "--profile", type=profile_name, default=MAIN, metavar="NAME", help="verify: the profile whose journal it is"
    )
    parser.add_argument("--unknown", action="store_true", help="only orders of unknown outcome")
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help=f"at most N orders, up to {MAX_ORDERS} (default 50)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _list_orders(args: argparse.Namespace, settings: Settings) -> int:
    """Print the orders. Returns 1 if the bridge does not list them, or if the outcome of one is unknown."""
    try:
        with open_client(settings) as client:
            rows = [_masked(row) for row in client.orders("unknown" if args.unknown else None, args.limit)]
    except ClientError as exc:
        return report_failure(exc, as_json=args.json, orders=None)
    print(json.dumps({"orders": rows}) if args.json else format_orders(rows))
    return EXIT_FAILURE if any(row.get("state") == "unknown" for row in rows) else EXIT_OK


def _show_order(args: argparse.Namespace, settings: Settings) -> int:
    """Print one order with its events. Returns 1 if there is no such order, or if its outcome is unknown."""
    try:
        with open_client(settings) as client:
            order = _masked(client.get(f"/orders/{quote(args.subject, safe='')}"))
    except ClientError as exc:
        return report_failure(exc, as_json=args.json, order=None)
    print(json.dumps({"order": order}) if args.json else format_order(order))
    return EXIT_FAILURE if order.get("state") == "unknown" else EXIT_OK


def format_order(order: dict[str, Any]) -> str:
    """One order: a line for each member that is known, and one for each event."""
    members = (
        f"  {name:<16} {escape_unprintable(str(value))}"
        for name, value in order.items()
        if value not in (None, [], "") and name not in ("id", "events", "question")
    )
    events = (f"  {escape_unprintable(_event_text(event))}" for event in order.get("events") or ())
    question = (f"  asks: {escape_unprintable(text)}" for text in (order.get("question") or {}).get("texts", ()))
    return "\n".join((str(order.get("id")), *members, *question, *events))


def _event_text(event: dict[str, Any]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in event.items() if value and name not in ("at", "what"))
    return f"{event.get('at')} {event.get('what')}{f': {facts}' if facts else ''}"


def _masked(row: dict[str, Any]) -> dict[str, Any]:
    """The order without its account number: what a command prints is copied into tickets and chats."""
    account = row.get("account")
    return {**row, "account": mask_account(account) if isinstance(account, str) else None}


def format_orders(orders: list[dict[str, Any]]) -> str:
    """Orders as a table: a line for each, in the order given."""
    if not orders:
        return "no orders"
    rows = [COLUMNS, *(tuple(_cell(order, name) for name in COLUMNS) for order in orders)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(order: dict[str, Any], name: str) -> str:
    # Callers choose some members; a control character must not reach the terminal.
    text = "".join(each if each.isprintable() else "?" for each in str(order.get(name) or ""))
    return text[:19].replace("T", " ") if name == "created" else text


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    own = journal_path(settings.state_dir, args.profile) if settings.state_dir else None
    path = Path(args.subject) if args.subject else own
    count, flaws = verify_file(path)
    if args.json:
        print(json.dumps({"file": str(path), "entries": count, "flaws": flaws}))
    else:
        print("\n".join(map(escape_unprintable, flaws)) if flaws else f"{count} entries, all unchanged")
    return EXIT_FAILURE if flaws else EXIT_OK


def journal_path(state_dir: Path, profile: str = MAIN) -> Path:
    """The file of a profile's journal."""
    return state_dir / f"{profile}.orders.db"


def profile_name(text: str) -> str:
    """Parse the name of a profile.

    Raises:
        ValueError: it is none.
    """
    if NAME_PATTERN.fullmatch(text) is None:
        raise ValueError(text)
    return text


def verify_file(path: Path | None) -> tuple[int, list[str]]:
    """The number of entries in a journal, and what is wrong with it: at most `MAX_FLAWS` lines."""
    if path is None:
        return 0, ["there is no journal, since there is no state directory: set IBKR_BRIDGE_STATE_DIR"]
    try:
        mark = read_mark(path)  # first: a running bridge goes on writing the journal, and then the mark
        with closing(open_read_only(path)) as file:
            flaws = [f"entry {flaw.number}: {flaw.reason}" for flaw in islice(verify(read_rows(file)), MAX_FLAWS)]
            count = last_entry(file)[0]
            missing = missing_end(file, count, mark)
            return count, [*flaws[: MAX_FLAWS - 1], missing] if missing else flaws
    except FileNotFoundError:
        return 0, [f"there is no journal at {path}: no order has been placed yet, or it is elsewhere (give the file)"]
    except (OSError, sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError) as exc:
        return 0, [f"{path} cannot be read as a journal: {exc}"]


VERBS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "list": _list_orders,
    "show": _show_order,
    "verify": _verify,
}
