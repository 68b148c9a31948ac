"""`bridge.py alerts`: tell a person of each condition of the bridge, until it is stopped."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import requests

from ibkr_bridge.alerts.alert_state import AlertState
from ibkr_bridge.alerts.apprise_service import AddressError, AppriseService, open_services
from ibkr_bridge.alerts.bounded_service import BoundedService
from ibkr_bridge.alerts.delivery import Delivery
from ibkr_bridge.alerts.watch import PAGE_SIZE, POLL_INTERVAL_S, SourceError, Watch
from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import open_client, settings_or_report, summarise
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.client import BridgeClient, BridgeRefused, ClientError
from ibkr_bridge.config.alert_settings import ALERTS, AlertSettings
from ibkr_bridge.config.settings import Settings, merge_sources
from ibkr_bridge.config.sources import dotenv_path
from ibkr_bridge.events import Bus
from ibkr_bridge.program_name import INSTALLED_NAME
from ibkr_bridge.state_file import give_to_owner, load_json, save_json

STATE_FILE, LOCK_FILE = "bridge.alerts.json", "bridge.alerts.lock"
EXAMPLES = {"alerts": f"until Ctrl-C; systemctl enable --now {INSTALLED_NAME}-alerts runs it as a service"}
PING_TIMEOUT_S = 10.0
RUNS_ALREADY = f"the alerts run already, and each would be sent twice: systemctl status {INSTALLED_NAME}-alerts"
NOT_CONFIGURED = f"{ALERTS} is not set: no alert is sent. docs/alerts.md says how to set it."


def run(argv: Sequence[str]) -> int:
    """Send alerts until SIGTERM or Ctrl-C. Returns 0, 1 if they run already, or 78 if the settings cannot be used."""
    build_parser().parse_args(argv)
    settings = settings_or_report()
    alert_settings = settings_of_alerts()
    if settings is None or alert_settings is None:
        return EXIT_MISCONFIGURED
    if not alert_settings.addresses:
        print(NOT_CONFIGURED)
        return EXIT_OK
    services = services_or_report(alert_settings)
    if services is None:
        return EXIT_MISCONFIGURED
    if not is_alone(settings.state_dir):
        print(RUNS_ALREADY, file=sys.stderr)
        return EXIT_FAILURE
    return _watch(settings, alert_settings, services)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    return new_parser(
        "alerts", "Tell a person of each condition of the bridge, by the services of IBKR_BRIDGE_ALERTS.", EXAMPLES
    )


def settings_of_alerts() -> AlertSettings | None:
    """The settings of the alerts; None if they cannot be used, after every problem was printed."""
    alert_settings, problems = AlertSettings.from_env(merge_sources(os.environ, dotenv_path()))
    for problem in problems:
        print(problem, file=sys.stderr)
    return None if problems else alert_settings


def services_or_report(settings: AlertSettings) -> list[AppriseService] | None:
    """A service for each address; None if Apprise does not know one, after that was printed."""
    try:
        return open_services(settings.addresses)
    except AddressError as exc:
        print(f"{exc}; see https://github.com/caronc/apprise/wiki", file=sys.stderr)
        return None


def is_alone(state_dir: Path | None) -> bool:
    """Take a lock that is held until this process ends. Returns False if another program has it."""
    if state_dir is None:
        return True
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        give_to_owner(lock, state_dir)
    except OSError:
        return True  # alerts without a lock are better than none
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    return True


def _watch(settings: Settings, alert_settings: AlertSettings, services: Sequence[AppriseService]) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _setter(stop))
    file = settings.state_dir / STATE_FILE if settings.state_dir else None
    save = _saver(file)
    delivery = Delivery([BoundedService(each) for each in services], save, report)
    with open_client(settings) as client:
        watch = Watch(
            *(alert_settings, BridgeOverHttp(client), delivery, pinger(alert_settings.ping)),
            *(socket.gethostname(), AlertState.from_json(load_json(file)), save),
        )
        report(f"alerts go to {', '.join(each.name for each in services)}")
        while not stop.is_set():
            watch.round(datetime.now(UTC))
            stop.wait(POLL_INTERVAL_S)
    return EXIT_OK


def _setter(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    return lambda *_: stop.set()


def report(line: str) -> None:
    """Write a line to the log."""
    print(line, flush=True)


def _saver(file: Path | None) -> Callable[[AlertState], None]:
    """Save the state if it has changed. Without a place for it, a restart tells again what lasts."""
    bus, saved = Bus(), list[dict[str, Any]]([{}])
    bus.subscribe(lambda event: report(f"the state of the alerts cannot be saved: {event}"))

    def save(state: AlertState) -> None:
        content = state.as_json()
        if content != saved[0]:
            saved[0] = content
            if file is not None:
                with suppress(OSError):  # `save_json` reports what is wrong
                    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            save_json(file, content, bus, "the state of the alerts", "a restart may repeat an alert")

    return save


def pinger(address: str | None) -> Callable[[], None]:
    """Request the address of the dead man's switch, on a thread: a service that hangs delays no alert."""

    def request(target: str) -> None:
        with suppress(requests.RequestException):
            requests.get(target, timeout=PING_TIMEOUT_S, stream=True).close()

    def ping() -> None:
        if address is not None:
            threading.Thread(target=request, args=(address,), daemon=True).start()

    return ping


class BridgeOverHttp:
    """Reads the bridge with its client."""

    def __init__(self, client: BridgeClient) -> None:
        self._client = client

    def latest_revision(self) -> int:
        """See `BridgeSource`."""
        return int(self._get("/gateway/history", days=1)["revision"])

    def changes(self, after: int) -> Mapping[str, Any]:
        """See `BridgeSource`."""
        return self._get("/gateway/history/changes", after=after, limit=PAGE_SIZE)

    def conditions(self) -> Sequence[Mapping[str, Any]]:
        """See `BridgeSource`."""
        found: list[Mapping[str, Any]] = self._get("/gateway/status")["conditions"]
        return found

    def _get(self, path: str, **params: int) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._client.request("GET", path, params=params).json()
        except BridgeRefused as exc:
            raise SourceError(*summarise(exc)) from exc
        except ClientError as exc:
            raise SourceError from exc
        return answer
