"""What the tests of alerts share: a bridge that a test sets, and a service that remembers what it got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ibkr_bridge.alerts.alert_state import AlertState
from ibkr_bridge.alerts.delivery import Delivery
from ibkr_bridge.alerts.messages import Message, News
from ibkr_bridge.alerts.watch import SourceError, Watch
from ibkr_bridge.conditions.condition import KINDS
from ibkr_bridge.config.alert_settings import AlertSettings
from tests.clocks import NOON

HOST = "server"
SIGN_IN = "https://127.0.0.1:5000"
TELL_ALL = AlertSettings(("json://one",), None, None, "notice")


def news(name: str = "signed_out", began: datetime = NOON, **changes: Any) -> News:
    """A condition as the bridge reports it."""
    members = {"severity": KINDS[name].severity.value, "text": f"text of {name}", "do": "do it", "url": None, **changes}
    return News(name, "main", members["severity"], members["text"], members["do"], members["url"], began)


@dataclass
class FakeBridge:
    """The changes and conditions of a bridge, as a test makes them."""

    now: datetime = NOON
    rows: list[dict[str, Any]] = field(default_factory=list)
    revisions: int = 0
    error: SourceError | None = None
    records: bool = True
    """Whether its disk takes changes."""
    present: dict[str, dict[str, Any]] = field(default_factory=dict)

    def begin(self, name: str, severity: str | None = None) -> None:
        """A condition begins."""
        severity = severity or KINDS[name].severity.value
        members = {"id": name, "profile": "main", "severity": severity, "text": f"text of {name}", "do": "do it"}
        row = {**members, "url": None, "began": self.now.isoformat(), "ended": None}
        self.present[name] = {**members, "url": None, "since": self.now.isoformat()}
        if self.records:
            self._change(row)
            self.rows.append(row)

    def end(self, name: str) -> None:
        """It ends."""
        del self.present[name]
        row = next((each for each in self.rows if each["id"] == name and each["ended"] is None), None)
        if row is not None and self.records:
            row["ended"] = self.now.isoformat()
            self._change(row)

    def _change(self, row: dict[str, Any]) -> None:
        self.revisions += 1
        row["revision"] = self.revisions

    def latest_revision(self) -> int:
        """See `BridgeSource`."""
        self._check()
        return self.revisions

    def changes(self, after: int) -> Mapping[str, Any]:
        """See `BridgeSource`."""
        self._check()
        later = sorted((each for each in self.rows if each["revision"] > after), key=lambda each: each["revision"])
        return {"changes": later[:100], "latest": self.revisions}

    def conditions(self) -> Sequence[Mapping[str, Any]]:
        """See `BridgeSource`."""
        self._check()
        return list(self.present.values())

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


@dataclass
class FakeService:
    """Takes messages, or refuses them."""

    works: bool = True
    taken: list[Message] = field(default_factory=list)
    attempts: int = 0
    name: str = "Fake"

    def send(self, message: Message) -> bool:
        """See `Service`."""
        self.attempts += 1
        if self.works:
            self.taken.append(message)
        return self.works

    @property
    def titles(self) -> list[str]:
        """The titles without their beginning."""
        return [
            each.title.removeprefix("IBKR Bridge main on server: ").removeprefix("IBKR Bridge on server: ")
            for each in self.taken
        ]


@dataclass
class Story:
    """Alerts of a bridge in time that the test moves; `restart` begins the program anew with the saved state."""

    settings: AlertSettings = TELL_ALL
    bridge: FakeBridge = field(default_factory=FakeBridge)
    services: list[FakeService] = field(default_factory=lambda: [FakeService()])
    lines: list[str] = field(default_factory=list)
    pings: int = 0
    saved: Any = None

    def __post_init__(self) -> None:
        self.watch = self._start()

    @property
    def service(self) -> FakeService:
        """The first service."""
        return self.services[0]

    def restart(self) -> None:
        """Stop the program, and start it again."""
        self.watch = self._start()

    def _start(self) -> Watch:
        delivery = Delivery(self.services, self._save, self.lines.append)
        return Watch(
            self.settings, self.bridge, delivery, self._ping, HOST, AlertState.from_json(self.saved), self._save
        )

    def _save(self, state: AlertState) -> None:
        self.saved = state.as_json()

    def _ping(self) -> None:
        self.pings += 1

    def pass_time(self, seconds: float, step: float = 2.0) -> None:
        """Let time pass; the program looks every two seconds."""
        end = self.bridge.now + timedelta(seconds=seconds)
        while self.bridge.now < end:
            self.watch.round(self.bridge.now)
            self.bridge.now += timedelta(seconds=step)
        self.watch.round(self.bridge.now)
