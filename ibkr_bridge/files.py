"""Small files of the state directory: whole or not at all, and readable by nobody else."""

from __future__ import annotations

from pathlib import Path


def replace(path: Path, text: str | None) -> None:
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
