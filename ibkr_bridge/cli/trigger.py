"""`bridge.py trigger`: make something go wrong in a running demo or sim, to see how an app handles it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_OK, control_path
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.demo_file import find_demo
from ibkr_bridge.program_name import name_commands
from ibkr_bridge.sim.control import ControlError, send
from ibkr_bridge.sim.faults import KINDS

LOGIN, CLEAR, LIST = "login", "clear", "list"


def run(argv: Sequence[str]) -> int:
    """Start a fault, end or list all faults, or sign in. Returns 0 if the simulator did it, 1 if it did not."""
    args = build_parser().parse_args(argv)
    options = {name: value for name in FAULT_OPTIONS if (value := getattr(args, name)) is not None}
    body = {"kind": args.fault, **options}
    method, target = COMMANDS.get(args.fault, ("POST", "/faults"))
    try:
        path = control_path(args.port or _default_port())
        response = asyncio.run(send(path, method, target, body if method == "POST" else None))
    except ControlError as exc:
        print(name_commands(str(exc)), file=sys.stderr)
        return EXIT_FAILURE
    print(json.dumps(response["active"]) if args.json else _format_result(response))
    for text in response["not_restored"]:
        print(f"Not restored: {text}.", file=sys.stderr if args.json else sys.stdout)
    return EXIT_OK


COMMANDS = {LOGIN: ("POST", "/login"), CLEAR: ("DELETE", "/faults"), LIST: ("GET", "/faults")}
COMMAND_TEXTS = {
    LOGIN: "somebody signs in",
    CLEAR: "end all faults, and undo what they have left behind",
    LIST: "list the active faults",
}
EXAMPLES = {"trigger sso-lost": "the login ends", "trigger clear": "everything works again"}
FAULT_OPTIONS = ("path", "times", "seconds", "status")


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    kinds = "\n".join(f"  {name:15} {kind.description}" for name, kind in KINDS.items())
    commands = "\n".join(f"  {name:15} {text}" for name, text in COMMAND_TEXTS.items())
    parser = new_parser(
        "trigger",
        "Make something go wrong in a running demo or sim.",
        EXAMPLES,
        f"faults:\n{kinds}\n\ncommands:\n{commands}",
    )
    parser.add_argument(
        "fault", choices=[*KINDS, *COMMANDS], metavar="FAULT", help="a fault or a command from the lists below"
    )
    parser.add_argument("--path", help="only for targets that contain this, or quotes of this conid")
    parser.add_argument("--times", type=int, help="number of calls (default: until cleared)")
    parser.add_argument("--seconds", type=float, help="length of `delay`")
    parser.add_argument("--status", type=int, help="HTTP status of `status`")
    parser.add_argument(
        "--port",
        type=int,
        help="port of the demo's bridge, or of the sim (default: of IBKR_BRIDGE_URL or of a demo)",
    )
    parser.add_argument("--json", action="store_true", help="print the active faults as JSON")
    return parser


def _default_port() -> int:
    demo = find_demo()
    url = os.environ.get("IBKR_BRIDGE_URL") or (demo.url if demo is not None else "")
    try:
        return urlsplit(url).port or 8000
    except ValueError:
        return 8000


def _format_result(response: dict[str, Any]) -> str:
    active = [f"{fault['kind']}{' for ' + fault['path'] if fault['path'] else ''}" for fault in response["active"]]
    return f"Active faults: {', '.join(active)}" if active else "No fault is active."
