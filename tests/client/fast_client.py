"""What the tests of the client share: a client whose pauses take no time, a read, and an order."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.client import BridgeClient
from tests.client.scripted_server import ScriptedServer, SleepClock, response
from tests.harness import KEY

READ, ORDER = "/portfolio/accounts", "/iserver/account/DU1234567/orders"
GOOD = response("200 OK", b"[1]", source="gateway")
SHORT_S = 0.2  # a timeout for responses that never come


def client_of(url: str, clock: SleepClock | None = None, **options: Any) -> BridgeClient:
    """A client whose pauses take no time."""
    clock = clock or SleepClock()
    return BridgeClient(url, KEY, clock=clock, sleep=clock.sleep, **options)


def request_count(server: ScriptedServer) -> int:
    """How many requests the server got."""
    return len(server.requests)
