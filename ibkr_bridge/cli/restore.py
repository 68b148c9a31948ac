"""`bridge.py restore`: put a backup in the place of the state directory, while no bridge runs.

Everything is unpacked and checked beside the state directory first. Then two directories change their names, and the
former one stays. Orders that were placed after the backup are not in its journal, so the command says that.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, given_path, settings_message
from ibkr_bridge.cli.backup_archive import (
    HISTORY,
    JOURNAL,
    NAMED_KEYS,
    SETTINGS,
    ArchiveError,
    Manifest,
    read_manifest,
    unpack,
)
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.confirmation import confirm
from ibkr_bridge.cli.orders import verify_file
from ibkr_bridge.config.settings import SettingsError, load_settings
from ibkr_bridge.config.sources import dotenv_path
from ibkr_bridge.history.store import APPLICATION_ID
from ibkr_bridge.orders.journal.store import acquire_lock
from ibkr_bridge.program_name import INSTALLED_NAME, is_installed
from ibkr_bridge.redaction import escape_unprintable
from ibkr_bridge.server.named_keys import NamedKeysError, parse_named_keys
from ibkr_bridge.server.running_mark import find_running
from ibkr_bridge.state_file import load_text

STOP_HINT = (
    f"systemctl stop {INSTALLED_NAME}.socket {INSTALLED_NAME}.service"
    if is_installed()
    else "end it with Ctrl-C or SIGTERM"
)
EXAMPLES = {
    "restore bridge.zip": "asks before it changes anything",
    "restore bridge.zip --list": "only say what it holds",
    "restore bridge.zip --settings new.env": "also write its settings into a new file",
}
MORE = f"""The bridge must not run: {STOP_HINT}"""


def run(argv: Sequence[str]) -> int:
    """Restore a backup. Returns 0 if it is in place, 1 if nothing was changed, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    try:
        print(escape_unprintable(describe(read_manifest(args.file))))
        if args.list:  # no setting matters: whoever looks into a backup may have lost them
            return EXIT_OK
        return _restore_if_confirmed(args, load_settings(os.environ, dotenv_path()).state_dir)
    except SettingsError as exc:
        print(settings_message(exc), file=sys.stderr)
        return EXIT_MISCONFIGURED
    except (ArchiveError, ValueError) as exc:
        return _report(f"nothing was changed: {exc}")
    except OSError as exc:
        return _report(f"nothing was changed: {exc.filename or args.file}: {exc.strerror}")


def _restore_if_confirmed(args: argparse.Namespace, state_dir: Path | None) -> int:
    if state_dir is None:
        raise ValueError("there is no state directory: set IBKR_BRIDGE_STATE_DIR")
    check_stopped(state_dir)
    if not confirm(f"Replace {state_dir}?", is_confirmed=args.yes):
        return EXIT_FAILURE
    return _restore(args.file, state_dir, args.settings)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser(
        "restore", "Put a backup in the place of the state directory; the former one is kept beside it.", EXAMPLES, MORE
    )
    parser.add_argument("file", type=given_path, metavar="FILE", help="what backup has written")
    parser.add_argument("--list", action="store_true", help="say what it holds, and change nothing")
    parser.add_argument(
        "--settings", type=given_path, metavar="NEW", help="write the settings of the backup into a new file"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def describe(manifest: Manifest) -> str:
    """What an archive holds, in one line."""
    return f"Backup of {manifest.created}, version {manifest.version}: {', '.join(manifest.digests)}"


def check_stopped(state_dir: Path) -> None:
    """Check that no bridge runs on a state directory.

    Raises:
        ValueError: one does.
        OSError: that cannot be found out.
    """
    if state_dir.is_dir() and find_running(state_dir) is not None:
        raise ValueError(f"a bridge runs on {state_dir}; {STOP_HINT}")


def _restore(archive: Path, state_dir: Path, settings: Path | None) -> int:
    state_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{state_dir.name}-restore-", dir=state_dir.parent))
    try:
        manifest = unpack(archive, work)
        check_state(work)
        _take_settings(work, settings)
        _give_to_owner(work, state_dir)
        former = replace_directory(state_dir, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(escape_unprintable(f"The state of {manifest.created} is in {state_dir}."))
    if former is not None:
        print(f"The former one is in {former}; remove it when you need it no more.")
    print("Orders that were placed since then are not in its journal: look for them at IBKR before you trade.")
    return EXIT_OK


def check_state(directory: Path) -> None:
    """Check that what was unpacked can be used: the seals of the journal, and the form of the other files.

    Raises:
        ArchiveError: it cannot.
    """
    if (directory / JOURNAL).exists() and (flaws := verify_file(directory / JOURNAL)[1]):
        raise ArchiveError(f"the journal of the backup is not in order: {flaws[0]}")
    try:
        if (directory / HISTORY).exists():
            _check_history(directory / HISTORY)
        for path in directory.glob("*.json"):
            json.loads(load_text(path))
        if (directory / NAMED_KEYS).exists():
            parse_named_keys(load_text(directory / NAMED_KEYS))
    except (ValueError, RecursionError, NamedKeysError, sqlite3.Error) as exc:
        raise ArchiveError("a file of the backup cannot be read") from exc


def _check_history(path: Path) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
        whole = file.execute("PRAGMA quick_check(1)").fetchone()[0]
        code = file.execute("SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()[0]
        owner = file.execute("PRAGMA application_id").fetchone()[0]
    if whole != "ok" or code or owner != APPLICATION_ID:  # a trigger would run when the bridge writes
        raise ValueError("no history")


def _take_settings(work: Path, target: Path | None) -> None:
    """Settings are never put in force by a restore: they may belong to another machine."""
    path = work / SETTINGS
    if target is not None and path.exists():
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(load_text(path))
    path.unlink(missing_ok=True)


def _give_to_owner(work: Path, state_dir: Path) -> None:
    """Root restores for the bridge's own user, to whom the former state belongs."""
    if os.geteuid() != 0 or not state_dir.is_dir():
        return
    status = state_dir.lstat()
    for path in (*work.iterdir(), work):
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def replace_directory(state_dir: Path, work: Path) -> Path | None:
    """Put a directory in the place of the state directory. Returns where the former one is now.

    Raises:
        ValueError: a bridge has been started meanwhile.
        OSError: the names cannot be changed; the former state is in its place.
    """
    if not os.path.lexists(state_dir):
        work.rename(state_dir)
        return None
    lock = acquire_lock(state_dir / "main.orders.lock")  # a bridge that starts now writes no order
    try:
        former = state_dir.with_name(f"{state_dir.name}.before-{datetime.now(UTC):%Y%m%d-%H%M%S}")
        state_dir.rename(former)
        try:
            work.rename(state_dir)
        except OSError:
            former.rename(state_dir)
            raise
    finally:
        os.close(lock)
    return former


def _report(text: str) -> int:
    print(escape_unprintable(text), file=sys.stderr)
    return EXIT_FAILURE
