"""IBKR's numbers, texts and times as plain values. Pure.

IBKR writes one price as a float with noise (`191.17999265`), as text with separators (`"1,234.50"`), or with a letter
in front (`"C190.05"`). What cannot be read is None, never zero.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

PLACES = Decimal("0.00000001")  # two-year notes have steps of 1/256 dollar, yen futures of 0.0000005
SMALL_PLACES = Decimal("0.000001")  # of a number below that, which would be written as 1E-7 with more
NOISE_PLACES = range(7, 31)  # IBKR's prices are 32-bit floats, written with eight places or with all of a double
FLOAT_DIGITS = 7  # of a decimal that a 32-bit float can hold
MAX_ABSOLUTE = Decimal(10) ** 18
NUMBER = re.compile(r"[A-Z]?([+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[+-]?\d*\.?\d+(?:[eE][+-]?\d{1,2})?)\s*([KMB%]?)")
FACTORS = {"": Decimal(1), "%": Decimal(1), "K": Decimal(10) ** 3, "M": Decimal(10) ** 6, "B": Decimal(10) ** 9}
Row = Mapping[str, Any]


def parse_body(body: bytes) -> object:
    """Parse a body as JSON, with exact numbers; None if it is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def rows_of(value: object) -> list[Row]:
    """The objects in a list; none if it is not a list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def object_of(value: object) -> Row:
    """An object; an empty one if it is something else."""
    return value if isinstance(value, dict) else {}


def to_decimal(value: object) -> Decimal | None:
    """A number or a text with a number; None if it is neither, or not finite."""
    number = to_exact(value)
    return plain(number) if number is not None else None


def to_exact(value: object) -> Decimal | None:
    """The same with all its places; it may be written with an exponent."""
    number = _exact(value)
    if number is None or not number.is_finite() or abs(number) > MAX_ABSOLUTE:
        return None
    return _without_noise(number) if abs(number) >= PLACES else Decimal(0)


def _exact(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, float):  # of a stream, which is parsed without regard to digits
        return Decimal(repr(value))
    match = NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        return Decimal(match[1].replace(",", "")) * FACTORS[match[2]]
    except InvalidOperation:
        return None


def _without_noise(number: Decimal) -> Decimal:
    """The shortest decimal that is the same 32-bit float; the number itself if it is no such float."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent not in NOISE_PLACES:
        return number
    single = _single(float(number))
    if single is None or abs(Decimal(single) - number) > Decimal(1).scaleb(exponent):
        return number
    texts = (f"{single:.{digits}g}" for digits in range(1, 10))
    decimal = next((Decimal(text) for text in texts if _single(float(text)) == single), number)
    is_fraction = number == Decimal(single) and len(decimal.as_tuple().digits) > FLOAT_DIGITS
    return number if is_fraction else decimal  # 109.00390625 is 109 1/256, and no noise


def _single(number: float) -> float | None:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return None


def plain(number: Decimal) -> Decimal:
    """The same number without zeros at its end, in a form that is written without an exponent."""
    places = PLACES if abs(number) >= SMALL_PLACES else SMALL_PLACES
    rounded = number.quantize(places).normalize() if abs(number) < 10**12 else number.to_integral_value()
    return rounded.quantize(Decimal(1)) if rounded == rounded.to_integral_value() else rounded


def to_text(value: object) -> str | None:
    """A text that is not empty; a number as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return str(value).strip() or None


def to_conid(value: object) -> int | None:
    """A contract id; None if it is none."""
    text = (to_text(value) or "").partition("@")[0].partition(".")[0]
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:19]) <= 10**12 else None


def to_time(milliseconds: object) -> datetime | None:
    """A time in UTC, from milliseconds since 1970; None if it is none."""
    number = to_decimal(milliseconds)
    try:
        return datetime.fromtimestamp(float(number) / 1000, UTC) if number else None
    except (ValueError, OverflowError, OSError):
        return None


def to_date(value: object) -> date | None:
    """A date such as `20261218`; None if it is none."""
    text = (to_text(value) or "").replace("-", "")
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
