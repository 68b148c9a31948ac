"""Commands that send the running bridge one request and print what came of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from ibkr_bridge.cli import EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import open_client, report_failure, settings_or_report
from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.redaction import escape_unprintable


def run_call(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    send: Callable[[BridgeClient, argparse.Namespace], Any],
    describe: Callable[[Any], str],
) -> int:
    """Send a request and print its answer as text, or as JSON with `--json`.

    Args:
        parser: has the arguments of the command; `--json` is added if it is missing.
        send: sends the request and returns the parsed answer.
        describe: returns the answer as text for a person.

    Returns:
        0 if the bridge did it, 1 if not, 78 if the settings cannot be used.
    """
    args = add_json_option(parser).parse_args(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    try:
        with open_client(settings) as client:
            answer = send(client, args)
    except ClientError as exc:
        return report_failure(exc, as_json=args.json)
    print(json.dumps(answer) if args.json else escape_lines(describe(answer)))
    return EXIT_OK


def add_json_option(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add `--json` to a parser that does not have it, and return the parser."""
    if "--json" not in parser.format_usage():
        parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def escape_lines(text: str) -> str:
    """The text with control characters made visible, except for the ends of its own lines."""
    return "\n".join(map(escape_unprintable, text.split("\n")))
