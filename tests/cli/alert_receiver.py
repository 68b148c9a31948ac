"""A service that takes alerts as JSON, for the tests of the commands."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TIMEOUT_S = 20.0  # real time after which a test fails


class Receiver(ThreadingHTTPServer):
    """A running service, and what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        self._received: queue.Queue[dict[str, Any]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        """In the form of Apprise."""
        return f"json://127.0.0.1:{self.server_port}/secret-token"

    @property
    def ping_address(self) -> str:
        """Of the dead man's switch."""
        return f"http://127.0.0.1:{self.server_port}/ping"

    def put(self, body: dict[str, Any]) -> None:
        """Add what came."""
        self._received.put(body)

    def next(self, title: str) -> dict[str, Any]:
        """The next message whose title contains a text; those before it are dropped."""
        while True:
            body = self._received.get(timeout=TIMEOUT_S)
            if title in body["title"]:
                return body


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        """A message."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.server.put(body)

    def do_GET(self) -> None:
        """The dead man's switch."""
        self.send_response(200)
        self.end_headers()
        self.server.put({"title": self.path})

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A running service."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
