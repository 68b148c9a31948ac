"""What is the case with the state directory and the journal in it, as the user of the service sees them."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ibkr_bridge.cli.orders import journal_path, verify_file
from ibkr_bridge.conditions.state_directory import look_at
from ibkr_bridge.config.value_types import is_file
from ibkr_bridge.state_file import check_private


@dataclass(frozen=True)
class StateFacts:
    """One look at the state directory."""

    path: str
    """Empty if there is none."""
    exists: bool = False
    private_problem: str = ""
    """Why others could change what is in the directory."""
    unwritable: str = ""
    """The nearest directory that exists, if nothing can be written there."""
    file_problem: str = ""
    """Which file of the bridge cannot be used."""
    free_bytes: int | None = None
    has_journal: bool = False
    journal_entries: int = 0
    journal_flaw: str = ""


def look_at_state(path: Path | None) -> dict[str, Any]:
    """The members of `StateFacts`, which can be sent as JSON. It blocks as long as the disk does."""
    if path is None:
        return asdict(StateFacts(""))
    if not path.exists():
        return asdict(StateFacts(str(path), unwritable=_unwritable(path)))
    is_root = os.geteuid() == 0  # root looks at the directories of others
    if not is_root and (problem := _private_problem(path)):
        return asdict(StateFacts(str(path), exists=True, private_problem=problem))
    state = look_at(path)
    unwritable = _unwritable(path) if state.free_bytes is None else ""
    facts = StateFacts(str(path), True, "", unwritable, state.problem or "", state.free_bytes)
    return asdict(facts) | _look_at_journal(journal_path(path))


def _look_at_journal(path: Path) -> dict[str, Any]:
    if not is_file(path):
        return {}
    count, flaws = verify_file(path)
    return {"has_journal": True, "journal_entries": count, "journal_flaw": flaws[0] if flaws else ""}


def _unwritable(path: Path) -> str:
    nearest = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
    return "" if os.access(nearest, os.W_OK | os.X_OK) else str(nearest)


def _private_problem(path: Path) -> str:
    try:
        check_private(path)
    except OSError as exc:
        return exc.strerror or type(exc).__name__
    return ""
