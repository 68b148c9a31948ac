"""Small files of the state directory: written completely or not at all, and readable only by their owner.

No link is followed, neither to the directory nor to a file in it.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

from ibkr_bridge.events import Bus, StateUnavailable
from ibkr_bridge.file_trust import ROOT, distrust, open_regular

WRITE_HINT = "make the state directory writable and see that it is not full"


def save_json(path: Path | None, content: object, bus: Bus, what: str, otherwise: str) -> bool:
    """Save a value as JSON, or remove the file if the value is None; a failure is published.

    Args:
        path: the file; None if there is no state directory.
        content: the value.
        what: the name of the file for people.
        otherwise: the consequence if it cannot be written.

    Returns:
        Whether it was saved.
    """
    if path is None:
        return False
    try:
        write_atomic(path, None if content is None else json.dumps(content))
    except OSError as exc:
        bus.publish(StateUnavailable(what, os.strerror(exc.errno or 0), f"{otherwise}; {WRITE_HINT}"))
        return False
    return True


def load_json(path: Path | None) -> object:
    """The value in a file; None if there is no state directory, and if the file is missing or unreadable."""
    if path is None:
        return None
    try:
        return json.loads(load_text(path))
    except (OSError, ValueError, RecursionError):
        return None


def load_text(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError: it is missing, cannot be read, or is a link or no regular file.
        ValueError: it is not UTF-8.
    """
    with os.fdopen(open_regular(path, os.O_NOFOLLOW), encoding="utf-8") as file:
        return file.read()


def write_atomic(path: Path, text: str | None) -> None:
    """Replace a file, or remove it if the text is None.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    if text is None:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)  # of a run that was killed, or a link
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            give_to_owner(descriptor, path.parent)
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def give_to_owner(descriptor: int, directory: Path) -> None:
    """Give a new file to the owner of its directory: a command that root runs writes for the bridge's own user.

    Raises:
        OSError: the owner cannot be changed.
    """
    status = directory.lstat()
    if os.geteuid() == ROOT and status.st_uid != ROOT:
        os.fchown(descriptor, status.st_uid, status.st_gid)


def check_private(path: Path) -> None:
    """Check that a directory is ours and that nobody else can put files into it.

    Raises:
        OSError: it is not; `strerror` is for people.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is a link; name the directory itself")
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is no directory")
    if reason := distrust(status):
        raise PermissionError(errno.EPERM, f"it {reason}; chown it to this user, and chmod 700")


def check_writable(path: Path) -> None:
    """Try to write a file into a directory.

    Raises:
        OSError: it cannot be written.
    """
    probe = path / ".probe"
    probe.unlink(missing_ok=True)
    try:
        with probe.open("xb") as file:  # an existing file or link is not written to
            file.write(b"writable")
    finally:
        probe.unlink(missing_ok=True)
