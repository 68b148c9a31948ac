"""`bridge.py reload`: the running bridge reads its keys and its log level again, and the command waits for the outcome.

A signal returns nothing, so the bridge writes the outcome into its state directory (`server/running_mark.py`). For the
installed service root asks systemd, whose unit copies the settings first and then runs this command with `--process`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.config.settings import state_dir_of
from ibkr_bridge.config.sources import dotenv_path
from ibkr_bridge.program_name import INSTALLED_NAME, PROGRAM, is_installed
from ibkr_bridge.redaction import escape_unprintable
from ibkr_bridge.server.running_mark import find_running, read_outcome

TIMEOUT_S = 15.0  # the event loop may be busy; a reload itself takes milliseconds
POLL_INTERVAL_S = 0.02
DONE = "the bridge has read its keys and its log level again"
NOT_RUNNING = "no bridge runs on this state directory"
EXAMPLES = {
    "reload": "after a change of a key or of the log level",
    "reload --json": "as JSON",
}
MORE = """All other settings need a restart."""


@dataclass(frozen=True)
class Reload:
    """What came of a reload."""

    is_done: bool
    text: str
    """For people."""
    is_running: bool = True


def run(argv: Sequence[str]) -> int:
    """Reload the bridge. Returns 0 if it uses the new keys, 1 if not, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    if args.process is not None:
        reload = _reload_service(args.process)
    else:
        settings = settings_or_report()
        if settings is None:
            return EXIT_MISCONFIGURED
        reload = reload_bridge(settings.state_dir)
    if args.json:
        print(json.dumps({"reloaded": reload.is_done, "text": reload.text}))
    else:
        print(escape_unprintable(reload.text), file=sys.stdout if reload.is_done else sys.stderr)
    return EXIT_OK if reload.is_done else EXIT_FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser(
        "reload",
        "Let the running bridge read its keys and its log level again, and wait for the outcome.",
        EXAMPLES,
        MORE,
    )
    parser.add_argument("--process", type=int, metavar="ID", help="of the service; systemd's unit passes it")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def reload_bridge(state_dir: Path | None) -> Reload:
    """Reload the bridge that runs on a state directory, or the installed service if root asks for it."""
    if is_installed() and os.geteuid() == 0:
        return _ask_systemd()
    try:
        process = find_running(state_dir) if state_dir is not None else None
        if state_dir is None or process is None:
            return Reload(is_done=False, text=NOT_RUNNING, is_running=False)
        return signal_and_wait(state_dir, process)
    except PermissionError:
        return Reload(is_done=False, text="the bridge belongs to another user: run this command as that user or root")
    except OSError as exc:
        return Reload(is_done=False, text=f"the bridge cannot be found: {exc.strerror}; send it SIGHUP")


def _ask_systemd() -> Reload:
    if not _systemctl("is-active", "--quiet", INSTALLED_NAME):
        return Reload(is_done=False, text="the service does not run", is_running=False)
    if not _systemctl("reload", INSTALLED_NAME):
        return Reload(is_done=False, text=f"the reload was refused; for the reason: {PROGRAM} logs --problems -n 5")
    return Reload(is_done=True, text=DONE)


def _systemctl(*words: str) -> bool:
    command = ["systemctl", *words]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603  # our own words


def _reload_service(process: int) -> Reload:
    """Reload a process that systemd names. Without a mark of it the outcome cannot be known, but SIGHUP reloads it."""
    state_dir = state_dir_of(os.environ, dotenv_path())
    try:
        if state_dir is not None and find_running(state_dir) == process:
            return signal_and_wait(state_dir, process)
        os.kill(process, signal.SIGHUP)
    except OSError as exc:
        return Reload(is_done=False, text=f"the bridge cannot be reloaded: {exc.strerror}")
    return Reload(is_done=True, text="SIGHUP was sent; the log has the outcome, as the state directory cannot be used")


def signal_and_wait(
    state_dir: Path,
    process: int,
    send: Callable[[int, signal.Signals], None] = os.kill,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Reload:
    """Send SIGHUP and wait until the bridge has written the outcome.

    Raises:
        OSError: the signal cannot be sent, or the outcome cannot be read.
    """
    before = read_outcome(state_dir)
    send(process, signal.SIGHUP)
    deadline = now() + TIMEOUT_S
    while now() < deadline:
        outcome = read_outcome(state_dir)
        if outcome is not None and before is not None and outcome.number > before.number:
            if outcome.refusal is None:
                return Reload(is_done=True, text=DONE)
            return Reload(
                is_done=False, text=f"the reload was refused, and the former settings stay: {outcome.refusal}"
            )
        before = before or outcome
        pause(POLL_INTERVAL_S)
    return Reload(is_done=False, text=f"the bridge has not reloaded within {TIMEOUT_S:.0f} s; its log may say why")
