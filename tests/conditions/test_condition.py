"""The kinds of conditions and how their texts are written."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest

from ibkr_bridge.conditions.condition import KINDS, Found, Severity, write_condition

AT = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)


def test_a_condition_has_the_texts_of_its_kind() -> None:
    """Filled with what was found."""
    condition = write_condition(Found("penalty_box", values={"seconds": 7}), "main", AT, None)

    assert (condition.text, condition.severity, condition.since) == (
        "IBKR refuses every call for another 7 s",
        "critical",
        AT,
    )
    assert condition.stops
    assert condition.line == f"penalty_box: {condition.text}; {condition.do}"


def test_the_page_for_signing_in_is_named_where_a_person_has_to_sign_in() -> None:
    """Nowhere else: a link invites to follow it."""
    url = "https://127.0.0.1:5000"
    with_url = [name for name in KINDS if write_condition(Found(name, values=_Any()), "main", AT, url).url == url]

    assert with_url == ["signed_out"]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_text_is_a_short_sentence_without_an_end(name: str) -> None:
    """Surfaces join it to other texts."""
    kind = KINDS[name]

    assert kind.text == kind.text.rstrip(". ") and kind.do == kind.do.rstrip(". ")
    assert len(kind.text) < 120 and len(kind.do) < 130
    assert {part for _, part, _, _ in string.Formatter().parse(kind.text + kind.do) if part} <= PLACES


PLACES = {
    *("reason", "free_mib", "problems", "names", "wanted", "mode", "ghost_calls", "hint", "losses", "until", "at"),
    *("seconds", "paths", "by", "since", "problem", "count", "them", "side"),
}


def test_the_most_important_severity_has_the_first_rank() -> None:
    """Surfaces sort by it."""
    assert [each.rank for each in (Severity.CRITICAL, Severity.WARNING, Severity.NOTICE)] == [0, 1, 2]


class _Any(dict[str, object]):
    """Fills every place of a template."""

    def __missing__(self, _: str) -> str:
        return "x"


@pytest.mark.parametrize("name", sorted(KINDS))
def test_without_a_gateway_no_text_sends_a_person_to_one(name: str) -> None:
    """Where the bridge signs in itself, there is no Gateway to start, and nobody has to sign in."""
    written = write_condition(Found(name, values=_Any(), is_alone=True), "main", AT, "https://127.0.0.1:5000")

    assert written.url is None
    assert name == "gateway_stuck" or "Gateway" not in f"{written.text} {written.do}"
