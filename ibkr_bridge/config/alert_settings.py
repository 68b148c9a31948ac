"""The settings of `bridge.py alerts`, a program of its own. The daemon knows their names and uses none of them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from ibkr_bridge.config.value_types import Problem
from ibkr_bridge.file_trust import open_regular

ALERTS, QUIET, PING, LEAST = (
    *("IBKR_BRIDGE_ALERTS", "IBKR_BRIDGE_ALERT_QUIET", "IBKR_BRIDGE_ALERT_PING", "IBKR_BRIDGE_ALERT_LEAST"),
)
ALERT_NAMES = (ALERTS, QUIET, PING, LEAST)
ALERT_SECRETS = (ALERTS, PING)
"""Their values contain tokens of the services."""
SEVERITIES = ("critical", "warning", "notice")
QUIET_HINT = "write 22:00-07:00, or 22:00-07:00 Europe/Berlin"
MAX_FILE_BYTES = 65_536
BETWEEN_ADDRESSES = re.compile(r"[,\s]+(?=[A-Za-z0-9+.-]+://)")  # an address may contain commas itself
ADDRESS = re.compile(r"[A-Za-z0-9+.-]+://\S+")


@dataclass(frozen=True)
class QuietHours:
    """Hours in which only critical alerts are sent; they may cross midnight."""

    start: time
    end: time
    zone: ZoneInfo | None
    """None for the zone of this machine."""

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """Parse `22:00-07:00`, with the name of a zone or without.

        Raises:
            ValueError: it has another form, or there is no such zone.
        """
        hours, _, zone = text.partition(" ")
        start, _, end = hours.partition("-")
        quiet = cls(time.fromisoformat(start), time.fromisoformat(end), _zone(zone.strip()))
        if quiet.start == quiet.end:
            raise ValueError("they begin and end at the same time")
        return quiet

    def end_after(self, now: datetime) -> datetime | None:
        """The end of the quiet hours that `now` lies in; None outside of them."""
        local = now.astimezone(self.zone)
        clock, crosses = local.time().replace(tzinfo=None), self.start > self.end
        is_quiet = clock >= self.start or clock < self.end if crosses else self.start <= clock < self.end
        if not is_quiet:
            return None
        end = local.replace(hour=self.end.hour, minute=self.end.minute, second=0, microsecond=0)
        return end if end > local else _next_day(end)


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, OSError) as exc:
        raise ValueError("there is no such zone") from exc


def _next_day(at: datetime) -> datetime:
    return datetime.fromordinal(at.toordinal() + 1).replace(hour=at.hour, minute=at.minute, tzinfo=at.tzinfo)


@dataclass(frozen=True)
class AlertSettings:
    """Where alerts are sent, and which."""

    addresses: tuple[str, ...] = field(repr=False)
    """Addresses of services in the form of Apprise; empty if none are configured."""
    quiet: QuietHours | None
    ping: str | None = field(repr=False)
    """An address that is requested every minute while the bridge answers."""
    least: str
    """The least severity that is told."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> tuple[AlertSettings, list[Problem]]:
        """Read the settings. Returns them with their problems, which name no address."""
        problems: list[Problem] = []
        settings = cls(
            addresses=_addresses(env.get(ALERTS, ""), problems),
            quiet=_quiet(env.get(QUIET, "").strip(), problems),
            ping=_ping(env.get(PING, "").strip(), problems),
            least=_least(env.get(LEAST, "").strip().lower(), problems),
        )
        return settings, problems

    def tells(self, severity: str) -> bool:
        """Whether conditions of this severity are told."""
        return SEVERITIES.index(severity) <= SEVERITIES.index(self.least)


def _addresses(text: str, problems: list[Problem]) -> tuple[str, ...]:
    """The addresses of a list between spaces or commas, or of a file with one in each line."""
    text = text.strip()
    if text.startswith(("/", "~", ".")):
        text = _file_text(Path(text).expanduser(), problems)
    lines = (line.strip() for line in text.splitlines())
    parts = [part for line in lines if line and not line.startswith("#") for part in BETWEEN_ADDRESSES.split(line)]
    wrong = [number for number, part in enumerate(parts, 1) if not ADDRESS.fullmatch(part)]
    hint = "write for example tgram://TOKEN/CHAT"
    problems.extend(Problem(ALERTS, f"entry {number} is no address", hint) for number in wrong)
    return tuple(part for number, part in enumerate(parts, 1) if number not in wrong)


def _file_text(path: Path, problems: list[Problem]) -> str:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            # Whoever writes it can send the alerts elsewhere. Its owner may be another user, as with Docker's secrets.
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                problems.append(Problem(ALERTS, "the file can be written by other users", "chmod 600 it"))
                return ""
            return file.read(MAX_FILE_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        found = (exc.strerror if isinstance(exc, OSError) else None) or "it is not UTF-8 text"
        problems.append(Problem(ALERTS, f"the file cannot be read: {found}", "name a file with one address a line"))
        return ""


def _quiet(text: str, problems: list[Problem]) -> QuietHours | None:
    try:
        return QuietHours.parse(text) if text else None
    except ValueError:
        problems.append(Problem(QUIET, f"found {text[:40]!r}", QUIET_HINT))
        return None


def _ping(text: str, problems: list[Problem]) -> str | None:
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_good = False
    if text and not is_good:
        problems.append(Problem(PING, "it is no address", "write one that begins with https://"))
    return text if text and is_good else None


def _least(text: str, problems: list[Problem]) -> str:
    if text and text not in SEVERITIES:
        problems.append(Problem(LEAST, f"found {text[:40]!r}", f"write {', '.join(SEVERITIES)}"))
    return text if text in SEVERITIES else SEVERITIES[-1]
