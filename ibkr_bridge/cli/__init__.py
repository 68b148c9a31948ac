"""The command line: one module for each command, found by its name.

Exit status: 0 good, 1 bad, 78 misconfigured (systemd does not restart after 78). `call` has one more status. The
module of a command is imported when the command runs, so that the daemon loads no code of the other commands.
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

from ibkr_bridge import VERSION
from ibkr_bridge.cli.command_parser import examples_text, module_of
from ibkr_bridge.cli.exit_statuses import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, exit_status_text
from ibkr_bridge.program_name import PROGRAM

if TYPE_CHECKING:
    from ibkr_bridge.config.settings import SettingsError

HELP = "help"
COMMANDS = {
    "serve": "run the bridge (also without any command)",
    "demo": "a simulated Gateway and the bridge in front of it",
    "sim": "the simulated Gateway alone",
    "trigger": "make something go wrong in a running demo or sim",
    "status": "print the state of the session",
    "open": "open the page that shows what the bridge does",
    "history": "what has happened, and how much of the time the session was ready",
    "orders": "list orders, show one, or verify their journal",
    "pause": "stop new orders; cancels are still sent",
    "resume": "allow new orders again",
    "reconnect": "check the session, and request it if calls fail",
    "call": "send one call: call GET /portfolio/accounts",
    "alerts": "tell a person of each condition",
    "alert-test": "send a test to each service that gets alerts",
    "doctor": "check everything and say how to fix it",
    "check": "read the settings as the service would",
    "logs": "show the log of the installed service",
    "keys": "named keys for callers: add, list, revoke",
    "profile": "further usernames: list, new, keys, pause, forget",
    "vault": "sealed credentials: key, check, rotate, move",
    "reload": "let the running bridge read its keys again",
    "diag": "a bundle for a report, without secrets",
    "backup": "write the state and the settings into one file",
    "restore": "put a backup in place of the state",
    "rotate-key": "replace the main key without a failed call",
    "genkey": "make a key",
    "completion": "completion of these commands for a shell",
}
EXAMPLES = {
    "status": "is the session open?",
    "help status": "the same as: status --help",
    "doctor": "what is wrong, and how to fix it",
}
EPILOG = f"{examples_text(EXAMPLES)}\n\n{exit_status_text()}"
__all__ = ["EXIT_FAILURE", "EXIT_MISCONFIGURED", "EXIT_OK"]


def settings_message(error: SettingsError) -> str:
    """Every problem of the settings, one on each line."""
    lines = (f"  {problem}" for problem in error.problems)
    return "\n".join(("The settings cannot be used:", *lines))


def control_path(port: int) -> Path:
    """The socket on which a demo or a sim receives the commands of `trigger`. Only this user can open it.

    Args:
        port: of the demo's bridge, or of the sim's Gateway.

    Raises:
        OSError: the folder of the socket cannot be made, or belongs to another user.
    """
    return runtime_folder() / f"{port}.sock"


def runtime_folder() -> Path:
    """The folder of the sockets and of the files that demos leave for other commands. Only this user can open it.

    Raises:
        OSError: it cannot be made, or belongs to another user.
    """
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"ibkr-bridge-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(errno.EPERM, f"{folder} belongs to another user")
    return folder


def given_path(text: str) -> Path:
    """A path that a person typed. The installed command runs in another directory and passes that of the person."""
    return Path(os.environ.get("CALLED_FROM", "")) / text


def port(text: str) -> int:
    """Parse a port number, 0 to 65535.

    Raises:
        ValueError: the text is not a port number.
    """
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def main(argv: Sequence[str]) -> int:
    """Run the command that was typed; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A guarded bridge to IBKR's Client Portal Gateway.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ibkr-bridge {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    commands.add_parser(HELP, help="explain a command: help status", add_help=False)
    argv = ([*argv[1:2], "--help"] if argv[1:] != [HELP] else ["--help"]) if list(argv[:1]) == [HELP] else argv
    try:
        command, rest = parser.parse_args(list(argv[:1])).command or "serve", list(argv[1:])
    except SystemExit as exc:  # argparse exits with 2 after an error
        return EXIT_FAILURE if exc.code else EXIT_OK
    return _run(command, rest)


def _run(command: str, rest: list[str]) -> int:
    try:
        return int(importlib.import_module(module_of(command)).run(rest))
    except SystemExit as exc:
        return EXIT_FAILURE if exc.code else EXIT_OK
    except KeyboardInterrupt:
        return EXIT_FAILURE
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILURE
