"""The mark of the bridge that runs on a state directory: which process it is, and how its last reload ended.

The process holds a lock on the file while it lives. The kernel tells who holds a lock, in the numbers of the process
that asks; a number in a file could belong to another program by now, or to another container. Commands need it to send
SIGHUP, and to wait for the outcome, which a signal does not return.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ibkr_bridge.file_trust import open_regular

FILE = "running.json"
LOCK_LAYOUT = "hhqqi4x"  # `struct flock` of Linux: type, whence, start, length, process
MAX_BYTES = 16 * 1024


@dataclass(frozen=True)
class ReloadOutcome:
    """How the last reload ended."""

    number: int
    """Counts the reloads of this process; 0 before the first."""
    refusal: str | None
    """Why it was refused; None if it was not."""


class RunningMark:
    """The mark, as the bridge writes it.

    Args:
        state_dir: the state directory; None if there is none. Then nobody can ask.
    """

    def __init__(self, state_dir: Path | None) -> None:
        self._path = state_dir / FILE if state_dir is not None else None
        self._file: int | None = None
        self._number = 0

    def open(self) -> None:
        """Take the lock. If that is not possible, commands find no running bridge; the bridge needs no mark."""
        if self._path is None or self._file is not None:
            return
        with suppress(OSError):
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(file)
                return
            self._file = file
            self._write(None)

    def count_reload(self, refusal: str | None) -> None:
        """Write how a reload ended, for the command that waits for it."""
        self._number += 1
        self._write(refusal)

    def _write(self, refusal: str | None) -> None:
        if self._file is None:
            return
        content = json.dumps({"reloads": self._number, "refusal": refusal}).encode()
        with suppress(OSError):  # in place, as another file would have no lock
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, content, 0)

    def close(self) -> None:
        """Release the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def find_running(state_dir: Path) -> int | None:
    """The process of the bridge that runs on a state directory; None if there is none.

    Raises:
        OSError: the mark cannot be read.
    """
    if sys.platform != "linux":
        raise OSError(0, "only Linux tells which process holds a lock")
    try:
        file = open_regular(state_dir / FILE, os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        question = struct.pack(LOCK_LAYOUT, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, process = struct.unpack(LOCK_LAYOUT, fcntl.fcntl(file, fcntl.F_GETLK, question))
    finally:
        os.close(file)
    if kind == fcntl.F_UNLCK:
        return None
    if process <= 0:
        raise OSError(0, "the bridge runs in another container")
    return int(process)


def read_outcome(state_dir: Path) -> ReloadOutcome | None:
    """How the last reload of the bridge ended; None if that is being written.

    Raises:
        OSError: the mark cannot be read.
    """
    with os.fdopen(open_regular(state_dir / FILE, os.O_NOFOLLOW), "rb") as file:
        content = file.read(MAX_BYTES)
    try:
        members = json.loads(content)
        return ReloadOutcome(int(members["reloads"]), members["refusal"])
    except (ValueError, TypeError, KeyError):
        return None
