"""Whether the state directory can be used, and how much space its disk has; looked at by a thread from time to time."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ibkr_bridge.state_file import check_private

OUR_FILES = re.compile(
    r"[\w-]+\.(alerts|cookies|history|orders|paces|paused|penalty|selected_account|suppressed)\.(db|json|lock)[\w.-]*"
    r"|(keys|running)\.json|control\.sock|profiles|credentials"
)
"""Of each profile and of the process. A copy that an administrator has put beside them is not ours."""
INTERVAL_S = 20.0  # between two looks; a disk may hang, so they are no part of a request


@dataclass(frozen=True)
class DirectoryState:
    """What a look has shown."""

    problem: str | None = None
    """Why the directory cannot be used; None if it can."""
    free_bytes: int | None = None
    """Space for the bridge's user; None if it is not known."""


class StateDirectory:
    """The state directory of the bridge; `path` is None if it has none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.state = DirectoryState(None if path else "there is none")

    def __repr__(self) -> str:
        return f"<StateDirectory {self.state}>"

    async def run_loop(self) -> NoReturn:
        """Look from time to time."""
        while True:
            if self._path is not None:
                self.state = await asyncio.to_thread(look_at, self._path)
            await asyncio.sleep(INTERVAL_S)


def look_at(path: Path) -> DirectoryState:
    """What is the case with a state directory now. It blocks as long as its disk does."""
    try:
        check_private(path)
        space = os.statvfs(path)
        ours = (each for each in sorted(path.iterdir()) if OUR_FILES.fullmatch(each.name))
        unusable = next((each for each in (path, *ours) if each.exists() and not os.access(each, _needed(each))), None)
    except OSError as exc:
        return DirectoryState(exc.strerror or type(exc).__name__)
    problem = None if unusable is None else f"{unusable.name} belongs to another user or cannot be written"
    return DirectoryState(problem, space.f_bavail * space.f_frsize)


def _needed(path: Path) -> int:
    return os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
