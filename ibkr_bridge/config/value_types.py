"""The values settings are made of that Python has no type for, and what a person is told when a text is none. Pure."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass
from datetime import time
from pathlib import Path

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Problem:
    """One thing to mend."""

    name: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}; {self.allowed}"


@dataclass(frozen=True)
class WeeklyWindow:
    """A time of the week, in local time; `days` are 0 for Monday to 6 for Sunday. It does not cross midnight."""

    days: frozenset[int]
    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> WeeklyWindow:
        """Read `mon-fri 01:00-01:15`, `sat 18:00-24:00`, `daily 00:00-00:10`.

        Raises:
            ValueError: it is written otherwise.
        """
        days, _, hours = text.strip().lower().partition(" ")
        start, _, end = hours.strip().partition("-")
        window = cls(_parse_days(days), _parse_time(start), _parse_time(end))
        if window.end <= window.start:
            raise ValueError("it ends before it starts")
        return window


def _parse_days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    first, _, last = text.partition("-")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset(range(start, end + 1)) if start <= end else frozenset({*range(start, 7), *range(end + 1)})


def _parse_time(text: str) -> time:
    at = time.max if text.strip() == "24:00" else time.fromisoformat(text.strip())
    if at.tzinfo is not None:
        raise ValueError("it has a zone")
    return at


class Fingerprint:
    """A certificate's SHA-256 as people copy it: 64 hex digits, colons or not."""

    @staticmethod
    def parse(text: str) -> bytes:
        """The 32 bytes.

        Raises:
            ValueError: it is something else.
        """
        digest = bytes.fromhex(text.replace(":", "").strip())
        if len(digest) != 32:
            raise ValueError(f"it has {len(digest)} bytes")
        return digest


@functools.lru_cache(maxsize=64)  # asked of every request's Host header
def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_file(path: Path) -> bool:
    """Whether a file is there; a path the system cannot even look at is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
