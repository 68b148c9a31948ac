"""How these tests ask: a client without real pauses, something harmless to ask for, and an order."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.client import BridgeClient
from tests.client.stranger import HandClock, Stranger, answer
from tests.harness import KEY

READ, ORDER = "/portfolio/accounts", "/iserver/account/DU1234567/orders"
GOOD = answer("200 OK", b"[1]", source="gateway")
SHORT = 0.2  # seconds; for answers that never come


def client_of(url: str, clock: HandClock | None = None, **how: Any) -> BridgeClient:
    """A client whose pauses take no time."""
    clock = clock or HandClock()
    return BridgeClient(url, KEY, clock=clock, sleep=clock.sleep, **how)


def asked(there: Stranger) -> int:
    """How often."""
    return len(there.asked)
