"""What an alert says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ibkr_bridge.clock import span_text
from ibkr_bridge.conditions.condition import tunnel_to

INFO, SUCCESS, WARNING, FAILURE = "info", "success", "warning", "failure"
"""The kinds of messages that Apprise knows; many services give each a colour or a sound."""
KINDS: Mapping[str, str] = {"critical": FAILURE, "warning": WARNING, "notice": INFO}


@dataclass(frozen=True)
class News:
    """A condition as the bridge reports it."""

    id: str
    profile: str | None
    severity: str
    text: str
    do: str
    url: str | None
    began: datetime

    @property
    def key(self) -> tuple[str | None, str]:
        """What stays the same while it lasts."""
        return self.profile, self.id


@dataclass(frozen=True)
class Message:
    """One alert, ready to be sent."""

    kind: str
    title: str
    body: str

    def as_json(self) -> dict[str, Any]:
        """For the state."""
        return asdict(self)


def beginning(news: News, host: str, *, is_in_maintenance: bool = False) -> Message:
    """A condition has begun.

    Args:
        host: the name of this machine, for the way to it.
        is_in_maintenance: whether IBKR is in a known maintenance window; an alarm is then a notice.
    """
    kind = INFO if is_in_maintenance else KINDS[news.severity]
    lines = [
        f"To do: {news.do}",
        *_way(news.url, host),
        f"Since {_time(news.began)}.",
        *(["IBKR is in a known maintenance window: this may end by itself."] if is_in_maintenance else []),
    ]
    return Message(kind, f"{_subject(news.profile, host)}: {news.text}", "\n".join(lines))


def ending(news: News, host: str, ended: datetime) -> Message:
    """A condition that was told has ended."""
    lasted = span_text((ended - news.began).total_seconds())
    title = f"{_subject(news.profile, host)}: over after {lasted}: {news.text}"
    return Message(SUCCESS, title, f"It lasted from {_time(news.began)} to {_time(ended)}.")


def past(news: News, host: str, ended: datetime) -> Message:
    """A condition has begun and ended before it could be told, for example in quiet hours."""
    lasted = span_text((ended - news.began).total_seconds())
    title = f"{_subject(news.profile, host)}: for {lasted}: {news.text}"
    return Message(INFO, title, f"It lasted from {_time(news.began)} to {_time(ended)}, and is over.")


def trial(host: str) -> Message:
    """The message of `alert-test`."""
    return Message(INFO, f"IBKR Bridge on {host}: this is a test", "Alerts of the bridge reach you here.")


def _subject(profile: str | None, host: str) -> str:
    return f"IBKR Bridge{f' {profile}' if profile else ''} on {host}"


def _way(url: str | None, host: str) -> list[str]:
    """Where to do it: an address of this machine is reached from elsewhere by a tunnel."""
    if url is None:
        return []
    tunnel = tunnel_to(url, host)
    if tunnel is None:
        return [f"Address: {url}"]
    return [f"On that computer: {url}", f"From elsewhere: {tunnel}, then https://localhost:{urlsplit(url).port or 443}"]


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
