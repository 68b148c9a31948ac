"""Orders of the journal as the plain API shows them."""

from __future__ import annotations

import pytest

from ibkr_bridge.api.plain.journal import is_number
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import Harness, Placement


@pytest.mark.parametrize(
    ("order_id", "expected"), [("1000000001", True), ("", False), ("-1", False), ("١", False), ("9" * 19, False)]
)
def test_only_digits_are_a_number_of_ibkrs(order_id: str, expected: bool) -> None:
    """Every other id is one of the bridge's."""
    assert is_number(order_id) is expected


async def test_an_order_is_found_by_ibkrs_number_too(harness: Harness) -> None:
    """It is the same order."""
    order = Placement()
    reply = await harness.post(order.target, order.body)
    name, number = reply.headers["X-Bridge-Order"], reply.json[0]["order_id"]

    by_name, by_number = (await harness.get(f"/orders/{name}")).json, (await harness.get(f"/orders/{number}")).json

    assert by_name["id"] == by_number["id"] == name
    assert by_name["order_id"] == str(number)


async def test_a_question_survives_no_restart(open_harness: OpenHarness, sim: Simulator) -> None:
    """The bridge declines it then, and the order says so."""
    harness = await open_harness()
    ticket = {"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "1", "limit_price": "150"}
    order = (await harness.post("/accounts/DU1234567/orders", ticket)).json
    await harness.finish()

    restarted = await open_harness()
    shown = (await restarted.get(f"/orders/{order['id']}")).json

    assert (order["state"], shown["state"], shown["question"]) == ("question", "not_placed", None)
    assert (shown["symbol"], shown["limit_price"]) == ("AAPL", "150")
