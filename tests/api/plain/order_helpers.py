"""What the tests of orders share: tickets, and what reached IBKR."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, Reply

ACCOUNT = "DU1234567"
MARKET = {"symbol": "MSFT", "side": "buy", "type": "market", "quantity": "2"}
FAR_LIMIT = {"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "10", "limit_price": "150.25"}
"""So far from the market that IBKR asks."""
BRACKET = {**FAR_LIMIT, "bracket": {"take_profit": "900", "stop_loss": "1"}}
CONFIRM_ALL = {"X-Bridge-Confirm": "o163,o10331,o2137,o354,o383,o451"}


async def place(harness: Harness, ticket: dict[str, Any], headers: dict[str, str] | None = None) -> Reply:
    """Place an order."""
    return await harness.post(f"/accounts/{ACCOUNT}/orders", ticket, headers=headers)


def placements(sim: Simulator) -> list[str]:
    """The bodies of the placements that reached IBKR."""
    return [call.body.decode() for call in sim.calls() if call.target.endswith(f"{ACCOUNT}/orders") and call.body]


def changes(sim: Simulator) -> list[str]:
    """The bodies of the changes that reached IBKR."""
    return [call.body.decode() for call in sim.calls(f"{ACCOUNT}/order/") if call.method == "POST"]


async def send_keyed_change(harness: Harness, order_id: str, change: dict[str, str], key: str) -> Reply:
    """Change an order with an Idempotency-Key; all questions are confirmed."""
    headers = {"Idempotency-Key": key, "X-Bridge-Confirm": "o163"}
    return await harness.request("PATCH", f"/orders/{order_id}", body=change, headers=headers)


async def place_working(harness: Harness, **extra: Any) -> dict[str, Any]:
    """Place an order that does not fill, and confirm IBKR's question."""
    reply = await place(harness, {**FAR_LIMIT, **extra}, {"X-Bridge-Confirm": "o163"})
    assert reply.json["status"] == "working", reply.json
    return dict(reply.json)
