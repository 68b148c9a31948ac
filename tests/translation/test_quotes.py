"""Quote snapshots and candles of IBKR as quotes and bars."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.models.quotes import QuoteKind
from ibkr_bridge.translation.quotes import FIELDS, quote_rows_in, read_history, read_quote, read_time_zone
from tests.translation import shown

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROW = {
    "conid": 265598,
    "31": "168.42",
    "84": "168.41",
    "86": "168.42",
    "85": "600",
    "88": "1,300",
    "82": "-0.1",
    "83": -0.06,
    "7762": "2640128",
    "55": "AAPL",
    "6509": "RpB",
    "_updated": 1_702_334_859_712,
}
CHART = {
    "symbol": "AAPL",
    "timePeriod": "1d",
    "volumeFactor": 40,
    "mdAvailability": "S",
    "outsideRth": False,
    "data": [{"o": 1, "h": 3, "l": Decimal("0.5"), "c": 2, "v": Decimal("1234.75"), "t": 1_702_334_800_000}],
}


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ({}, QuoteKind.LIVE),
        ({"6509": "DPB"}, QuoteKind.DELAYED),
        ({"6509": "Z"}, QuoteKind.FROZEN),
        ({"6509": "Y"}, QuoteKind.FROZEN),
        ({"6509": "N"}, QuoteKind.NONE),
        ({"31": "C168.42", "84": "-1"}, QuoteKind.CLOSED),
        ({"31": "C168.42", "6509": "D"}, QuoteKind.DELAYED),
        ({"31": "", "84": None, "86": ""}, QuoteKind.NONE),
        ({"6509": None}, QuoteKind.LIVE),
    ],
)
def test_a_quote_says_what_it_is_worth(extra: dict[str, Any], kind: QuoteKind) -> None:
    """Only a live one is not stale."""
    quote = read_quote({**ROW, **extra}, {}, NOW)

    assert quote is not None
    assert (quote.kind, quote.stale) == (kind, kind is not QuoteKind.LIVE)


def test_a_quote_has_its_figures_and_its_time() -> None:
    """Thousands are separated in IBKR's texts."""
    quote = read_quote(ROW, {}, NOW)

    assert quote is not None
    assert shown(quote.last, quote.bid_size, quote.volume) == (Decimal("168.42"), 1300, 2640128)
    assert (quote.symbol, quote.open) == ("AAPL", None)
    assert quote.as_of == datetime(2023, 12, 11, 22, 47, 39, 712000, tzinfo=UTC)


def test_a_row_without_a_contract_is_no_quote() -> None:
    """And one without a time is as old as the answer."""
    assert read_quote({"31": "1"}, {}, NOW) is None
    quote = read_quote({"conid": 1, "31": "1"}, {}, NOW)
    assert quote is not None
    assert quote.as_of == NOW


def test_a_bar_has_its_volume_in_units() -> None:
    """IBKR's figure times IBKR's factor."""
    history = read_history(CHART, None, 265598, "America/New_York", NOW)

    assert history is not None
    (bar,) = history.bars
    assert shown(bar.open, bar.high, bar.low, bar.close, bar.volume) == (1, 3, Decimal("0.5"), 2, 49390)
    assert (history.symbol, history.kind, history.time_zone) == ("AAPL", QuoteKind.LIVE, "America/New_York")


def test_bars_that_cannot_be_read_are_left_out() -> None:
    """A chart without bars is no history."""
    history = read_history({**CHART, "data": [{"o": 1}, None, *CHART["data"]]}, None, 1, None, NOW)  # type: ignore[misc]

    assert history is not None
    assert len(history.bars) == 1
    assert read_history({"error": "x"}, None, 1, None, NOW) is None


def test_the_time_zone_is_that_of_the_exchange() -> None:
    """If the schedule does not list the exchange, the first zone counts."""
    rows = [{"exchange": "IBIS", "timezone": "Europe/Berlin"}, {"exchange": "NYSE", "timezone": "America/New_York"}]

    assert read_time_zone(rows, "NYSE") == "America/New_York"
    assert read_time_zone(rows, "LSE") == "Europe/Berlin"
    assert (read_time_zone([], "NYSE"), read_time_zone({"error": 1}, None)) == (None, None)


@given(
    st.dictionaries(
        st.sampled_from([*FIELDS.values(), "conid", "55", "6509", "_updated"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_any_row_can_be_read(row: dict[str, Any]) -> None:
    """One row that cannot be read must not stop a stream for all its pages."""
    read_quote(row, {}, NOW)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"null"])
def test_an_answer_that_is_no_list_is_unknown(body: bytes) -> None:
    """It is an error of IBKR's, not an empty list."""
    assert quote_rows_in(body) is None
