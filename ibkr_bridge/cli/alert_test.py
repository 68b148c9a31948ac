"""`bridge.py alert-test`: send a test to each service that gets alerts."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence

from ibkr_bridge.alerts.messages import trial
from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.alerts import NOT_CONFIGURED, services_or_report, settings_of_alerts
from ibkr_bridge.cli.command_parser import new_parser

EXAMPLES = {"alert-test": "each service gets one message"}


def run(argv: Sequence[str]) -> int:
    """Send a test. Returns 0 if each service took it, 1 if one did not or there is none, 78 if the settings are
    wrong.
    """
    build_parser().parse_args(argv)
    settings = settings_of_alerts()
    services = None if settings is None else services_or_report(settings)
    if settings is None or services is None:
        return EXIT_MISCONFIGURED
    if not services:
        print(NOT_CONFIGURED)
        return EXIT_FAILURE
    results = [(each.name, each.send(trial(socket.gethostname()))) for each in services]
    for name, is_taken in results:
        print(f"{name}: {'sent' if is_taken else 'not taken; check its address, and that this computer reaches it'}")
    return EXIT_OK if all(is_taken for _, is_taken in results) else EXIT_FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    return new_parser("alert-test", "Send a test to each service of IBKR_BRIDGE_ALERTS.", EXAMPLES)
