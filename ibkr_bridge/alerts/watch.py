"""The loop of the alerts: ask the bridge, enter what is new into the state, send, save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from ibkr_bridge.alerts.alert_state import AlertState
from ibkr_bridge.alerts.delivery import Delivery
from ibkr_bridge.alerts.messages import News
from ibkr_bridge.config.alert_settings import AlertSettings
from ibkr_bridge.program_name import INSTALLED_NAME

POLL_INTERVAL_S = 2.0
PING_INTERVAL = timedelta(minutes=1)
PAGE_SIZE = 100  # changes in one answer of the bridge
MAX_PAGES = 20  # in one round; the rest comes with the next
UNREACHABLE = "bridge_unreachable"
UNREACHABLE_TEXT = "the bridge does not answer"
UNREACHABLE_DO = f"look at its service: systemctl status {INSTALLED_NAME}"


class BridgeSource(Protocol):
    """The bridge, as the alerts read it."""

    def latest_revision(self) -> int:
        """The revision of the latest change; raises `SourceError` if there is no answer."""
        ...

    def changes(self, after: int) -> Mapping[str, Any]:
        """The answer of `GET /gateway/history/changes`; raises `SourceError` if there is none."""
        ...

    def conditions(self) -> Sequence[Mapping[str, Any]]:
        """The conditions of `GET /gateway/status`; raises `SourceError` if there is no answer."""
        ...


class SourceError(Exception):
    """The bridge did not answer, or refused. The message says which; `do` says what to do about it."""

    def __init__(self, text: str = UNREACHABLE_TEXT, do: str = UNREACHABLE_DO) -> None:
        super().__init__(text)
        self.do = do


@dataclass
class Watch:
    """The alerts of one bridge."""

    settings: AlertSettings
    source: BridgeSource
    delivery: Delivery
    ping: Callable[[], None]
    """Requests the address of the dead man's switch; it never raises and never waits long."""
    host: str
    state: AlertState
    save: Callable[[AlertState], None]
    pinged_at: datetime | None = None

    def round(self, now: datetime) -> None:
        """Look once, and send what is due."""
        if self._read(now) and (self.pinged_at is None or now - self.pinged_at >= PING_INTERVAL):
            self.pinged_at = now
            self.ping()
        self.state.tell_due(now, self.settings, self.host)
        self.save(self.state)  # before anything is sent: a restart then repeats nothing
        self.delivery.send_due(self.state, now)

    def _read(self, now: datetime) -> bool:
        """Enter what is new. Returns whether the bridge answered."""
        try:
            self._read_changes(now)
            present = [_news(each, "since") for each in self.source.conditions()]
        except SourceError as exc:
            unreachable = News(UNREACHABLE, None, "critical", str(exc), exc.do, None, now)
            self.state.record_change(unreachable, None, now, self.settings, self.host)
            return False
        self.state.record_present(present, now, self.settings, self.host)  # ends `bridge_unreachable` too
        return True

    def _read_changes(self, now: datetime) -> None:
        if self.state.revision is None:  # the first look: what is over is no news
            self.state.revision = self.source.latest_revision()
        for _ in range(MAX_PAGES):
            answer = self.source.changes(self.state.revision)
            if answer["latest"] < self.state.revision:  # another history: of a bridge that was restored, or begins anew
                self.state.revision = int(answer["latest"])
                return
            for change in answer["changes"]:
                ended = None if change["ended"] is None else datetime.fromisoformat(change["ended"])
                self.state.record_change(_news(change, "began"), ended, now, self.settings, self.host)
                self.state.revision = int(change["revision"])
            if len(answer["changes"]) < PAGE_SIZE:
                return


def _news(row: Mapping[str, Any], began: str) -> News:
    return News(
        *(row["id"], row["profile"], row["severity"], row["text"], row["do"], row["url"]),
        datetime.fromisoformat(row[began]),
    )
