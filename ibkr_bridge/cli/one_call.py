"""Commands that send the running bridge one request and print what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, settings_message
from ibkr_bridge.cli.bridge_access import client_settings, open_client, summarise
from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.config.settings import SettingsError
from ibkr_bridge.redaction import escape_unprintable


def run_call(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    send: Callable[[BridgeClient, argparse.Namespace], Any],
    describe: Callable[[Any], str],
) -> int:
    """Send a request and print its answer as text, or as JSON with `--json`.

    Args:
        parser: has the arguments of the command, without `--json`.
        send: sends the request and returns the parsed answer.
        describe: returns the answer as text for a person.

    Returns:
        0 if the bridge did it, 1 if not, 78 if the settings cannot be used.
    """
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)
    try:
        settings = client_settings()
    except SettingsError as exc:
        print(settings_message(exc), file=sys.stderr)
        return EXIT_MISCONFIGURED
    try:
        with open_client(settings) as client:
            answer = send(client, args)
    except ClientError as exc:
        text = ": ".join(summarise(exc))
        print(json.dumps({"error": text}) if args.json else escape_unprintable(text))
        return EXIT_FAILURE
    print(json.dumps(answer) if args.json else escape_lines(describe(answer)))
    return EXIT_OK


def escape_lines(text: str) -> str:
    """The text with control characters made visible, except for the ends of its own lines."""
    return "\n".join(map(escape_unprintable, text.split("\n")))
