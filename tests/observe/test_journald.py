"""The journal's own protocol, heard by a socket like the journal's."""

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


def parsed(raw: bytes) -> dict[str, str]:
    """A datagram as the journal reads it."""
    found = {}
    while raw:
        line, _, rest = raw.partition(b"\n")
        name, mark, value = line.partition(b"=")
        if not mark:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        found[name.decode()], raw = value.decode(), rest
    return found


class Listener:
    """A journal of the test's own."""

    def __init__(self, place: Path) -> None:
        self.address = str(place / "journal")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.setblocking(False)
        self.stderr = io.StringIO()
        self.sender = JournaldSocket(self.address)

    def log(self) -> Log:
        """A log that leads here, and to `stderr` where it cannot."""
        form, level = LogFormat.JSON, LogLevel.INFO
        return Log(self.stderr, form, level, Redactor(), leads_to_journal=True, journal=self.sender)

    def next(self) -> dict[str, str]:
        """The next line."""
        return parsed(self.socket.recv(65536))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Listener]:
    """A journal."""
    listener = Listener(tmp_path)
    yield listener
    listener.socket.close()
    listener.sender.close()


def test_a_request_can_be_searched_by_its_fields(journal: Listener) -> None:
    """`journalctl -u ibkr-bridge REQUEST_ID=abc`; the message is for eyes, without a time of its own."""
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


def test_a_lost_session_is_found_by_its_event(journal: Listener) -> None:
    """`journalctl -u ibkr-bridge BRIDGE_EVENT=session.lost`, and `-p warning`."""
    journal.log().on_event(LOST)

    line = journal.next()

    assert (line["BRIDGE_EVENT"], line["PRIORITY"], line["HINT"]) == ("session.lost", "4", LOST.hint)


def test_what_must_not_be_shown_is_in_no_field(journal: Listener) -> None:
    """Neither in the message nor beside it."""
    journal.log().on_event(KeeperFailed("ValueError", "account DU1234567"))

    line = journal.next()

    assert not [name for name, value in line.items() if "DU1234567" in value]
    assert line["PRIORITY"] == "3"


def test_a_journal_that_is_gone_loses_no_line(journal: Listener) -> None:
    """Standard error leads there too, and systemd keeps that open."""
    log = journal.log()
    journal.socket.close()

    log.on_event(BridgeStopped(0))

    assert journal.stderr.getvalue().startswith('<6>{"event": "bridge.stopped"')


def test_a_journal_that_cannot_keep_up_is_not_waited_for(journal: Listener) -> None:
    """Its queue holds few datagrams; how many lines were lost is told once it takes one again."""
    log = journal.log()

    for number in range(2000):
        log.on_event(BridgeStopped(number))
    taken = 0
    while not _is_empty(journal):
        taken += 1
    log.on_event(BridgeStopped(2000))
    log.on_event(BridgeStopped(2001))

    assert journal.next()["LOST"] == str(2000 - taken)
    assert "LOST" not in journal.next()
    assert journal.stderr.getvalue() == ""


def _is_empty(journal: Listener) -> bool:
    try:
        journal.next()
    except BlockingIOError:
        return True
    return False


@given(st.text(min_size=1).filter(lambda text: text.isascii()), st.text())
def test_any_value_comes_back_as_it_was(other: str, value: str) -> None:
    """Lines within a value included: they would begin a field of their own."""
    told = encode_field("MESSAGE", value) + encode_field("OTHER", other)

    assert parsed(told) == {"MESSAGE": value, "OTHER": other}
