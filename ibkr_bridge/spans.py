"""JSON taken apart without being written anew: each part keeps the very characters IBKR sent. Pure."""

from __future__ import annotations

import json
import re

BLANK = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()
Part = tuple[object, str]
"""A value, and its text."""


def elements(text: str) -> list[Part]:
    """The parts of an array.

    Raises:
        ValueError: it is none.
    """
    at, parts = _opened(text, "["), []
    while text[at : at + 1] != "]":
        value, end = DECODER.raw_decode(text, at)
        parts.append((value, text[at:end]))
        at = _after_comma(text, end, "]")
    return parts


def members(text: str) -> dict[str, Part]:
    """The parts of an object, by name; of a repeated name the last one.

    Raises:
        ValueError: it is none.
    """
    at, parts = _opened(text, "{"), {}
    while text[at : at + 1] != "}":
        name, end = DECODER.raw_decode(text, at)
        colon = _blank(text, end)
        if not isinstance(name, str) or text[colon : colon + 1] != ":":
            raise ValueError("a member has no name")
        at = _blank(text, colon + 1)
        value, end = DECODER.raw_decode(text, at)
        parts[name] = (value, text[at:end])
        at = _after_comma(text, end, "}")
    return parts


def joined(texts: list[str]) -> str:
    """An array of these."""
    return f"[{','.join(texts)}]"


def _opened(text: str, bracket: str) -> int:
    at = _blank(text, 0)
    if text[at : at + 1] != bracket:
        raise ValueError(f"no {bracket}")
    return _blank(text, at + 1)


def _after_comma(text: str, end: int, closing: str) -> int:
    at = _blank(text, end)
    if text[at : at + 1] == closing:
        return at
    if text[at : at + 1] != ",":
        raise ValueError("no comma")
    return _blank(text, at + 1)


def _blank(text: str, at: int) -> int:
    found = BLANK.match(text, at)
    return found.end() if found else at
