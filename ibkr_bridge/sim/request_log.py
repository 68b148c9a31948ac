"""What arrived where: the simulator's memory of every request, and the bell that rings when one comes.

Tests ask it what really crossed the wire. Waiting for a request is waiting for an event, never for some time to pass.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OWN_AGENT = "ClientPortalGW/1"
"""The name under which the Gateway makes calls of its own."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it stood on the wire; `at` is the simulator's clock, in seconds."""

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
        """What stands behind the question mark, raw."""
        return self.target.partition("?")[2]

    @property
    def is_own_call(self) -> bool:
        """Whether the Gateway made this call by itself, for nobody."""
        return self.header("User-Agent") == OWN_AGENT

    def header(self, name: str) -> str | None:
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class ChangeSignal:
    """Wakes everybody who waits for a change, each time there is one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Something has changed."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Come back as soon as this holds; it is looked at after each change."""
        while not holds():
            await self._event.wait()


class RequestLog:
    """Every request in the order of its arrival."""

    def __init__(self) -> None:
        self._requests: list[LoggedRequest] = []
        self._changes = ChangeSignal()
        self._listeners: list[Callable[[LoggedRequest], None]] = []

    def add(self, request: LoggedRequest) -> None:
        """Remember one more and wake whoever waits for it."""
        self._requests.append(request)
        self._changes.fire()
        for on_request in self._listeners:
            on_request(request)

    def subscribe(self, on_request: Callable[[LoggedRequest], None]) -> None:
        """Have every request told as it comes, before it is carried out."""
        self._listeners.append(on_request)

    def clear(self) -> None:
        """Forget all that came so far."""
        self._requests.clear()

    def calls(self, part: str = "") -> list[LoggedRequest]:
        """Those whose target contains `part`."""
        return [request for request in self._requests if part in request.target]

    async def wait_for_calls(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Come back as soon as at least `count` requests containing `part` have arrived."""
        await self._changes.wait_until(lambda: len(self.calls(part)) >= count)
        return self.calls(part)
