"""The state of the alerts: which conditions last, which of them were told, and what is still to be sent. Pure.

A message is put into the outbox in the same step in which its condition is marked as told, and the state is saved
before anything is sent. So a restart neither repeats a message nor loses one. Only a process that is killed while a
service has the message, and before the state says so, sends that one again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from ibkr_bridge.alerts.messages import Message, News, beginning, ending, past
from ibkr_bridge.config.alert_settings import AlertSettings

AT_ONCE = frozenset(
    {
        *("signed_out", "journal_unavailable", "orders_unknown", "gateway_stuck", "order_question"),
        *("credential_refused", "secret_lost", "revoked", "mismatch"),
        *("vault_locked", "credential_unreadable"),
    }
)
"""Conditions that wait for a person: they are told as soon as they are known."""
SETTLE = timedelta(seconds=20)
"""How long any other condition must last. A session that is reopened within seconds wakes nobody; if that happens
again and again, `session_flapping` is told.
"""
REMINDERS = frozenset({"login_ends"})
"""Told in advance; that the time has come is no news."""
MAINTENANCE = "maintenance"
EXPECTED_IN_MAINTENANCE = frozenset(
    {
        *("gateway_timeout", "ibkr_unavailable", "login_unclear", "rate_limited", "signed_out", "brokerage_lost"),
        *("brokerage_disconnected", "establishing", "brokerage_unusable", "session_flapping", "stream_down"),
        *("topics_silent", "login_ends"),
    }
)
"""Conditions that maintenance of IBKR can cause. A full disk or a Gateway that is gone has another cause."""
MAX_OUTBOX = 200  # messages that wait for one address, for example while its service is down
MAX_WAIT = timedelta(days=1)  # quiet hours and pauses are shorter: a message that waits longer has seen a wrong clock
Key = tuple[str | None, str]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass
class Episode:
    """A condition from its beginning to its end."""

    news: News
    is_told: bool = False


@dataclass
class Outgoing:
    """A message that waits for one address: a service that fails delays no other."""

    message: Message
    to: int
    """The number of the address."""
    not_before: datetime
    attempts: int = 0


class _SavedEpisode(msgspec.Struct):
    id: str
    profile: str | None
    severity: Literal["critical", "warning", "notice"]
    text: str
    do: str
    url: str | None
    began: Time
    is_told: bool = msgspec.field(name="told")


class _SavedMessage(msgspec.Struct):
    kind: Literal["info", "success", "warning", "failure"]
    title: str
    body: str


class _SavedOutgoing(msgspec.Struct):
    message: _SavedMessage
    to: Count
    not_before: Time
    attempts: Count


class _SavedState(msgspec.Struct):
    """The file, as `AlertState.as_json` writes it."""

    revision: Count | None
    open: list[_SavedEpisode]
    closed: list[tuple[str | None, str, Time]]
    outbox: list[_SavedOutgoing]


@dataclass
class AlertState:
    """What is known and what was told.

    Args:
        revision: of the latest change of the bridge that is in the state; None before the first look.
    """

    revision: int | None = None
    open: dict[Key, Episode] = field(default_factory=dict)
    closed: dict[Key, datetime] = field(default_factory=dict)
    """When a condition ended last, as far as the state knows."""
    outbox: list[Outgoing] = field(default_factory=list)

    def record_change(
        self, news: News, ended: datetime | None, now: datetime, settings: AlertSettings, host: str
    ) -> None:
        """Enter a change: a condition has begun, or it has ended."""
        if ended is None:
            self.open.setdefault(news.key, Episode(news))
            return
        lasting = self.open.get(news.key)
        if lasting is not None and lasting.news.began <= ended:
            episode = self.open.pop(news.key)
        elif news.key in self.closed and news.began < self.closed[news.key]:
            return  # its end is in the state already
        else:
            episode = Episode(news)
        self.closed[news.key] = ended
        is_long = ended - episode.news.began >= self._settle(episode.news)
        if episode.is_told and news.id not in REMINDERS:
            self._add(ending(episode.news, host, ended), now, settings, episode.news.severity)
        elif not episode.is_told and is_long and settings.tells(news.severity):
            self._add(past(episode.news, host, ended), now, settings, episode.news.severity)

    def record_present(self, present: Iterable[News], now: datetime, settings: AlertSettings, host: str) -> None:
        """Compare with what holds now: a bridge whose disk is full cannot record changes."""
        by_key = {each.key: each for each in present}
        for key, episode in list(self.open.items()):
            if key not in by_key:  # it may have begun "later" than now, if the clock was set back
                self.record_change(episode.news, max(now, episode.news.began), now, settings, host)
        for each in by_key.values():
            self.record_change(each, None, now, settings, host)

    def tell_due(self, now: datetime, settings: AlertSettings, host: str) -> None:
        """Put a message into the outbox for each condition that has lasted long enough and was not told."""
        is_in_maintenance = any(name == MAINTENANCE for _, name in self.open)
        for episode in self.open.values():
            news = episode.news
            is_expected = is_in_maintenance and news.id in EXPECTED_IN_MAINTENANCE
            severity = "notice" if is_expected else news.severity
            if episode.is_told or not self._has_settled(news, now) or not settings.tells(severity):
                continue
            if self._quiet_end(now, settings, severity) is not None:
                continue  # told when the quiet hours end, if it lasts until then
            episode.is_told = True
            message = beginning(news, host, is_in_maintenance=is_expected)
            self._add(message, now, settings, severity)

    def due(self, now: datetime) -> list[Outgoing]:
        """The messages to send now, the earliest first. An address gets its messages in their order.

        One that waits for the end of the quiet hours was never tried, and holds no later one up: that may be critical.
        """
        blocked: set[int] = set()
        ready = []
        for each in self.outbox:
            is_due = not timedelta() < each.not_before - now <= MAX_WAIT
            if is_due and each.to not in blocked:
                ready.append(each)
            elif is_due or each.attempts:
                blocked.add(each.to)
        return ready

    def _add(self, message: Message, now: datetime, settings: AlertSettings, severity: str) -> None:
        not_before = self._quiet_end(now, settings, severity) or now
        for number in range(len(settings.addresses)):
            self.outbox.append(Outgoing(message, number, not_before))
            self._give_up_earliest(number)

    def _give_up_earliest(self, number: int) -> None:
        waiting = [each for each in self.outbox if each.to == number]
        for each in waiting[:-MAX_OUTBOX]:
            self.outbox.remove(each)

    @classmethod
    def _has_settled(cls, news: News, now: datetime) -> bool:
        """Whether it is told now. If the clock was set back, it began "later" than now, nobody knows how long ago."""
        return not -SETTLE <= now - news.began < cls._settle(news)

    @staticmethod
    def _settle(news: News) -> timedelta:
        return timedelta() if news.id in AT_ONCE else SETTLE

    @staticmethod
    def _quiet_end(now: datetime, settings: AlertSettings, severity: str) -> datetime | None:
        return None if settings.quiet is None or severity == "critical" else settings.quiet.end_after(now)

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        episodes = [
            {**asdict(each.news), "began": each.news.began.isoformat(), "told": each.is_told}
            for each in self.open.values()
        ]
        outbox = [
            {
                "message": each.message.as_json(),
                "to": each.to,
                "not_before": each.not_before.isoformat(),
                "attempts": each.attempts,
            }
            for each in self.outbox
        ]
        closed = [[*key, at.isoformat()] for key, at in self.closed.items()]
        return {"revision": self.revision, "open": episodes, "closed": closed, "outbox": outbox}

    @classmethod
    def from_json(cls, content: object) -> AlertState:
        """Read a file; an empty state if it is none of ours.

        A state that is lost tells again what lasts, and misses nothing.
        """
        try:
            saved = msgspec.convert(content, _SavedState)
        except msgspec.ValidationError:
            return cls()
        state = cls(saved.revision)
        state.closed = {(profile, name): at for profile, name, at in saved.closed}
        for each in saved.open:
            news = News(each.id, each.profile, each.severity, each.text, each.do, each.url, each.began)
            state.open[news.key] = Episode(news, each.is_told)
        for waiting in saved.outbox:
            message = Message(waiting.message.kind, waiting.message.title, waiting.message.body)
            state.outbox.append(Outgoing(message, waiting.to, waiting.not_before, waiting.attempts))
        return state
