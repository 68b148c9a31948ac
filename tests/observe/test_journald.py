"""The journal's native protocol, received on a socket like the journal's."""

from __future__ import annotations

import io
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.config.settings import LogFormat, LogLevel
from ibkr_bridge.events import BridgeStopped, KeeperFailed, RequestServed, SessionLost
from ibkr_bridge.observe.journald import JournaldSocket, encode_field
from ibkr_bridge.observe.logs import Log
from ibkr_bridge.redaction import Redactor

SERVED = RequestServed("abc", "full", "GET", "/portfolio/accounts", 200, 1.5, "gateway")
LOST = SessionLost("ready", "signed_out", "signed_out", "sign in at https://127.0.0.1:5000", 3.0, "next check")


def parse_datagram(raw: bytes) -> dict[str, str]:
    """The fields of a datagram, parsed as the journal does."""
    fields = {}
    while raw:
        line, _, rest = raw.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        fields[name.decode()], raw = value.decode(), rest
    return fields


class FakeJournal:
    """A socket like the journal's, and a standard error."""

    def __init__(self, place: Path) -> None:
        self.address = str(place / "journal")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.setblocking(False)
        self.stderr = io.StringIO()
        self.sender = JournaldSocket(self.address)

    def log(self) -> Log:
        """A log that writes here, and to `stderr` if this socket fails."""
        form, level = LogFormat.JSON, LogLevel.INFO
        return Log(self.stderr, form, level, Redactor(), leads_to_journal=True, journal=self.sender)

    def next(self) -> dict[str, str]:
        """The next line."""
        return parse_datagram(self.socket.recv(65536))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FakeJournal]:
    """A journal that is closed after the test."""
    fake = FakeJournal(tmp_path)
    yield fake
    fake.socket.close()
    fake.sender.close()


def test_a_request_can_be_searched_by_its_fields(journal: FakeJournal) -> None:
    """`journalctl -u ibkr-bridge REQUEST_ID=abc`. The message is for people and has no time."""
    journal.log().on_event(SERVED)

    line = journal.next()

    assert {name: line[name] for name in ("BRIDGE_EVENT", "REQUEST_ID", "METHOD", "ROUTE", "STATUS", "KEY")} == {
        "BRIDGE_EVENT": "request",
        "REQUEST_ID": "abc",
        "METHOD": "GET",
        "ROUTE": "/portfolio/accounts",
        "STATUS": "200",
        "KEY": "full",
    }
    assert line["MESSAGE"].startswith("request request_id=abc ")
    assert (line["PRIORITY"], line["SYSLOG_IDENTIFIER"]) == ("6", "ibkr-bridge")
    assert journal.stderr.getvalue() == ""


def test_a_lost_session_is_found_by_its_event(journal: FakeJournal) -> None:
    """`journalctl -u ibkr-bridge BRIDGE_EVENT=session.lost`, and `-p warning`."""
    journal.log().on_event(LOST)

    line = journal.next()

    assert (line["BRIDGE_EVENT"], line["PRIORITY"], line["HINT"]) == ("session.lost", "4", LOST.hint)


def test_no_field_has_a_control_character(journal: FakeJournal) -> None:
    """IBKR's words stand in errors, and `journalctl` writes to a terminal."""
    journal.log().log("warning", "order.rejected", error="no\x1b[2J\nforged\x9b", places=Path("a\x07"))

    line = journal.next()

    assert all(value.isprintable() for value in line.values())
    assert (line["ERROR"], line["PLACES"]) == ("no\\x1b[2J\\nforged\\x9b", "a\\x07")


def test_no_field_has_an_account_number(journal: FakeJournal) -> None:
    """Neither the message nor the other fields."""
    journal.log().on_event(KeeperFailed("ValueError", "account DU1234567"))

    line = journal.next()

    assert not [name for name, value in line.items() if "DU1234567" in value]
    assert line["PRIORITY"] == "3"


def test_lines_go_to_standard_error_if_the_journal_is_gone(journal: FakeJournal) -> None:
    """systemd keeps standard error open, and it leads to the journal too."""
    log = journal.log()
    journal.socket.close()

    log.on_event(BridgeStopped(0))

    assert journal.stderr.getvalue().startswith('<6>{"event": "bridge.stopped"')


def test_the_log_does_not_wait_for_a_full_journal(journal: FakeJournal) -> None:
    """Its queue holds few datagrams. The next accepted line has the number of lost lines."""
    log = journal.log()

    for number in range(2000):
        log.on_event(BridgeStopped(number))
    accepted = 0
    while not _is_empty(journal):
        accepted += 1
    log.on_event(BridgeStopped(2000))
    log.on_event(BridgeStopped(2001))

    assert journal.next()["LOST"] == str(2000 - accepted)
    assert "LOST" not in journal.next()
    assert journal.stderr.getvalue() == ""


def _is_empty(journal: FakeJournal) -> bool:
    try:
        journal.next()
    except BlockingIOError:
        return True
    return False


@given(st.text(min_size=1).filter(lambda text: text.isascii()), st.text())
def test_any_value_is_unchanged_after_parsing(other: str, value: str) -> None:
    """Also one with a line break, which could start a new field."""
    datagram = encode_field("MESSAGE", value) + encode_field("OTHER", other)

    assert parse_datagram(datagram) == {"MESSAGE": value, "OTHER": other}
