"""Numbers, texts and times as IBKR writes them."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.translation.numbers import (
    object_of,
    parse_body,
    rows_of,
    to_conid,
    to_date,
    to_decimal,
    to_text,
    to_time,
)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (Decimal("190.05"), "190.05"),
        (100, "100"),
        (2.0, "2"),
        (190.05, "190.05"),
        ("1,234.50", "1234.5"),
        ("C190.05", "190.05"),
        ("H12", "12"),
        ("42.1M", "42100000"),
        ("1.5K", "1500"),
        ("21.4%", "21.4"),
        ("+1.20", "1.2"),
        ("-0.5", "-0.5"),
        (".5", "0.5"),
        ("1e3", "1000"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.0000001"), "0"),
        (Decimal("0.0066815"), "0.0066815"),  # a price of a yen future
        (Decimal("109.00390625"), "109.00390625"),  # of a note, in steps of 1/256
        ("108.0078125", "108.0078125"),  # and in steps of 1/128
        (Decimal("16000.01953125"), "16000.02"),  # noise that is a fraction by chance
        (Decimal("9.999999974752427e-07"), "0.000001"),
        (Decimal("1e-999999999"), "0"),
        (Decimal("0e-999999999"), "0"),
        (Decimal("0." + "3" * 3_000_000), "0.33333333"),
        (Decimal("-0.0"), "0"),
    ],
)
def test_a_number_is_read_in_each_of_ibkrs_forms(written: object, number: str) -> None:
    """And written without an exponent, and without zeros at its end."""
    assert str(to_decimal(written)).lstrip("-" if number == "0" else "") == number


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "n/a", "1,2,3", "1.2.3", "12 34", "∞", "1e999"),
        *(True, None, [], {}, Decimal("NaN"), 10**30, float("inf")),
    ],
)
def test_what_is_no_number_is_unknown(written: object) -> None:
    """It never becomes zero."""
    assert to_decimal(written) is None


@given(st.decimals(min_value="0.01", max_value="99999", places=2))
def test_the_noise_of_a_32_bit_float_is_removed(price: Decimal) -> None:
    """IBKR writes 191.18 as 191.17999265."""
    (noisy,) = struct.unpack("<f", struct.pack("<f", float(price)))

    assert to_decimal(Decimal(f"{noisy:.8f}")) == price


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.text() | st.integers())
def test_a_number_is_finite_and_has_no_exponent(written: object) -> None:
    """Whatever IBKR sends."""
    number = to_decimal(written)

    assert number is None or (number.is_finite() and "E" not in str(number))


def test_numbers_of_a_body_stay_exact() -> None:
    """A float would change 0.1."""
    assert parse_body(b'{"a": 0.10, "b": 3}') == {"a": Decimal("0.10"), "b": 3}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"1e999999999999999999999", b"\xff"])
def test_what_is_no_json_is_unknown(body: bytes) -> None:
    """And never an exception."""
    assert parse_body(body) is None


def test_rows_and_objects_ignore_what_is_something_else() -> None:
    """A list may contain anything."""
    assert rows_of([{"a": 1}, None, 3, []]) == [{"a": 1}]
    assert (rows_of({"a": 1}), object_of([1]), object_of(None)) == ([], {}, {})


@pytest.mark.parametrize(
    ("value", "text"), [(" x ", "x"), (5, "5"), ("", None), (None, None), (True, None), ([], None)]
)
def test_a_text_is_never_empty(value: object, text: str | None) -> None:
    """A number is a text as well: IBKR sends ids in both forms."""
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("value", "conid"),
    [(265598, 265598), ("265598", 265598), ("265598@NYSE", 265598), (0, None), (-1, None), ("x", None), ("٣", None)],
)
def test_a_conid_is_a_positive_number(value: object, conid: int | None) -> None:
    """0 and -1 stand for no contract."""
    assert to_conid(value) == conid


def test_times_are_utc() -> None:
    """IBKR sends milliseconds since 1970."""
    assert to_time(1_700_000_000_000) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (to_time("x"), to_time(None), to_time(10**18)) == (None, None, None)


@pytest.mark.parametrize(
    ("value", "day"),
    [(20261218, date(2026, 12, 18)), ("20261218", date(2026, 12, 18)), ("20261399", None), (None, None)],
)
def test_dates_have_eight_digits(value: object, day: date | None) -> None:
    """An impossible date is unknown."""
    assert to_date(value) == day
