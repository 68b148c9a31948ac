"""Types of settings that Python does not have, and the problem of a setting. No I/O, except `is_file` and
the zone of a `WeeklyMoment`."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a setting: its name, what was found, and what is allowed."""

    name: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}; {self.allowed}"


@dataclass(frozen=True)
class WeeklyWindow:
    """The same hours on some days of the week, in local time. Monday is 0. It does not cross midnight."""

    days: frozenset[int]
    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> WeeklyWindow:
        """Parse a text such as `mon-fri 01:00-01:15`, `sat 18:00-24:00` or `daily 00:00-00:10`.

        Raises:
            ValueError: the text has another form.
        """
        days, _, hours = text.strip().lower().partition(" ")
        start, _, end = hours.strip().partition("-")
        window = cls(_parse_days(days), _parse_time(start), _parse_time(end))
        if window.end <= window.start:
            raise ValueError("the window ends before it starts")
        return window


@dataclass(frozen=True)
class WeeklyMoment:
    """A time of day on some days of the week. Monday is 0."""

    days: frozenset[int]
    at: time
    zone: str | None
    """The zone of the time; None for that of the region."""

    @classmethod
    def parse(cls, text: str) -> WeeklyMoment:
        """Parse a text such as `daily 00:00` or `sun 01:00 America/New_York`.

        Raises:
            ValueError: the text has another form, or there is no such zone.
        """
        days, at, *zone = text.split()
        if len(zone) > 1:
            raise ValueError("there is something behind the zone")
        moment = cls(_parse_days(days.lower()), _parse_time(at), zone[0] if zone else None)
        if moment.at == time.max:
            raise ValueError("the end of a day is 00:00 of the next one")
        return moment if moment.zone is None else moment._checked()

    def _checked(self) -> WeeklyMoment:
        try:
            ZoneInfo(self.zone or "")
        except (KeyError, OSError) as exc:
            raise ValueError("there is no such zone") from exc
        return self


def _parse_days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    first, _, last = text.partition("-")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset(range(start, end + 1)) if start <= end else frozenset({*range(start, 7), *range(end + 1)})


def _parse_time(text: str) -> time:
    parsed = time.max if text.strip() == "24:00" else time.fromisoformat(text.strip())
    if parsed.tzinfo is not None:
        raise ValueError("the time has a time zone")
    return parsed


class Fingerprint:
    """The SHA-256 of a certificate, written as 64 hex digits with or without colons."""

    @staticmethod
    def parse(text: str) -> bytes:
        """Return the 32 bytes.

        Raises:
            ValueError: the text is not a SHA-256.
        """
        digest = bytes.fromhex(text.replace(":", "").strip())
        if len(digest) != 32:
            raise ValueError(f"the digest has {len(digest)} bytes")
        return digest


@functools.lru_cache(maxsize=64)  # called for the Host header of every request
def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_file(path: Path) -> bool:
    """Whether the path is a file; False also for a path that the system cannot look up."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
