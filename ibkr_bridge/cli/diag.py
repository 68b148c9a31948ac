"""`bridge.py diag`: a bundle for a report, without keys, cookies, tokens and account numbers.

It lists what it holds and asks before it writes. Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, given_path
from ibkr_bridge.cli.bridge_access import settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.confirmation import confirm
from ibkr_bridge.cli.diag_content import collect_parts
from ibkr_bridge.redaction import escape_unprintable

EXAMPLES = {
    "diag": "list the files, ask, then write them into a file here",
    "diag report.tar.gz --yes": "do not ask",
    "diag --list": "only list the files",
}
MORE = """Look into the file before you send it: tar -xzOf FILE | less"""


def run(argv: Sequence[str]) -> int:
    """Write a bundle. Returns 0 if it is written, 1 if not, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    files: dict[str, bytes] = {}
    for part, text in collect_parts(settings):
        files[part.name] = text.encode("utf-8", "backslashreplace")
        if not args.json:
            print(f"  {part.name:<16} {len(files[part.name]):>8} bytes  {part.what}")
    if args.list:
        return EXIT_OK
    target = args.file or given_path(f"ibkr-bridge-diag-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz")
    if not confirm(f"Write these into {target}?", is_confirmed=args.yes):
        return EXIT_FAILURE
    return _write_and_report(target, files, as_json=args.json)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser(
        "diag",
        "Write a bundle for a report: no keys, cookies, tokens or account numbers. Nothing is sent.",
        EXAMPLES,
        MORE,
    )
    parser.add_argument(
        "file", nargs="?", type=given_path, metavar="FILE", help="a new file; by default one with the time"
    )
    parser.add_argument("--list", action="store_true", help="only list what it would hold")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _write_and_report(target: Path, files: Mapping[str, bytes], *, as_json: bool) -> int:
    try:
        write_bundle(target, files)
    except OSError as exc:
        text = escape_unprintable(f"{target} cannot be written: {exc.strerror}")
        print(json.dumps({"error": text}) if as_json else text, file=sys.stdout if as_json else sys.stderr)
        return EXIT_FAILURE
    print(
        json.dumps({"file": str(target), "files": list(files)}) if as_json else escape_unprintable(f"Written: {target}")
    )
    return EXIT_OK


def write_bundle(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a new tar.gz that only its owner can read. It names neither the user nor the machine.

    Raises:
        OSError: the file exists, or cannot be written.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with (
        os.fdopen(descriptor, "wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as bundle,
    ):
        for name, content in files.items():
            info = tarfile.TarInfo(f"ibkr-bridge-diag/{name}")
            info.size, info.mode = len(content), 0o600
            bundle.addfile(info, io.BytesIO(content))
