"""Split JSON into parts without re-encoding: each part keeps the exact characters that IBKR sent. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

BLANK = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()
Part = tuple[object, str]
"""A parsed value and its text."""


@dataclass(frozen=True)
class Span:
    """A value inside a text, with its start and end. `name` is that of a member, `""` for an element."""

    name: str
    value: object
    start: int
    end: int


def elements(text: str) -> list[Part]:
    """The parts of an array.

    Raises:
        ValueError: the text is not an array.
    """
    return [(span.value, text[span.start : span.end]) for span in element_spans(text)]


def members(text: str) -> dict[str, Part]:
    """The parts of an object by name. The last of a repeated name counts.

    Raises:
        ValueError: the text is not an object.
    """
    return {span.name: (span.value, text[span.start : span.end]) for span in member_spans(text)}


def element_spans(text: str, at: int = 0) -> Iterator[Span]:
    """The spans of the elements of an array.

    Args:
        text: any text.
        at: where the array begins in it.

    Raises:
        ValueError: no array begins there.
    """
    at = _skip_open_bracket(text, "[", at)
    while text[at : at + 1] != "]":
        value, end = DECODER.raw_decode(text, at)
        yield Span("", value, at, end)
        at = _skip_comma(text, end, "]")


def member_spans(text: str) -> Iterator[Span]:
    """The spans of the values of an object, those of repeated names included.

    Raises:
        ValueError: the text is not an object.
    """
    at = _skip_open_bracket(text, "{")
    while text[at : at + 1] != "}":
        name, end = DECODER.raw_decode(text, at)
        colon = _skip_blank(text, end)
        if not isinstance(name, str) or text[colon : colon + 1] != ":":
            raise ValueError("a member has no name")
        at = _skip_blank(text, colon + 1)
        value, end = DECODER.raw_decode(text, at)
        yield Span(name, value, at, end)
        at = _skip_comma(text, end, "}")


def join_array(texts: list[str]) -> str:
    """Join the texts of values into the text of an array."""
    return f"[{','.join(texts)}]"


def _skip_open_bracket(text: str, bracket: str, at: int = 0) -> int:
    at = _skip_blank(text, at)
    if text[at : at + 1] != bracket:
        raise ValueError(f"{bracket} expected")
    return _skip_blank(text, at + 1)


def _skip_comma(text: str, end: int, closing: str) -> int:
    at = _skip_blank(text, end)
    if text[at : at + 1] == closing:
        return at
    if text[at : at + 1] != ",":
        raise ValueError("comma expected")
    return _skip_blank(text, at + 1)


def _skip_blank(text: str, at: int) -> int:
    match = BLANK.match(text, at)
    return match.end() if match else at
