"""`bridge.py logs`: the log of the installed service, from systemd's journal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ibkr_bridge.cli import EXIT_FAILURE
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.program_name import INSTALLED_NAME

UNIT = INSTALLED_NAME
EXAMPLES = {
    "logs -f": "follow",
    "logs --problems": "warnings and errors",
    "logs --event session.lost": "every loss of the session",
    "logs --order 19c0…": "all lines of one order",
}


def run(argv: Sequence[str]) -> int:
    """Show the log with `journalctl`, which takes the place of this process."""
    command = journal_command(build_parser().parse_args(argv))
    try:
        os.execvp(command[0], command)  # noqa: S606  # no shell: the arguments are a list
    except OSError:
        print("journalctl is not installed: the log is where the bridge was started", file=sys.stderr)
        return EXIT_FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("logs", "Show the log of the installed service.", EXAMPLES)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="the last N lines (default 50)")
    parser.add_argument("--since", metavar="TIME", help="from this time on, such as today or -1h")
    parser.add_argument("--problems", action="store_true", help="only warnings and errors")
    parser.add_argument("--event", metavar="NAME", help="only lines of this event")
    parser.add_argument("--order", metavar="ID", help="only lines of this order")
    parser.add_argument("--request", metavar="ID", help="only lines of this request")
    return parser


def journal_command(args: argparse.Namespace) -> list[str]:
    """The command that shows what was asked for."""
    fields = {"BRIDGE_EVENT": args.event, "ORDER": args.order, "REQUEST_ID": args.request}
    return [
        *("journalctl", f"--unit={UNIT}", f"--lines={args.lines}"),
        *(["--follow"] if args.follow else ["--no-pager"]),
        *([f"--since={args.since}"] if args.since else []),
        *(["--priority=warning"] if args.problems else []),
        *(f"{name}={value}" for name, value in fields.items() if value),
    ]
