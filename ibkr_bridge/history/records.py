"""What the history holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ConditionRecord:
    """A condition of the past or the present."""

    revision: int
    """Grows with each beginning and each end of any condition: a reader that remembers the last one misses nothing."""
    id: str
    profile: str | None
    severity: str
    text: str
    """As it was when the condition began."""
    do: str
    url: str | None
    began: datetime
    ended: datetime | None
    """None while it lasts."""


@dataclass(frozen=True)
class StateSpan:
    """A time in which the session of a profile was in one state."""

    profile: str
    state: str
    began: datetime
    ended: datetime
    """When it was left; the present if it lasts; when the bridge was last seen running if the bridge stopped."""
