"""Small files of the state directory: written completely or not at all, and readable only by their owner."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ibkr_bridge.events import Bus, StateUnavailable

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


def write_atomic(path: Path, text: str | None) -> None:
    """Replace a file, or remove it if the text is None.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
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
        with probe.open("xb") as file:  # an existing file or link is not written to
            file.write(b"writable")
    finally:
        probe.unlink(missing_ok=True)
