"""What IBKR answers to an order call."""

from __future__ import annotations

from decimal import Decimal

from ibkr_bridge.translation.order_answers import read_preview, read_question, read_warnings
from tests.translation import shown


def test_a_question_has_its_texts() -> None:
    """The one that is asked for, if there are several."""
    body = b'[{"id":"a","message":["one","two"],"messageIds":["o1"]},{"id":"b","message":["three"]}]'

    first, second = read_question(body, None, None), read_question(body, "b", None)

    assert first is not None
    assert second is not None
    assert (first.id, first.texts, first.message_ids) == ("a", ["one", "two"], ["o1"])
    assert (second.texts, second.message_ids) == (["three"], [])
    assert read_question(b'[{"order_id":"1"}]', None, None) is None


def test_warnings_beside_a_placed_order_are_kept() -> None:
    """IBKR places it all the same."""
    assert read_warnings(b'[{"order_id":"1","warning_message":"thin market"}]') == ["thin market"]
    assert read_warnings(b"not json") == []


def test_the_figures_of_a_preview_are_decimals() -> None:
    """IBKR writes them as texts, some with a currency; what it writes otherwise is unknown."""
    preview = read_preview(
        {
            "amount": {"amount": "1,502.50 USD", "commission": "1 USD", "total": "1 ... 2 USD"},
            "equity": {"current": "1,000,000"},
            "warn": "21/careful",
            "error": None,
        }
    )

    assert shown(preview.amount, preview.commission, preview.total, preview.currency) == (
        Decimal("1502.5"),
        1,
        None,
        "USD",
    )
    assert shown(preview.equity_before, preview.warnings, preview.error) == (1_000_000, ["21/careful"], None)
