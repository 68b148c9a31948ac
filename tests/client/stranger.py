"""Whatever may answer where the bridge should be: a socket that says what a test tells it, byte for byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

PATIENCE = 10.0  # seconds of real time after which a test gives up
OURS = b"X-Bridge-Mode: paper\r\nX-Bridge-Source: bridge\r\nConnection: close\r\n"
STRANGE = (  # what other programs say
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 400 Bad Request\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
)
Said = bytes | Callable[[], Iterable[bytes]]  # at once, or in pieces
HANG = b"<the answer goes no further, and the connection stays>"


def answer(status: str, body: bytes, *headers: str, source: str = "bridge") -> bytes:
    """A whole answer as the bridge frames it."""
    ours = OURS.replace(b"Source: bridge", f"Source: {source}".encode())
    lines = "".join(f"{header}\r\n" for header in headers).encode()
    return b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (status.encode(), ours, lines, len(body), body)


def problem(code: str, status: str, *headers: str, retryable: bool = False) -> bytes:
    """One of the bridge's own refusals."""
    body = f'{{"code":"{code}","detail":"it was so","hint":"do this","retryable":{str(retryable).lower()}}}'
    return answer(status, body.encode(), "Content-Type: application/problem+json", *headers)


class Stranger:
    """What answers, and what it was asked. Each connection gets the next answer; the last one is for all others."""

    def __init__(self, *answers: Said) -> None:
        self._answers = list(answers)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.asked: list[bytes] = []
        self.sent: list[Said] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        with ExitStack() as hung:
            while not self._stopped.is_set():
                connection, _ = self._listening.accept()
                connection.settimeout(PATIENCE)
                with ExitStack() as doors, suppress(OSError):
                    doors.enter_context(connection)
                    if self._talk(connection):
                        hung.push(doors.pop_all())

    def _talk(self, connection: socket.socket) -> bool:
        """One question and its answer; whether the connection stays."""
        asked = self._request(connection)
        if not asked:
            return False
        self.asked.append(asked)
        said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.sent.append(said)
        chunk = b""
        for chunk in (said,) if isinstance(said, bytes) else said():
            connection.sendall(chunk.removesuffix(HANG))
        return chunk.endswith(HANG)

    def _request(self, connection: socket.socket) -> bytes:
        read = b""
        while b"\r\n\r\n" not in read:
            if not (chunk := connection.recv(65536)):
                return b""
            read += chunk
        head, _, body = read.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length and (chunk := connection.recv(65536)):
            body += chunk
        return head + b"\r\n\r\n" + body

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End; whoever still hangs is let go."""
        self._stopped.set()
        with socket.create_connection(self._listening.getsockname()):
            pass  # so that `accept` comes back
        self._thread.join(PATIENCE)
        self._listening.close()


@contextmanager
def stranger(*answers: Said) -> Iterator[Stranger]:
    """Something that answers so."""
    at_work = Stranger(*answers)
    at_work.start()
    try:
        yield at_work
    finally:
        at_work.stop()


class HandClock:
    """Time that passes only while somebody sleeps, and at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it be later."""
        self.slept.append(seconds)
        self.now += seconds


def slowly(clock: HandClock, seconds: float, *pieces: bytes) -> Callable[[], Iterator[bytes]]:
    """An answer in pieces, each so much later than the one before."""

    def come() -> Iterator[bytes]:
        for chunk in pieces:
            clock.now += seconds
            yield chunk

    return come
