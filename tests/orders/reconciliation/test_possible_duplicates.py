"""Whether a new placement could be the same order as one whose outcome is unknown."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.reconciliation.possible_duplicates import (
    may_be_row_of,
    may_be_same_order,
    may_concern_same_account,
    similarity,
    templates_of,
)

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
        ({"conidex": "28812380;;;8/2@SMART", "side": "BUY"}, True),  # a combination of this contract alone
        ({"conidex": "28812380;;;9/2", "side": "BUY"}, False),
        ({"conid": Decimal("8.00"), "side": "BUY"}, True),
        ({"conid": "0008", "side": "BUY"}, True),
        ({"conid": "+8", "side": "BUY"}, True),
        ({"conid": " 8. ", "side": "BUY"}, True),
        ({"conid": "8e0", "side": "BUY"}, True),
        ({"conid": "0x8", "side": "BUY"}, True),  # unreadable
        ({"conid": True, "side": "BUY"}, True),
        ({"conid": "9.0", "side": "BUY"}, False),
        ({"conid": 9, "conidex": "8@CBOE", "side": "BUY"}, True),  # IBKR may take either
        ({"conid": 9, "secType": "8:STK", "side": "BUY"}, True),
        ({"conid": 9, "secType": "STK", "side": "BUY"}, False),
        ({"conid": 9, "secType": "9:STK", "side": "BUY"}, False),
        ({"conid": "15e-1", "side": "BUY"}, True),  # unreadable
        ({"conid": -1, "side": "BUY"}, True),  # stands for no contract
        ({"conid": 0, "side": "BUY"}, True),
        ({"conid": 1, "side": "BUY"}, False),
        ({"conid": 9, "ConID": 8, "side": "BUY"}, True),
        ({"conid": 0, "conidex": "9", "side": "BUY"}, False),
        ({"conid": 8, "side": " Buy\t"}, True),
        ({"conid": 8, "side": "BOT"}, True),
        ({"conid": 8, "side": "LONG"}, True),
        ({"conid": 8, "side": 1}, True),
        ({"conid": 8, "side": " sld "}, False),
        ({"conid": 8, "side": "SELL", "Side": "BUY"}, True),
    ],
)
def test_the_same_order_has_the_same_contract_and_side(ticket: dict[str, Any], is_same_order: bool) -> None:
    """What cannot be read counts as the same."""
    assert may_be_same_order(record_of(BUY), [ticket]) is is_same_order
    assert may_be_same_order(record_of(ticket), [BUY]) is is_same_order


@pytest.mark.parametrize(
    ("stored", "is_same_order"),
    [({"conid": "8.0", "side": " buy"}, True), ({"conid": "8@NYSE", "side": "BUY"}, True), ({"conid": "9"}, False)],
)
def test_an_entry_of_an_older_version_is_read_in_the_same_way(stored: dict[str, str], is_same_order: bool) -> None:
    """Its contract was stored as the caller wrote it."""
    record = OrderRecord("a", OrderOperation.PLACE, match_criteria={"alike": [stored]})

    assert may_be_same_order(record, [BUY]) is is_same_order


@pytest.mark.parametrize(
    ("row", "is_possible"),
    [
        ({"conid": 8, "side": "B"}, True),
        ({"conid": 8, "side": "BUY"}, True),
        ({"conid": 8}, True),
        ({"side": "BUY"}, True),
        ({"conid": 8, "side": "S"}, False),
        ({"conid": 9, "side": "B"}, False),
    ],
)
def test_a_row_of_ibkrs_lists_may_be_the_order_however_its_ticket_was_written(
    row: dict[str, object], is_possible: bool
) -> None:
    """Else the order would be called `not_placed` although IBKR lists it."""
    (template,) = templates_of(record_of({"conid": Decimal("8.0"), "side": " buy"}))

    assert may_be_row_of(row, template) is is_possible


@pytest.mark.parametrize(
    ("path", "others", "accounts", "is_same"),
    [
        ("DU1", (), {"DU1"}, True),
        ("DU1", (), {"du1"}, True),
        ("DU1", (), {"DU2"}, False),
        ("DU1", (), {"DU2", "DU1"}, True),  # the ticket names another one than the path
        ("DU2", ("DU1",), {"DU1"}, True),
        ("DU2", ("DU1",), {"DU3"}, False),
        ("DU1", (), {"All"}, True),
        ("DU1", (), {"DU2", "My Group"}, True),
        ("All", (), {"DU2"}, True),
        (None, (), {"DU2"}, True),
        ("DU1", (), {None, "DU2"}, True),
        ("DU1", (), set(), True),
        ("DU1", tuple(f"DU{number}" for number in range(30, 60)), {"DU2"}, True),  # too many to be stored
        ("U1234567", ("F7654321X",), {"f7654321x"}, True),
    ],
)
def test_every_account_that_a_call_names_counts(
    path: str | None, others: tuple[str, ...], accounts: set[str | None], is_same: bool
) -> None:
    """Groups stand for every account."""
    record = OrderRecord("a", OrderOperation.PLACE, account=path, match_criteria=similarity([BUY], others))

    assert may_concern_same_account(record, accounts) is is_same


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=30) | st.decimals() | st.integers(), st.lists))
def test_no_value_of_a_ticket_makes_the_comparison_raise(value: object) -> None:
    """Callers write what they like."""
    for name in ("conid", "conidex", "secType", "side"):
        ticket = {**BUY, name: value}
        assert may_be_same_order(record_of(ticket), [ticket])
        assert json.dumps(similarity([ticket]))


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
