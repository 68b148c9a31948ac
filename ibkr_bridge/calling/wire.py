"""The connection a call travels by: requests' adapter, on urllib3, on http.client, corrected for orders.

An answer that the end of the connection cut off must not pass for a whole one. http.client takes the end of the
connection for the end of a line, and so half a head for all of it; an `Answer` does not.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util import parse_url

HTTP = b"HTTP/1."  # how an answer begins


class Unfinished(http.client.HTTPException):
    """The connection ended inside a line, or before the line that ends a head.

    Args:
        begun: the first line of the answer, as much of it as came.
    """

    def __init__(self, begun: bytes) -> None:
        super().__init__("the connection ended inside a line")
        self.is_http = begun[: len(HTTP)] == HTTP[: len(begun)]


class Lines(io.BufferedReader):
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
        raise Unfinished(self._first)


class Answer(http.client.HTTPResponse):
    """One answer, its lines whole: those of its head and those between the pieces of its body."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = Lines(self.fp.detach())


class Connection(HTTPConnection):
    """One connection to the bridge."""

    response_class = Answer


class Connections(HTTPConnectionPool):
    """Those that are kept."""

    ConnectionCls = Connection


class Adapter(HTTPAdapter):
    """The road to one address; no proxy lies on it, whatever the environment says.

    Args:
        url: of the bridge.
        kept: how many connections rest here between calls.
    """

    def __init__(self, url: str, kept: int = 1) -> None:
        super().__init__()
        self._url, self._kept = parse_url(url), kept
        self._connections = self._made()

    def _made(self) -> Connections:
        return Connections(self._url.host or "", self._url.port, maxsize=self._kept)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: tuple[str, str] | str | None = None,
    ) -> Connections:
        """The connections there are."""
        return self._connections

    def close(self) -> None:
        """Let go of the connections; whoever calls again gets new ones."""
        resting, self._connections = self._connections, self._made()
        resting.close()
