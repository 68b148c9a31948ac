"""Whom a file or a directory belongs to, and who else may write it: what others may change is not trusted.

A program that is started in a directory such as /tmp finds there what anybody has put there. Only ownership tells our
own file from a planted one. What is no regular file is not read at all: opening a named pipe waits for a writer.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from pathlib import Path

ROOT = 0


def distrust(status: os.stat_result) -> str | None:
    """Why a file is not trusted, as the end of a sentence; None if it is ours or root's and nobody else writes it."""
    if status.st_uid not in (ROOT, os.geteuid()):
        return "belongs to another user"
    may_group_write = status.st_mode & stat.S_IWGRP and not _is_private_group(status)
    if may_group_write or status.st_mode & stat.S_IWOTH:
        return "can be written by other users"
    return None


def open_regular(path: Path, flags: int = 0) -> int:
    """Open a regular file for reading, without waiting. Returns its descriptor.

    Args:
        path: the file.
        flags: further flags, such as `os.O_NOFOLLOW`.

    Raises:
        OSError: it is missing, cannot be read, or is a pipe, a device or a directory; `strerror` is for people.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: see `open_regular`.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read()


def _is_private_group(status: os.stat_result) -> bool:
    """Whether the group is its owner's own: distributions with such groups make new files writable for the group.

    Root's group is none, as some systems have further members in it.
    """
    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    is_own = owner.pw_gid == status.st_gid and owner.pw_name == group.gr_name
    return status.st_uid != ROOT and is_own and set(group.gr_mem) <= {owner.pw_name}
