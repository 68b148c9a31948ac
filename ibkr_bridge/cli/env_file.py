"""Writes settings into an app's `.env` file, without touching its other lines.

The file belongs to somebody else's program. So it is replaced in one step, only its owner may read it, and neither a
link nor a file of another user is followed.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

from ibkr_bridge.file_trust import open_regular

PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.:/@%+=,~-]+")
"""Values that every reader of such files understands in the same way, without quotes."""
MODE = 0o600


class EnvFileError(Exception):
    """The file cannot be written. The message says why, for people."""


def read_lines(path: Path) -> list[str]:
    """The lines of a file that may be replaced; none if it does not exist.

    Raises:
        EnvFileError: it is a link, no regular file, or not ours, or its directory does not exist.
    """
    if path.is_symlink():
        raise EnvFileError(f"{path} is a symbolic link; name the file itself")
    if not path.parent.is_dir():
        raise EnvFileError(f"{path} cannot be written: there is no directory {path.parent}")
    try:
        descriptor = open_regular(path, os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise EnvFileError(f"{path} cannot be used: {problem.strerror}") from problem
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape", newline="") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise EnvFileError(f"{path} belongs to another user")
        return file.read().splitlines()


def write_settings(
    path: Path, settings: Mapping[str, str], *, remove: Collection[str] = (), keep_mode: bool = False
) -> None:
    """Set some names in a file; its other lines stay as they are. Only its owner may read it afterwards.

    Args:
        path: the file.
        settings: the new values, by name.
        remove: names whose lines are removed.
        keep_mode: leave the file readable for those who could read it before; nobody else may write it in any case.

    Raises:
        EnvFileError: see `read_lines`; or a value has a character that readers of such files do not agree on.
    """
    for name, value in settings.items():
        if not PLAIN_VALUE.fullmatch(value):
            raise EnvFileError(f"{name} has characters that need quotes; write it into {path} yourself")
    lines = set_names([line for line in read_lines(path) if _name_in(line) not in remove], settings)
    try:
        mode = path.stat().st_mode & 0o644 if keep_mode and path.exists() else MODE
        _replace(path, "".join(f"{line}\n" for line in lines), mode)
    except OSError as problem:
        raise EnvFileError(f"{path} cannot be written: {problem.strerror}") from problem


def set_names(lines: list[str], settings: Mapping[str, str]) -> list[str]:
    """The lines with new values: each name in the place of its first line, or at the end."""
    remaining, result = dict(settings), []
    for line in lines:
        name = _name_in(line)
        if name not in settings:
            result.append(line)
        elif name in remaining:
            result.append(f"{name}={remaining.pop(name)}")
    return [*result, *(f"{name}={value}" for name, value in remaining.items())]


def _name_in(line: str) -> str:
    """The name that a line sets; empty for any other line."""
    match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", line)
    return match[1] if match else ""


def _replace(path: Path, text: str, mode: int) -> None:
    """Write a new file beside the old one, then move it there: a reader sees the old text or the new one."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            if path.exists():
                os.fchown(descriptor, -1, path.stat().st_gid)
            os.fchmod(descriptor, mode)
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
