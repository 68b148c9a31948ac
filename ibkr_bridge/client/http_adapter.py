"""The HTTP connection of the client: requests' adapter on urllib3 on http.client, made strict enough for orders.

- A truncated response must not count as a complete one. http.client treats the end of the connection as the end of a
  line, and so half a head as a complete head. `CheckedHttpResponse` raises instead.
- A deadline must hold for the complete response. The timeout of a socket starts again with each chunk; that of a
  `DeadlineSocket` does not.
- A target must be sent exactly as the rules read it. urllib3 normalises its escapes; a `BridgeConnection` gets the raw
  target.
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

HTTP_PREFIX = b"HTTP/1."  # the first bytes of every response
MAX_TIMEOUT_S = 86400.0  # a socket accepts no infinite timeout
TARGET, DEADLINE = ":target", ":until"
"""Passed to a connection among the headers. http.client cannot send these names, so they never leave by accident."""


class TruncatedResponse(http.client.HTTPException):
    """The connection ended inside a line, or before the line that ends a head.

    Args:
        first_line: what came of the first line of the response.
    """

    def __init__(self, first_line: bytes) -> None:
        super().__init__("the connection ended inside a line")
        self.is_http = first_line[: len(HTTP_PREFIX)] == HTTP_PREFIX[: len(first_line)]


class LineReader(io.BufferedReader):
    """A reader that raises if the connection ends inside a line."""

    _first_line: bytes | None = None

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line, at most `size` bytes of it.

        Raises:
            TruncatedResponse: the connection ended before the line did.
        """
        line = super().readline(size)
        if self._first_line is None:
            self._first_line = line
        if line.endswith(b"\n") or len(line) == size:
            return line
        raise TruncatedResponse(self._first_line)


class CheckedHttpResponse(http.client.HTTPResponse):
    """A response that checks its lines: those of the head and those between the chunks of the body."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = LineReader(self.fp.detach())


class DeadlineSocket(socket.socket):
    """A connected socket with one deadline for a call, however many chunks come.

    Args:
        plain: the socket that it replaces.
        remaining_s: returns the seconds until the deadline; zero or less once it has passed.
    """

    def __init__(self, plain: socket.socket, remaining_s: Callable[[], float]) -> None:
        super().__init__(fileno=plain.detach())
        self._remaining_s = remaining_s

    def sendall(self, *data: Any) -> None:
        """Send all of it before the deadline."""
        self._apply_deadline()
        super().sendall(*data)

    def recv_into(self, *buffer: Any) -> int:
        """Receive a chunk before the deadline."""
        self._apply_deadline()
        return super().recv_into(*buffer)

    def _apply_deadline(self) -> None:
        remaining_s = self._remaining_s()
        if remaining_s <= 0:
            raise TimeoutError("the deadline has passed")
        self.settimeout(min(remaining_s, MAX_TIMEOUT_S))


class BridgeConnection(HTTPConnection):
    """One connection to the bridge.

    Args:
        clock: of its deadlines, in seconds.
    """

    response_class = CheckedHttpResponse

    def __init__(self, *address: Any, clock: Callable[[], float], **options: Any) -> None:
        super().__init__(*address, **options)
        self._clock = clock
        self._deadline = -math.inf

    def _new_conn(self) -> socket.socket:
        return DeadlineSocket(super()._new_conn(), lambda: self._deadline - self._clock())

    def request(  # type: ignore[override]  # it takes those arguments of urllib3 that the adapter passes
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        """Send a request. Its raw target and its deadline are entries of `headers` and are not sent as such."""
        to_send = dict(headers or {})
        self._deadline = float(to_send.pop(DEADLINE))
        super().request(method, to_send.pop(TARGET), body, to_send, **options)


class BridgeConnectionPool(HTTPConnectionPool):
    """The idle connections, for reuse."""

    ConnectionCls = BridgeConnection


class BridgeAdapter(HTTPAdapter):
    """An adapter for one address. It uses no proxy, whatever the environment says.

    Args:
        url: the address of the bridge.
        clock: of the deadlines, in seconds.
        max_idle: how many idle connections are kept for reuse.
    """

    def __init__(self, url: str, clock: Callable[[], float], max_idle: int = 1) -> None:
        super().__init__()
        self._url, self._clock, self._max_idle = parse_url(url), clock, max_idle
        self._pool = self._new_pool()

    def _new_pool(self) -> BridgeConnectionPool:
        return BridgeConnectionPool(self._url.host or "", self._url.port, maxsize=self._max_idle, clock=self._clock)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: tuple[str, str] | str | None = None,
    ) -> BridgeConnectionPool:
        """The pool of this address, for every request."""
        return self._pool

    def close(self) -> None:
        """Close the idle connections. A later call opens a new one."""
        old_pool, self._pool = self._pool, self._new_pool()
        old_pool.close()
