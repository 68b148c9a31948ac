"""`bridge.py backup`: the state directory and the settings in one file, also while the bridge runs.

The journal is copied by SQLite itself, so the copy is complete up to one moment. Cookies are left out, since they are a
login, and so are the keys of the settings. The journal has account numbers, so the file is for its owner alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, given_path
from ibkr_bridge.cli.backup_archive import COOKIES, HISTORY, JOURNAL, SETTINGS, STATE_FILES, write_archive
from ibkr_bridge.cli.bridge_access import settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.orders import verify_file
from ibkr_bridge.config.settings import MAIN, merge_sources, setting_names
from ibkr_bridge.config.sources import SECRET_NAMES, dotenv_path
from ibkr_bridge.orders.journal.end_mark import mark_path
from ibkr_bridge.orders.journal.store import last_entry, open_read_only
from ibkr_bridge.program_name import PROGRAM
from ibkr_bridge.redaction import escape_unprintable
from ibkr_bridge.state_file import load_text

EXAMPLES = {
    "backup bridge.zip": "journal, pause, limits, digests of the named keys, settings",
    "backup bridge.zip --with-secrets": "with the keys of the settings",
    "backup bridge.zip --with-cookies": "with the login at the Gateway",
}
MORE = f"""{PROGRAM} restore bridge.zip puts it back."""


def run(argv: Sequence[str]) -> int:
    """Write a backup. Returns 0 if it is complete, 1 if not, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    if settings.state_dir is None or not settings.state_dir.is_dir():
        return _report("there is no state directory to back up: see IBKR_BRIDGE_STATE_DIR", as_json=args.json)
    try:
        names = write_backup(args.file, settings.state_dir, cookies=args.with_cookies, secrets=args.with_secrets)
    except (OSError, sqlite3.Error, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        return _report(f"the backup cannot be written: {reason}", as_json=args.json)
    left_out = other_profiles(settings.state_dir)
    if args.json:
        print(json.dumps({"file": str(args.file), "files": names, "profiles_left_out": left_out}))
    else:
        print(escape_unprintable(f"{args.file} has: {', '.join(names)}"))
        if left_out:
            print(escape_unprintable(f"It has nothing of the profiles {', '.join(left_out)}: copy the directory too."))
    return EXIT_OK


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser(
        "backup",
        "Write the state directory and the settings into one file, also while the bridge runs.",
        EXAMPLES,
        MORE,
    )
    parser.add_argument("file", type=given_path, metavar="FILE", help="a new file; only you will be able to read it")
    parser.add_argument("--with-cookies", action="store_true", help="with the login at the Gateway")
    parser.add_argument("--with-secrets", action="store_true", help="with the keys of the settings")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def other_profiles(state_dir: Path) -> list[str]:
    """The profiles besides `main` that have a journal: a backup does not have theirs."""
    suffix = JOURNAL.removeprefix(MAIN)
    names = (path.name.removesuffix(suffix) for path in sorted(state_dir.glob(f"*{suffix}")))
    return [name for name in names if name != MAIN]


def write_backup(target: Path, state_dir: Path, *, cookies: bool, secrets: bool) -> list[str]:
    """Write a backup. Returns the names of the files in it.

    Raises:
        OSError, sqlite3.Error: a file cannot be read or written.
        ValueError: the copy of the journal is not in order.
    """
    target = target.absolute()
    # Beside the target, where there must be room in any case; a /tmp in memory may have none.
    with tempfile.TemporaryDirectory(prefix=".ibkr-bridge-backup-", dir=target.parent) as name:
        work = Path(name)
        files = _copy_state(state_dir, work, cookies=cookies)
        _write_private(work / SETTINGS, settings_text(secrets=secrets))
        files[SETTINGS] = work / SETTINGS
        write_archive(target, files, datetime.now(UTC).isoformat(timespec="seconds"))
    return list(files)


def _copy_state(state_dir: Path, work: Path, *, cookies: bool) -> dict[str, Path]:
    files: dict[str, Path] = {}
    if (state_dir / JOURNAL).exists():
        copy_journal(state_dir / JOURNAL, work / JOURNAL)
        files |= {path.name: path for path in (work / JOURNAL, mark_path(work / JOURNAL))}
    if (state_dir / HISTORY).exists() and _copy_history(state_dir / HISTORY, work / HISTORY):
        files[HISTORY] = work / HISTORY
    for name in STATE_FILES.keys() - {JOURNAL, f"{JOURNAL}-last", HISTORY}:
        if name == COOKIES and not cookies:
            continue
        if (state_dir / name).exists():
            _write_private(work / name, load_text(state_dir / name))
            files[name] = work / name
    return files


def _copy_history(source: Path, target: Path) -> bool:
    """Copy the history; False if it cannot be read: the journal is worth a backup all the same."""
    try:
        copy_database(source, target)
    except (OSError, sqlite3.Error, ValueError) as exc:
        print(f"the history is left out, since it cannot be read: {exc}", file=sys.stderr)
        return False
    return True


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal while its bridge may be writing, and check the copy.

    Raises:
        OSError, sqlite3.Error: it cannot be read or written.
        ValueError: the copy is not in order, since the journal is not.
    """
    copy_database(source, target)
    with closing(open_read_only(target)) as copy:
        number, seal = last_entry(copy)
    _write_private(mark_path(target), f"{number:020d} {seal}\n")
    if flaws := verify_file(target)[1]:
        raise ValueError(f"the journal is not in order ({flaws[0]}); see {PROGRAM} orders verify")


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, while another process may be writing.

    Raises:
        OSError, sqlite3.Error: it cannot be read or written.
        ValueError: the source is a link.
    """
    if source.is_symlink():  # root may run this, and the directory belongs to the bridge's user
        raise ValueError(f"{source.name} is a link")
    _write_private(target, "")
    address = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as database, closing(sqlite3.connect(target)) as copy:
        database.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without companions


def settings_text(*, secrets: bool) -> str:
    """The settings in force, as lines of a `.env`; the keys only if they were asked for."""
    settings = merge_sources(os.environ, dotenv_path())
    names = [name for name in setting_names() if settings.get(name) and (secrets or name not in SECRET_NAMES)]
    return "".join(f"{name}={settings[name]}\n" for name in names)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _report(text: str, *, as_json: bool) -> int:
    print(json.dumps({"error": text}) if as_json else text, file=sys.stdout if as_json else sys.stderr)
    return EXIT_FAILURE
