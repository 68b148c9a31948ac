"""`bridge.py trigger`: make something go wrong in a running demo or sim, to see what an app makes of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ibkr_bridge.cli import BAD, GOOD, control_path
from ibkr_bridge.sim.control import ControlError, send
from ibkr_bridge.sim.faults import KINDS

LOGIN, CLEAR, LIST = "login", "clear", "list"


def run(argv: Sequence[str]) -> int:
    """Set a fault to work, or end all. Returns 0 where the simulator did it, 1 where it could not."""
    args = _parser().parse_args(argv)
    told = {"kind": args.fault, **{name: value for name in FIGURES if (value := getattr(args, name)) is not None}}
    method, target = COMMANDS.get(args.fault, ("POST", "/faults"))
    try:
        answer = asyncio.run(send(control_path(args.port), method, target, told if method == "POST" else None))
    except ControlError as exc:
        print(exc, file=sys.stderr)
        return BAD
    print(json.dumps(answer["active"]) if args.json else _format_result(answer))
    return GOOD


COMMANDS = {LOGIN: ("POST", "/login"), CLEAR: ("DELETE", "/faults"), LIST: ("GET", "/faults")}
FIGURES = ("path", "times", "seconds", "status")


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {name:15} {kind.says}" for name, kind in KINDS.items())
    ways = f"  {LOGIN:15} somebody signs in\n  {CLEAR:15} end all faults\n  {LIST:15} what is at work"
    parser = argparse.ArgumentParser(
        prog="bridge.py trigger",
        description="Make something go wrong in a running demo or sim.",
        epilog=f"faults:\n{kinds}\n\nand:\n{ways}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fault", choices=[*KINDS, *COMMANDS], metavar="FAULT", help="one of those below")
    parser.add_argument("--path", help="only for targets that contain this")
    parser.add_argument("--times", type=int, help="for so many calls (default: until cleared)")
    parser.add_argument("--seconds", type=float, help="for delay: how long")
    parser.add_argument("--status", type=int, help="for status: which")
    parser.add_argument("--port", type=int, default=_default_port(), help="of the demo's bridge, or of the sim")
    parser.add_argument("--json", action="store_true", help="print what is at work as JSON")
    return parser


def _default_port() -> int:
    try:
        return urlsplit(os.environ.get("IBKR_BRIDGE_URL", "")).port or 8000
    except ValueError:
        return 8000


def _format_result(answer: dict[str, Any]) -> str:
    active = [f"{fault['kind']}{' for ' + fault['path'] if fault['path'] else ''}" for fault in answer["active"]]
    return f"At work: {', '.join(active)}" if active else "Nothing is at work; all is well."
