"""How a client requests a topic on the socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, parse_request, read_texts


@pytest.mark.parametrize(
    ("text", "topic", "target", "form"),
    [
        ('smd+265598+{"fields":["31"]}', "smd", "265598", {"fields": ["31"]}),
        ("umd+265598+{}", "umd", "265598", {}),
        ("sor+{}", "sor", "", {}),
        ("sor", "sor", "", {}),
        ("sbd+DU1+265598+ARCA", "sbd", "DU1+265598+ARCA", {}),
        ("ubd+DU1+", "ubd", "DU1", {}),
        ("", "", "", {}),
    ],
)
def test_target_and_form_may_be_left_out(text: str, topic: str, target: str, form: object) -> None:
    """Some clients leave out one of them, some the other."""
    assert parse_request(text) == FeedRequest(topic, target, form)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["smd+1+{", "smd+1+{]", "smd+1+{}}", 'smd+1+{"a":' + "[" * 100_000])
def test_a_form_that_is_no_json_is_no_request(text: str) -> None:
    """IBKR does not answer it, and the parser does not raise."""
    assert parse_request(text) is None


def test_responses_are_named_after_topic_and_target() -> None:
    """A client distinguishes them by this name."""
    assert FeedRequest("smd", "1", {}).name == "smd+1"
    assert FeedRequest("sor", "", {}).name == "sor"


@pytest.mark.parametrize("value", [None, "31", {"a": 1}, 7])
def test_a_value_that_is_no_array_counts_as_an_empty_one(value: object) -> None:
    """Numbers in an array count as texts."""
    assert read_texts(value) == []
    assert read_texts([31, "84"]) == ["31", "84"]


@given(some.text())
def test_no_message_crashes_the_parser(text: str) -> None:
    """It returns a request or None."""
    value = parse_request(text)

    assert value is None or isinstance(value.form, dict)
