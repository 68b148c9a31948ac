"""The connection a call travels by: requests' adapter, on urllib3, on http.client, corrected for orders.

- An answer that the end of the connection cut off must not pass for a whole one. http.client takes the end of the
  connection for the end of a line, and so half a head for all of it; an `Answer` does not.
- A deadline must hold for the whole of an answer. A socket's own timeout begins anew with each piece; that of a
  `Punctual` one does not.
- A target must go out as the rules read it. urllib3 tidies its escapes; a `Connection` is told the raw one.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util import parse_url

HTTP = b"HTTP/1."  # how an answer begins
MAX_TIMEOUT_S = 86400.0  # seconds; the system takes no endless time
TARGET, DEADLINE = ":target", ":until"
"""Told to a connection beside the headers; http.client refuses to send such names."""


class TruncatedResponse(http.client.HTTPException):
    """The connection ended inside a line, or before the line that ends a head.

    Args:
        begun: the first line of the answer, as much of it as came.
    """

    def __init__(self, begun: bytes) -> None:
        super().__init__("the connection ended inside a line")
        self.is_http = begun[: len(HTTP)] == HTTP[: len(begun)]


class LineReader(io.BufferedReader):
    """What the bridge sends, for http.client to read: a line ends with its end, or it is none."""

    _first: bytes | None = None

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line; as much of it as was asked for, where it is longer.

        Raises:
            Unfinished: the connection ended first.
        """
        line = super().readline(size)
        if self._first is None:
            self._first = line
        if line.endswith(b"\n") or len(line) == size:
            return line
        raise TruncatedResponse(self._first)


class CheckedHttpResponse(http.client.HTTPResponse):
    """One answer, its lines whole: those of its head and those between the pieces of its body."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = LineReader(self.fp.detach())


class DeadlineSocket(socket.socket):
    """A connected socket whose time is that of a call, however many pieces come.

    Args:
        plain: the socket it takes the place of.
        left: tells the seconds that are left; none are where it is not above nought.
    """

    def __init__(self, plain: socket.socket, left: Callable[[], float]) -> None:
        super().__init__(fileno=plain.detach())
        self._left = left

    def sendall(self, *data: Any) -> None:
        """Send in what is left of the time."""
        self._apply_deadline()
        super().sendall(*data)

    def recv_into(self, *buffer: Any) -> int:
        """Receive in what is left of the time."""
        self._apply_deadline()
        return super().recv_into(*buffer)

    def _apply_deadline(self) -> None:
        left = self._left()
        if left <= 0:
            raise TimeoutError("the time is over")
        self.settimeout(min(left, MAX_TIMEOUT_S))


class BridgeConnection(HTTPConnection):
    """One connection to the bridge.

    Args:
        clock: by which its deadlines count.
    """

    response_class = CheckedHttpResponse

    def __init__(self, *address: Any, clock: Callable[[], float], **how: Any) -> None:
        super().__init__(*address, **how)
        self._clock = clock
        self._until = -math.inf

    def _new_conn(self) -> socket.socket:
        return DeadlineSocket(super()._new_conn(), lambda: self._until - self._clock())

    def request(  # type: ignore[override]  # of urllib3's arguments it takes what the adapter gives
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, **how: Any
    ) -> None:
        """Send a request, whose raw target and deadline are told beside its headers."""
        told = dict(headers or {})
        self._until = float(told.pop(DEADLINE))
        super().request(method, told.pop(TARGET), body, told, **how)


class BridgeConnectionPool(HTTPConnectionPool):
    """Those that are kept."""

    ConnectionCls = BridgeConnection


class BridgeAdapter(HTTPAdapter):
    """The road to one address; no proxy lies on it, whatever the environment says.

    Args:
        url: of the bridge.
        clock: by which deadlines count.
        kept: how many connections rest here between calls.
    """

    def __init__(self, url: str, clock: Callable[[], float], kept: int = 1) -> None:
        super().__init__()
        self._url, self._clock, self._kept = parse_url(url), clock, kept
        self._connections = self._new_pool()

    def _new_pool(self) -> BridgeConnectionPool:
        return BridgeConnectionPool(self._url.host or "", self._url.port, maxsize=self._kept, clock=self._clock)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: tuple[str, str] | str | None = None,
    ) -> BridgeConnectionPool:
        """The connections there are."""
        return self._connections

    def close(self) -> None:
        """Let go of the connections; whoever calls again gets new ones."""
        resting, self._connections = self._connections, self._new_pool()
        resting.close()
