"""The native protocol of systemd's journal: each key of a log line becomes a field that `journalctl` can search.

A log line is one datagram, as systemd's "Native Journal Protocol" says. It has lines of the form `NAME=value`; a value
with a line break has its length in front. Names must be upper case; the journal silently drops others.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping

JOURNALD_SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "ibkr-bridge"


class JournaldSocket:
    """The socket of this machine's journal.

    Args:
        address: the path of the socket.
    """

    def __init__(self, address: str = JOURNALD_SOCKET) -> None:
        self._address = address
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.setblocking(False)  # a journal that is stuck must not stop the bridge

    def send(self, message: str, priority: int, fields: Mapping[str, object]) -> None:
        """Write one line.

        Args:
            message: what people read.
            priority: syslog's, 0 to 7.
            fields: what can be searched, by the keys of the log line.

        Raises:
            BlockingIOError: the queue of the journal is full.
            OSError: the journal is not there, or the line is too long for a datagram.
        """
        entry = {"MESSAGE": message, "PRIORITY": priority, "SYSLOG_IDENTIFIER": IDENTIFIER, **journal_fields(fields)}
        self._channel.sendto(b"".join(encode_field(name, str(value)) for name, value in entry.items()), self._address)

    def close(self) -> None:
        """Close the socket."""
        self._channel.close()


def journal_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Keys as names of the journal: `request_id` is REQUEST_ID. `event` is BRIDGE_EVENT, since EVENT is too common."""
    return {"BRIDGE_EVENT" if key == "event" else key.upper(): value for key, value in fields.items()}


def encode_field(name: str, value: str) -> bytes:
    """One field in the format of the protocol."""
    raw = value.encode("utf-8", "backslashreplace")
    if b"\n" not in raw:
        return name.encode() + b"=" + raw + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
