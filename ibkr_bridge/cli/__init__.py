"""What a person types: one file a command, found by its name.

Exit status: 0 good, 1 bad, 78 misconfigured (systemd does not restart after that one); `call` knows one more. A
command's module is imported when it is called, so that the daemon carries only what it serves with.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkr_bridge.config.settings import SettingsError

GOOD, BAD, MISCONFIGURED = 0, 1, 78
COMMANDS = {
    "serve": "run the bridge (also without any command)",
    "demo": "a simulated Gateway and the bridge in front of it",
    "sim": "the simulated Gateway alone",
    "trigger": "make something go wrong in a running demo or sim",
    "status": "the session, in words",
    "orders": "what became of orders, and whether their journal is whole",
    "call": "ask the bridge something: call GET /portfolio/accounts",
    "doctor": "check everything and say how to mend it",
    "genkey": "make a key",
}


def settings_message(error: SettingsError) -> str:
    """All that is wrong with the settings, as a person reads it."""
    lines = (f"  {problem}" for problem in error.problems)
    return "\n".join(("The settings cannot be used:", *lines))


def control_path(port: int) -> Path:
    """Where a demo (by its bridge's port) or a sim (by its Gateway's) takes orders from `trigger`: ours alone.

    Raises:
        OSError: the folder for it belongs to somebody else, or cannot be made.
    """
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"ibkr-bridge-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(errno.EPERM, f"{folder} belongs to somebody else")
    return folder / f"{port}.sock"


def port(text: str) -> int:
    """A port number as typed.

    Raises:
        ValueError: it is none.
    """
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def main(argv: Sequence[str]) -> int:
    """Run the command that was typed; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bridge.py", description="The guarded door in front of IBKR's Gateway.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    try:
        chosen, rest = parser.parse_args(list(argv[:1])).command or "serve", list(argv[1:])
    except SystemExit as exc:  # argparse says 2 where something is wrong
        return BAD if exc.code else GOOD
    return _run(chosen, rest)


def _run(chosen: str, rest: list[str]) -> int:
    try:
        return int(importlib.import_module(f"ibkr_bridge.cli.{chosen}").run(rest))
    except SystemExit as exc:
        return BAD if exc.code else GOOD
    except KeyboardInterrupt:
        return BAD
    except BrokenPipeError:
        sys.stderr.close()
        return BAD
