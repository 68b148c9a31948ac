"""HTTP/1.1 as the Gateway reads it: the head of a request, byte by byte, within its limits. Pure, no socket.

The limits are those of the real program: 4096 bytes for the request line, 8192 for all header lines together, counted
without the line ends. Beyond the first it answers in HTTP/1.0, beyond either it closes the connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_REQUEST_LINE_BYTES = 4096
MAX_HEADER_BYTES = 8192

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"})

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Head:
    """A request's head; text is Latin-1, as on the wire."""

    method: str
    target: str
    version: str
    headers: Headers

    def get(self, name: str) -> str | None:
        """The first header of that name, or None."""
        return first_header(self.headers, name)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "chunked" in (self.get("Transfer-Encoding") or "").lower()

    @property
    def content_length(self) -> int:
        """The body's announced length, in bytes."""
        return int(self.get("Content-Length") or 0)

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection stays open after the response."""
        connection = (self.get("Connection") or "").lower()
        return "keep-alive" in connection if self.version == "HTTP/1.0" else "close" not in connection


@dataclass(frozen=True)
class Refusal:
    """The bytes that answer a head which cannot be read, before the connection is closed."""

    response: bytes


TOO_LONG = Refusal(b"HTTP/1.0 414 Request-URI Too Long\r\n\r\n")
TOO_MANY_HEADERS = Refusal(b"HTTP/1.1 400 Bad Request\r\n\r\n")
UNREADABLE = Refusal(b"")


def first_header(headers: Headers, name: str) -> str | None:
    """The first header of that name, whatever its case."""
    return next((value for key, value in headers if key.lower() == name.lower()), None)


def parse_head(buffer: bytes) -> tuple[Head, int] | Refusal | None:
    """Read one head from the start of the buffer.

    Returns:
        The head and the number of bytes it took; a refusal; or None if more bytes are needed.
    """
    lead = len(buffer) - len(buffer.lstrip(b"\r\n"))
    line_end = buffer.find(b"\n", lead)
    line = buffer[lead : line_end if line_end >= 0 else len(buffer)].rstrip(b"\r")
    if len(line) > MAX_REQUEST_LINE_BYTES:
        return TOO_LONG
    if line_end < 0:
        return None
    request = _parse_request_line(line)
    if request is None:
        return UNREADABLE
    lines = _split_header_lines(buffer, line_end + 1)
    if lines is None or isinstance(lines, Refusal):
        return lines
    headers, end = _parse_headers(lines[0]), lines[1]
    head = Head(*request, headers)
    return (head, end) if re.fullmatch(r"[0-9]{1,15}", head.get("Content-Length") or "0") else UNREADABLE


def _parse_request_line(line: bytes) -> tuple[str, str, str] | None:
    words = line.decode("latin-1").split()
    if len(words) != 3 or not re.fullmatch(r"HTTP/1\.[01]", words[2]):
        return None
    return words[0], words[1], words[2]


def _split_header_lines(buffer: bytes, start: int) -> tuple[list[bytes], int] | Refusal | None:
    lines: list[bytes] = []
    size, at = 0, start
    while (end := buffer.find(b"\n", at)) >= 0:
        line = buffer[at:end].rstrip(b"\r")
        at = end + 1
        if not line:
            return lines, at
        lines.append(line)
        size += len(line)
        if size > MAX_HEADER_BYTES:
            return TOO_MANY_HEADERS
    return TOO_MANY_HEADERS if size + len(buffer) - at > MAX_HEADER_BYTES else None


def _parse_headers(lines: list[bytes]) -> Headers:
    headers: list[tuple[str, str]] = []
    for line in lines:
        text = line.decode("latin-1")
        name, colon, value = text.partition(":")
        if text[0] in " \t" and headers:  # a folded line continues the line before
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {text.strip()}")
        elif colon and name.strip():  # a line without a colon is ignored
            headers.append((name.strip(), value.strip(" \t")))
    return tuple(headers)


def encode_head(start: str, headers: Headers) -> bytes:
    """Return a head as bytes; `start` is its first line."""
    lines = (start, *(f"{name}: {value}" for name, value in headers), "", "")
    return "\r\n".join(lines).encode("latin-1", "replace")


def encode_chunk(piece: bytes) -> bytes:
    """Return one chunk of a chunked body; an empty piece ends the body."""
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
