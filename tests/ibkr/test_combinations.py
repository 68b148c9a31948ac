"""Combinations of contracts, and the ratios of their legs."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.ibkr.combinations import units_per_quantity


@pytest.mark.parametrize(
    ("conidex", "units"),
    [
        (265598, 1),
        ("265598", 1),
        ("265598@NASDAQ", 1),
        ("28812380;;;265598/1,8314/-1", 1),
        ("28812380;;;265598/-3,8314/2", 3),
        ("28812380@SMART;;;265598/1,8314/12", 12),
        ("28812380;;;265598@CBOE/1,8314/12@CBOE", 12),
        ("28812380;;;265598/1, 8314/+5", 5),
        ("28812380;;;265598/1.5", "1.5"),
        ("28812380;;;265598/0", 1),
        ("28812380;;;265598/6,265598/6", 12),
        ("28812380;;;265598/4,8314/5,265598/-3", 7),
        ("28812380;;;265598@CBOE/2,265598@AMEX/2,0265598/2@SMART", 6),
    ],
)
def test_the_largest_ratio_of_a_contract_counts(conidex: object, units: object) -> None:
    """Whichever sign it has, and in how many legs; a single contract is one unit."""
    assert units_per_quantity(conidex) == Decimal(str(units))


@pytest.mark.parametrize(
    "conidex",
    [
        *("", "AAPL", "28812380;;265598/2", "28812380;;;", "28812380;;;265598", "28812380;;;265598/", "x;;;265598/2"),
        *("28812380;;;265598/2,", "28812380;;;265598/2;8314/9", "28812380;;;265598/2/3", "28812380;;;265598/--2"),
        *("28812380;;;265598/1e9", "28812380;;;265598/\u0662", "28812380;;;265598/NaN"),
        *(None, True, [265598], {"legs": []}, Decimal("1.5")),
    ],
)
def test_what_cannot_be_read_has_no_known_size(conidex: object) -> None:
    """A limit then refuses it."""
    assert units_per_quantity(conidex) is None


@given(st.text(alphabet="0123456789;/,@-+. A", max_size=40))
def test_no_text_has_less_than_one_unit(text: str) -> None:
    """No text crashes the parser, and none makes an order smaller than its quantity."""
    units = units_per_quantity(text)

    assert units is None or units >= 1
