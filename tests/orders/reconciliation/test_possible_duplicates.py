"""Whether a new placement could be the same order as one whose outcome is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.reconciliation.possible_duplicates import may_be_same_order, similarity

BUY = {"conid": 8, "side": "BUY"}


def record_of(*tickets: dict[str, Any]) -> OrderRecord:
    """A placement of these tickets."""
    return OrderRecord("a", OrderOperation.PLACE, match_criteria=similarity(tickets))


@pytest.mark.parametrize(
    ("ticket", "is_same_order"),
    [
        (BUY, True),
        ({**BUY, "quantity": 5, "price": 3, "cOID": "other"}, True),  # the caller may have corrected it
        ({"conid": "8", "side": "buy"}, True),
        ({"conid": "8@SMART", "side": "B"}, True),
        ({"conidex": "8@NYSE", "side": "BUY"}, True),
        ({"side": "BUY"}, True),  # its contract cannot be read
        ({"conid": 8}, True),
        ({"conid": 8, "side": "SELL"}, False),
        ({"conid": 9, "side": "BUY"}, False),
        ({"conidex": "28812380;;;8/1,9/-1", "side": "BUY"}, False),
    ],
)
def test_the_same_order_has_the_same_contract_and_side(ticket: dict[str, Any], is_same_order: bool) -> None:
    """What cannot be read counts as the same."""
    assert may_be_same_order(record_of(BUY), [ticket]) is is_same_order


def test_two_combinations_may_be_the_same() -> None:
    """Their legs may be written in any order."""
    record = record_of({"conidex": "28812380;;;8/1,9/-1", "side": "BUY"})

    assert may_be_same_order(record, [{"conidex": "28812380;;;9/-1,8/1", "side": "BUY"}])
    assert not may_be_same_order(record, [{"conidex": "28812380;;;9/-1,8/1", "side": "SELL"}])


def test_one_common_ticket_of_a_bracket_is_enough() -> None:
    """A bracket is one placement of several tickets."""
    bracket = [BUY, {"conid": 8, "side": "SELL"}]

    assert may_be_same_order(record_of(*bracket), [{"conid": 8, "side": "SELL"}])
    assert may_be_same_order(record_of({"conid": 8, "side": "SELL"}), bracket)
    assert not may_be_same_order(record_of({"conid": 9, "side": "SELL"}), bracket)


@pytest.mark.parametrize("criteria", [{}, {"alike": []}, {"alike": "x"}, {"alike": [1]}])
def test_an_order_without_stored_criteria_may_be_the_same_as_any(criteria: dict[str, Any]) -> None:
    """The entry may come from an older version, or it may be damaged."""
    assert may_be_same_order(OrderRecord("a", OrderOperation.PLACE, match_criteria=criteria), [BUY])


def test_a_body_with_unreadable_tickets_may_be_the_same_as_any_order() -> None:
    """What such a body orders is unknown, so it must wait."""
    assert may_be_same_order(record_of(BUY), [])
