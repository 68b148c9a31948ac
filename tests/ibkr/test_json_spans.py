"""Splitting JSON into parts with the exact characters that IBKR sent."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr.json_spans import element_spans, elements, join_array, member_spans, members


def test_parts_keep_their_characters() -> None:
    """Re-encoding could change a number."""
    assert [text for _, text in elements(' [ 1.10 , {"a" : 2e0} ,"x"] ')] == ["1.10", '{"a" : 2e0}', '"x"']
    assert {name: text for name, (_, text) in members('{"a": 1.10, "b":[ ]}').items()} == {"a": "1.10", "b": "[ ]"}


def test_the_last_of_a_repeated_name_counts_and_all_have_spans() -> None:
    """As in Python's own parser."""
    text = '{"a":1,"a":2}'

    assert members(text) == {"a": (2, "2")}
    assert [(span.name, text[span.start : span.end]) for span in member_spans(text)] == [("a", "1"), ("a", "2")]


def test_an_array_can_begin_inside_a_text() -> None:
    """The spans are positions in the complete text."""
    text = '{"orders":[1,22]}'

    assert [text[span.start : span.end] for span in element_spans(text, 10)] == ["1", "22"]


@pytest.mark.parametrize("texts", [[], ["1.10"], ["1", "[]", '{"a":1}']])
def test_joined_parts_split_into_the_same_parts(texts: list[str]) -> None:
    """Their texts are unchanged."""
    assert [text for _, text in elements(join_array(texts))] == texts


@pytest.mark.parametrize("text", ["", "{}", "[1", "[1 2]", "[,]"])
def test_a_text_that_is_not_an_array_is_an_error(text: str) -> None:
    """Nothing is repaired."""
    with pytest.raises(ValueError, match=r".*"):
        elements(text)
