"""Small files of the state directory: whole or not at all, and readable by nobody else."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ibkr_bridge.events import Bus, StateUnavailable

WRITE_HINT = "make the state directory writable and see that it is not full"


def save_json(path: Path | None, told: object, bus: Bus, what: str, otherwise: str) -> bool:
    """Keep something over a restart, as JSON, or nothing any more where it is None; trouble is announced.

    Args:
        path: None where there is no state directory.
        what: the file is, in words.
        otherwise: what follows where it cannot be written.

    Returns:
        Whether it will be there.
    """
    if path is None:
        return False
    try:
        write_atomic(path, None if told is None else json.dumps(told))
    except OSError as exc:
        bus.publish(StateUnavailable(what, os.strerror(exc.errno or 0), f"{otherwise}; {WRITE_HINT}"))
        return False
    return True


def write_atomic(path: Path, text: str | None) -> None:
    """Write a file anew, or remove it where there is no text.

    Raises:
        OSError: it cannot be; what was there is there still.
    """
    if text is None:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(".draft")
    try:
        draft.write_text(text, "utf-8")
        draft.chmod(0o600)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Try to write a file into a directory.

    Raises:
        OSError: it cannot be written.
    """
    probe = path / ".probe"
    probe.unlink(missing_ok=True)
    try:
        with probe.open("xb") as file:  # whatever lies there, a link above all, is not written through
            file.write(b"writable")
    finally:
        probe.unlink(missing_ok=True)
