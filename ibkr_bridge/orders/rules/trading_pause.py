"""The trading pause: stops new orders. It is saved to a file, so that it survives a restart.

A pause file that cannot be read counts as a pause. If it cannot be written, an event says so, and the pause still
applies until the process ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ibkr_bridge.events import Bus, PauseCleared, PauseSet
from ibkr_bridge.state_file import load_text, save_json


@dataclass(frozen=True)
class PauseStatus:
    """The pause, while new orders are stopped."""

    by: str = field(metadata={"doc": "Who set the pause."})
    since: str | None = field(
        metadata={"doc": "When it was set; null if the pause file cannot be read.", "unit": "UTC, ISO 8601"}
    )


class TradingPause:
    """Whether new orders are stopped; `path` is None if there is no state directory."""

    def __init__(self, path: Path | None, bus: Bus) -> None:
        self._path = path
        self._bus = bus
        self.by: str | None = None
        self.since: str | None = None

    def load(self) -> None:
        """Read the pause of an earlier run."""
        if self._path is None:
            return
        try:
            saved = json.loads(load_text(self._path))
            self.by, self.since = str(saved["by"])[:40], str(saved["since"])[:40]
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self.by = "an unreadable pause file"
        self._bus.publish(PauseSet(self.by))

    @property
    def is_on(self) -> bool:
        """Whether new orders are stopped."""
        return self.by is not None

    def status(self) -> PauseStatus | None:
        """Who stopped new orders, and when; None if they are not stopped."""
        return None if self.by is None else PauseStatus(self.by, self.since)

    def set(self, by: str, now: datetime) -> bool:
        """Stop new orders. Returns whether the pause will survive a restart."""
        if not self.is_on:
            self.by, self.since = by, now.isoformat(timespec="seconds")
            self._bus.publish(PauseSet(by))
        return self._save({"by": self.by, "since": self.since}, "the pause will not survive a restart")

    def clear(self, by: str) -> bool:
        """Allow new orders. Returns whether that will survive a restart."""
        self.by = self.since = None
        self._bus.publish(PauseCleared(by))
        return self._save(None, "the pause will apply again after a restart")

    def _save(self, content: object, otherwise: str) -> bool:
        return save_json(self._path, content, self._bus, "the pause file", otherwise)
