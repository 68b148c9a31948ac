"""A log of every request that the simulator received, and a way to wait for the next one.

It shows tests what really crossed the wire. A test waits for the event that a request arrives, never for a time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OWN_AGENT = "ClientPortalGW/1"
"""The User-Agent of the calls that the Gateway makes by itself."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it arrived on the wire; `at` is the moment on the simulator's clock, in seconds."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The part after the question mark, raw."""
        return self.target.partition("?")[2]

    @property
    def is_own_call(self) -> bool:
        """Whether the Gateway made this call by itself and not for a client."""
        return self.header("User-Agent") == OWN_AGENT

    def header(self, name: str) -> str | None:
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class ChangeSignal:
    """Wakes all waiting tasks at each change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Report a change."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as `holds()` is true; it is checked now and after each change."""
        while not holds():
            await self._event.wait()


class RequestLog:
    """Every request in the order of its arrival."""

    def __init__(self) -> None:
        self._requests: list[LoggedRequest] = []
        self._changes = ChangeSignal()
        self._listeners: list[Callable[[LoggedRequest], None]] = []

    def add(self, request: LoggedRequest) -> None:
        """Append a request, wake the tasks that wait for one, and call the subscribers."""
        self._requests.append(request)
        self._changes.fire()
        for on_request in self._listeners:
            on_request(request)

    def subscribe(self, on_request: Callable[[LoggedRequest], None]) -> None:
        """Call `on_request` with each request as it arrives, before it is carried out."""
        self._listeners.append(on_request)

    def clear(self) -> None:
        """Remove all requests from the log."""
        self._requests.clear()

    def calls(self, part: str = "") -> list[LoggedRequest]:
        """The requests whose target contains `part`."""
        return [request for request in self._requests if part in request.target]

    async def wait_for_calls(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Return as soon as at least `count` requests whose target contains `part` have arrived."""
        await self._changes.wait_until(lambda: len(self.calls(part)) >= count)
        return self.calls(part)
