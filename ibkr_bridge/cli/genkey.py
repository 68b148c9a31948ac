"""`bridge.py genkey`: a random key for callers."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Sequence

from ibkr_bridge.cli import EXIT_OK
from ibkr_bridge.cli.command_parser import new_parser

KEY_BYTES = 32  # 256 bits, 43 characters
EXAMPLES = {"genkey": "a key on a line of its own", "genkey --json": "as JSON"}


def run(argv: Sequence[str]) -> int:
    """Print a new key on a line of its own."""
    args = build_parser().parse_args(argv)
    key = secrets.token_urlsafe(KEY_BYTES)
    print(json.dumps({"key": key}) if args.json else key)
    return EXIT_OK


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("genkey", "Make a key for IBKR_BRIDGE_KEY.", EXAMPLES)
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser
