"""Log lines of requests are limited, and the rest is summed up. Lines of orders are always written."""

from __future__ import annotations

import io
import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from ibkr_bridge import events
from ibkr_bridge.config.settings import LogFormat, LogLevel
from ibkr_bridge.observe.journald import JournaldSocket
from ibkr_bridge.observe.line_limits import RATES, SUMMARY_INTERVAL_S, WITH_KEY, WITHOUT_KEY, LineLimits
from ibkr_bridge.observe.logs import Log
from ibkr_bridge.redaction import Redactor
from tests.harness import Harness

JOURNALD_BURST, JOURNALD_INTERVAL_S = 10_000, 30.0  # RateLimitBurst= and RateLimitIntervalSec= of journald.conf
ORDER = events.OrderPlaced("o1", "r", "place", "placed", "77", None)


def served(key: str = "none", status: int = 401) -> events.RequestServed:
    """The event of one request."""
    return events.RequestServed("r", key, "GET", "?", status, 0.1, "bridge")


class LogSetup:
    """A log whose clock the test moves."""

    def __init__(self, journal: JournaldSocket | None = None) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.log = Log(self.stream, LogFormat.JSON, LogLevel.INFO, Redactor(), journal=journal, now=lambda: self.now)

    @property
    def lines(self) -> list[dict[str, object]]:
        """The lines that were written."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def count(self, event: str) -> int:
        """The number of lines of an event."""
        return sum(line["event"] == event for line in self.lines)


@pytest.mark.parametrize(
    "event", [served(), events.RequestMalformed("x"), events.ConnectionLimitReached(512)], ids=lambda each: each.event
)
def test_lines_of_callers_without_a_key_are_summed_up(event: events.Event) -> None:
    """Otherwise any program that reaches the port could fill the log."""
    setup = LogSetup()

    for _ in range(5000):
        setup.log.on_event(event)
    setup.now = SUMMARY_INTERVAL_S
    setup.log.write_summaries()

    assert setup.count(event.event) == RATES[WITHOUT_KEY].burst
    (summary,) = (line for line in setup.lines if line["event"] == "request.lines_summed_up")
    assert (summary["of"], summary["lines"]) == (WITHOUT_KEY, 5000 - RATES[WITHOUT_KEY].burst)
    assert event.event in str(summary["events"])


def test_callers_without_a_key_take_no_lines_of_callers_with_a_key() -> None:
    """Many requests without a key must not hide a request with a key."""
    limits = LineLimits(0.0)

    for _ in range(5000):
        limits.admit(served(), 1.0)

    assert limits.admit(served("full", 200), 1.0)


def test_lines_of_orders_are_always_written() -> None:
    """A hundred thousand other lines do not displace them."""
    setup = LogSetup()

    for _ in range(100):
        for key in ("none", "full"):
            for _ in range(500):
                setup.log.on_event(served(key))
        setup.log.on_event(ORDER)

    assert setup.count(ORDER.event) == 100


def test_no_flood_reaches_the_limit_of_the_journal() -> None:
    """Above that limit journald drops lines of the service, those of orders too."""
    setup = LogSetup()
    steps = 3000

    for step in range(steps):
        setup.now = step * JOURNALD_INTERVAL_S / steps
        for event in (served(), served("full", 200), events.RequestMalformed("x")) * 5:
            setup.log.on_event(event)

    assert len(setup.lines) < JOURNALD_BURST * 0.7


def test_after_a_flood_each_request_has_its_line_again() -> None:
    """The summary is written once."""
    setup = LogSetup()
    for _ in range(200):
        setup.log.on_event(served())

    setup.now = 3600.0
    setup.log.on_event(served(status=403))
    setup.now = 7200.0
    setup.log.on_event(served(status=403))

    assert [line.get("status") for line in setup.lines[-3:]] == [None, 403, 403]
    assert setup.count("request.lines_summed_up") == 1
    assert RATES[WITH_KEY].burst > RATES[WITHOUT_KEY].burst


async def test_the_limit_of_lines_does_not_change_responses(harness: Harness) -> None:
    """Each request gets a response and an event; only log lines are left out."""
    seen = len(harness.events_seen)
    for _ in range(80):
        await harness.get("/portfolio/accounts", key=None)

    written = [json.loads(line) for line in harness.written.getvalue().splitlines()]
    assert sum(line["event"] == "request" and line["key"] == "none" for line in written) < 80
    assert sum(isinstance(event, events.RequestServed) for event in harness.events_seen[seen:]) == 80


def test_a_line_of_an_order_waits_for_a_full_journal(tmp_path: Path) -> None:
    """Other lines are counted as lost. The order's line is written when there is room."""
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver, closing(JournaldSocket(path)) as journal:
        receiver.bind(path)
        setup = LogSetup(journal)
        for number in range(2000):  # the queue has a few hundred places at most
            setup.log.log("info", "filler", number=number)
        setup.log.on_event(ORDER)
        receiver.setblocking(False)
        _drain(receiver)

        setup.log.log("info", "later")

        assert [b"order.placed" in line for line in _drain(receiver)] == [True, False]


def _drain(receiver: socket.socket) -> list[bytes]:
    received = []
    while True:
        try:
            received.append(receiver.recv(65536))
        except BlockingIOError:
            return received
