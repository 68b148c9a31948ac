"""`bridge.py rotate-key`: another main key without a failed call, in one command.

It writes a new key, keeps the former one accepted, reloads the bridge, waits until the callers have changed, and
retires the former key. It may be interrupted at any point: the next run goes on. It never prints a key unless asked to.
"""

from __future__ import annotations

import argparse
import os
import secrets
import select
import sys
from collections.abc import Sequence
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, settings_message
from ibkr_bridge.cli.bridge_access import TIMEOUT_S
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.env_file import EnvFileError
from ibkr_bridge.cli.genkey import KEY_BYTES
from ibkr_bridge.cli.key_rotation import KeySource, Phase, RotationError, find_source
from ibkr_bridge.cli.reload import Reload, reload_bridge
from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.config.settings import Settings, SettingsError, load_server_settings
from ibkr_bridge.config.sources import dotenv_path
from ibkr_bridge.program_name import PROGRAM
from ibkr_bridge.redaction import escape_unprintable

DEFAULT_WAIT_MIN = 10.0
MAX_WAIT_MIN = 7 * 24 * 60.0
GO_ON = f"To go on: {PROGRAM} rotate-key"
EXAMPLES = {
    "rotate-key": "new key, ten minutes for the callers, then the former key ends",
    "rotate-key --wait 60": "an hour for the callers",
    "rotate-key --wait 0": "the former key ends at once, for example if somebody has seen it",
    "rotate-key --show": "print the new key",
}
MORE = """Interrupt it whenever you like: both keys then stay, and the next run goes on."""


def run(argv: Sequence[str]) -> int:
    """Rotate the key. Returns 0 if only the new key is left, 1 if not yet, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    try:
        settings = load_server_settings(os.environ, dotenv_path())
        source = find_source(os.environ, dotenv_path(), settings.state_dir)
        return _rotate(source, settings, args)
    except SettingsError as exc:
        print(settings_message(exc), file=sys.stderr)
        return EXIT_MISCONFIGURED
    except (RotationError, EnvFileError) as exc:
        return _stop(str(exc))
    except OSError as exc:
        return _stop(f"{exc.filename or 'a file'} cannot be written: {exc.strerror}")
    except KeyboardInterrupt:
        return _stop(f"Interrupted. {GO_ON}")


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser(
        "rotate-key",
        "Replace IBKR_BRIDGE_KEY without a failed call: two live keys for a while, then the new one.",
        EXAMPLES,
        MORE,
    )
    parser.add_argument(
        "--wait", type=_minutes, default=DEFAULT_WAIT_MIN, metavar="MINUTES", help="for the callers (default 10)"
    )
    parser.add_argument("--show", action="store_true", help="print the new key on standard output")
    return parser


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 <= minutes <= MAX_WAIT_MIN:
        raise ValueError(text)
    return minutes


def _rotate(source: KeySource, settings: Settings, args: argparse.Namespace) -> int:
    source.complete_beginning()
    begun = source.phase
    if begun is Phase.NONE:
        source.begin(secrets.token_urlsafe(KEY_BYTES))
        _print(f"The new key is in {source.place}; the former one is still accepted.")
    elif begun is Phase.BOTH_LIVE:
        _print("A rotation has begun already: both keys are accepted. This goes on with it.")
    if args.show:
        print(source.key, flush=True)
    if source.phase is Phase.BOTH_LIVE:
        _reload(source, settings)
        _wait(source.place, args.wait)
        source.retire()
    _reload(source, settings)
    source.finish()
    _print("The former key is retired: only the new one is accepted, and all tokens have ended.")
    if begun is Phase.RETIRED:
        _print(f"This was the end of an earlier rotation. For another new key: {PROGRAM} rotate-key")
    return EXIT_OK


def _reload(source: KeySource, settings: Settings) -> Reload:
    """Reload the bridge, and see that it accepts the new key: before that, the former one must not end."""
    reload = reload_bridge(settings.state_dir)
    if not reload.is_running:
        _print("No bridge runs here; the next one that starts reads the keys.")
    elif not reload.is_done:
        raise RotationError(f"{reload.text}. {GO_ON}")
    else:
        _check_key(settings, source.key)
    return reload


def _check_key(settings: Settings, key: str) -> None:
    try:
        with BridgeClient(str(settings.url), key, timeout=TIMEOUT_S, repeats=0) as client:
            client.status()
    except ClientError as exc:
        raise RotationError(f"the bridge does not accept the new key ({exc.code}). {GO_ON}") from exc


def _wait(place: Path, minutes: float) -> None:
    """Wait for the callers. On a terminal, Enter ends the wait."""
    if minutes == 0:
        return
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    enter = ", or press Enter when they all have it" if is_terminal else ""
    _print(f"Give the callers the key from {place}. The former one ends in {minutes:g} minutes{enter}.")
    if select.select([sys.stdin] if is_terminal else [], [], [], minutes * 60)[0]:
        sys.stdin.readline()


def _print(text: str) -> None:
    print(escape_unprintable(text), file=sys.stderr, flush=True)


def _stop(text: str) -> int:
    _print(text)
    return EXIT_FAILURE
