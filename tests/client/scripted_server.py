"""A scripted server in place of the bridge: it sends the bytes that a test gives it, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

TIMEOUT_S = 10.0  # real time after which a test fails
BRIDGE_HEADERS = b"X-Bridge-Mode: paper\r\nX-Bridge-Source: bridge\r\nConnection: close\r\n"
OTHER_PROGRAMS = (  # responses of other programs
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 400 Bad Request\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
)
Script = bytes | Callable[[], Iterable[bytes]]  # a response at once, or in chunks
HANG = b"<nothing more is sent, and the connection stays open>"


def response(status: str, body: bytes, *headers: str, source: str = "bridge") -> bytes:
    """A complete response as the bridge frames it."""
    bridge_headers = BRIDGE_HEADERS.replace(b"Source: bridge", f"Source: {source}".encode())
    lines = "".join(f"{header}\r\n" for header in headers).encode()
    return b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
        status.encode(),
        bridge_headers,
        lines,
        len(body),
        body,
    )


def problem(code: str, status: str, *headers: str, retryable: bool = False) -> bytes:
    """A refusal of the bridge itself."""
    body = f'{{"code":"{code}","detail":"it was so","hint":"do this","retryable":{str(retryable).lower()}}}'
    return response(status, body.encode(), "Content-Type: application/problem+json", *headers)


class ScriptedServer:
    """The server and the requests it got. Each connection gets the next response; the last one is for all others."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.requests: list[bytes] = []
        self.sent: list[Script] = []

    @property
    def url(self) -> str:
        """The address on which it listens."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        with ExitStack() as kept_open:
            while not self._stopped.is_set():
                connection, _ = self._listening.accept()
                connection.settimeout(TIMEOUT_S)
                with ExitStack() as stack, suppress(OSError):
                    stack.enter_context(connection)
                    if self._serve_one(connection):
                        kept_open.push(stack.pop_all())

    def _serve_one(self, connection: socket.socket) -> bool:
        """Read one request and send the next response. Returns whether the connection stays open."""
        request = self._read_request(connection)
        if not request:
            return False
        self.requests.append(request)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        self.sent.append(script)
        chunk = b""
        for chunk in (script,) if isinstance(script, bytes) else script():
            connection.sendall(chunk.removesuffix(HANG))
        return chunk.endswith(HANG)

    def _read_request(self, connection: socket.socket) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received:
            if not (chunk := connection.recv(65536)):
                return b""
            received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length and (chunk := connection.recv(65536)):
            body += chunk
        return head + b"\r\n\r\n" + body

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and close the connections that stayed open."""
        self._stopped.set()
        with socket.create_connection(self._listening.getsockname()):
            pass  # so that `accept` returns
        self._thread.join(TIMEOUT_S)
        self._listening.close()


@contextmanager
def scripted_server(*scripts: Script) -> Iterator[ScriptedServer]:
    """A running server with these responses."""
    server = ScriptedServer(*scripts)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class SleepClock:
    """A clock that moves only when somebody sleeps; the sleep itself takes no time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the clock forward."""
        self.slept.append(seconds)
        self.now += seconds


def send_slowly(clock: SleepClock, interval_s: float, *chunks: bytes) -> Callable[[], Iterator[bytes]]:
    """A response in chunks; the clock moves by the interval before each."""

    def script() -> Iterator[bytes]:
        for chunk in chunks:
            clock.now += interval_s
            yield chunk

    return script
