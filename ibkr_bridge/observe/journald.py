"""The journal's own protocol: each key of a line becomes a field that `journalctl` can search.

One datagram for one line, as systemd's "Native Journal Protocol" says: `NAME=value` lines, and a length in front of a
value that holds a line's end. Names are upper-case, or the journal drops them without a word.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping

JOURNALD_SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "ibkr-bridge"


class JournaldSocket:
    """The journal of this machine.

    Args:
        address: its socket.
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
            fields: what can be searched, by the keys of our lines.

        Raises:
            OSError: the journal is not there, cannot keep up, or the line is too long for a datagram.
        """
        told = {"MESSAGE": message, "PRIORITY": priority, "SYSLOG_IDENTIFIER": IDENTIFIER, **journal_fields(fields)}
        self._channel.sendto(b"".join(encode_field(name, str(value)) for name, value in told.items()), self._address)

    def close(self) -> None:
        """Let the socket go."""
        self._channel.close()


def journal_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Our keys as the journal's names: `request_id` is REQUEST_ID; `event`, which is anybody's word, BRIDGE_EVENT."""
    return {"BRIDGE_EVENT" if key == "event" else key.upper(): value for key, value in fields.items()}


def encode_field(name: str, value: str) -> bytes:
    """One field as it goes over the socket."""
    raw = value.encode("utf-8", "backslashreplace")
    if b"\n" not in raw:
        return name.encode() + b"=" + raw + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
