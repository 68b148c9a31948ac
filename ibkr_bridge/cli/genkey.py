"""`bridge.py genkey`: a random key for callers."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Sequence

from ibkr_bridge.cli import EXIT_OK

KEY_BYTES = 32  # 256 bits, 43 characters


def run(argv: Sequence[str]) -> int:
    """Print a new key on a line of its own."""
    parser = argparse.ArgumentParser(prog="bridge.py genkey", description="Make a key for IBKR_BRIDGE_KEY.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)
    key = secrets.token_urlsafe(KEY_BYTES)
    print(json.dumps({"key": key}) if args.json else key)
    return EXIT_OK
