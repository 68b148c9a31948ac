"""JSON taken apart without being written anew: each part keeps the very characters IBKR sent. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

BLANK = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()
Part = tuple[object, str]
"""A value, and its text."""


@dataclass(frozen=True)
class Span:
    """A value inside a text, and where it stands there; `name` is a member's, `""` an element's."""

    name: str
    value: object
    start: int
    end: int


def elements(text: str) -> list[Part]:
    """The parts of an array.

    Raises:
        ValueError: it is none.
    """
    return [(span.value, text[span.start : span.end]) for span in element_spans(text)]


def members(text: str) -> dict[str, Part]:
    """The parts of an object, by name; of a repeated name the last one.

    Raises:
        ValueError: it is none.
    """
    return {span.name: (span.value, text[span.start : span.end]) for span in member_spans(text)}


def element_spans(text: str, at: int = 0) -> Iterator[Span]:
    """Where the elements of an array stand that begins at a place of a text.

    Raises:
        ValueError: none does.
    """
    at = _skip_open_bracket(text, "[", at)
    while text[at : at + 1] != "]":
        value, end = DECODER.raw_decode(text, at)
        yield Span("", value, at, end)
        at = _skip_comma(text, end, "]")


def member_spans(text: str) -> Iterator[Span]:
    """Where the values of an object's members stand.

    Raises:
        ValueError: it is none.
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
    """An array of these."""
    return f"[{','.join(texts)}]"


def _skip_open_bracket(text: str, bracket: str, at: int = 0) -> int:
    at = _skip_blank(text, at)
    if text[at : at + 1] != bracket:
        raise ValueError(f"no {bracket}")
    return _skip_blank(text, at + 1)


def _skip_comma(text: str, end: int, closing: str) -> int:
    at = _skip_blank(text, end)
    if text[at : at + 1] == closing:
        return at
    if text[at : at + 1] != ",":
        raise ValueError("no comma")
    return _skip_blank(text, at + 1)


def _skip_blank(text: str, at: int) -> int:
    found = BLANK.match(text, at)
    return found.end() if found else at
