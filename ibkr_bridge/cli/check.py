"""`bridge.py check`: read the settings as the service would, and say which guards are in force."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence

from ibkr_bridge.cli import EXIT_MISCONFIGURED, EXIT_OK, given_path, settings_message
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.config.settings import Settings, SettingsError, load_server_settings
from ibkr_bridge.config.sources import dotenv_path
from ibkr_bridge.redaction import mask_account

EXAMPLES = {
    "check": "the settings in force",
    "check next.env": "those of a file, before it takes the place of the one in use",
}


def run(argv: Sequence[str]) -> int:
    """Check the settings. Returns 0 if a bridge would start with them, 78 if not."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.file is not None and not args.file.exists():  # of this directory there need be none
        parser.error(f"there is no file {args.file}")
    try:
        settings = load_server_settings(os.environ, args.file or dotenv_path())
    except SettingsError as exc:
        problems = [{"setting": each.name, "found": each.found, "allowed": each.allowed} for each in exc.problems]
        if args.json:
            print(json.dumps({"problems": problems}))
        else:
            print(settings_message(exc), file=sys.stderr)
        return EXIT_MISCONFIGURED
    guards = dict(describe(settings))
    print(json.dumps({"problems": [], **guards}) if args.json else format_guards(guards))
    return EXIT_OK


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("check", "Read the settings as the service would, and say which guards are in force.", EXAMPLES)
    parser.add_argument("file", nargs="?", type=given_path, help="a .env file; by default that of this directory")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def describe(settings: Settings) -> Iterator[tuple[str, str]]:
    """What the settings mean for callers and orders, by name."""
    yield "listens at", str(settings.url) + (", also for other machines" if settings.allow_remote else "")
    yield "Gateway", str(settings.gateway_socket or settings.gateway_url)
    yield "mode", settings.trading_mode.value + (", and no orders at all" if settings.read_only else "")
    yield "accounts", ", ".join(map(mask_account, sorted(settings.allowed_accounts))) or "all of the login"
    yield "quantity", _limit(settings.max_order_quantity, "shares or contracts")
    yield "value", _limit(settings.max_order_value, "in the base currency of the account")
    yield "keys", "full" + (", read-only" if settings.readonly_key else "")
    yield "state", str(settings.state_dir or "no directory: orders are refused")


def _limit(limit: object, unit: str) -> str:
    return "no limit" if limit is None else f"at most {limit} {unit} in one order"


def format_guards(guards: dict[str, str]) -> str:
    """The guards as lines of text."""
    return "\n".join(("The settings can be used.", *(f"  {name:<11} {text}" for name, text in guards.items())))
