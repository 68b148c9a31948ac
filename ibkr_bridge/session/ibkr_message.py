"""IBKR's own words in the responses about the session, as one short line for people. Pure.

IBKR explains in `message`, `fail`, `prompts` or `error` what it is waiting for ("approve the login on your phone"). The
text is untrusted, and a part of a secret is no longer recognised as one. So a message is redacted as a whole, and only
then cut to the length that people see.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from ibkr_bridge.ibkr.bodies import parse_json

MAX_MESSAGE_LENGTH = 300
MAX_READ_BYTES = 64 * 1024  # what comes later in a body is not read: no explanation is so long
MAX_DEPTH = 5  # of texts inside objects and lists
MEMBERS = ("error", "message", "fail", "prompts")
NO_TEXT = re.compile(r"(?:id|ids|key|token|session|url)$", re.IGNORECASE)
"""Members of an object that explain nothing to a person."""
MARKUP = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<[a-z/!?][^>]*(?:>|\Z)", re.DOTALL | re.IGNORECASE)
JSON_BEGINNINGS = ("{", "[")


def shown_message(body: bytes, redact: Callable[[str], str]) -> str:
    """What IBKR says in a body, as people see it."""
    return shorten(redact(message_of(body)))


def message_of(body: bytes) -> str:
    """What IBKR says in a body: its explaining members, or the text of a page; empty if it says nothing.

    It is neither redacted nor cut. A body that begins like JSON and cannot be parsed says nothing: its other members
    are not for everybody.
    """
    parsed = parse_json(body) if len(body) <= MAX_READ_BYTES else None
    if isinstance(parsed, dict):
        texts = dict.fromkeys(text for name in MEMBERS for text in _texts(parsed.get(name)))  # each text once
        return _one_line("; ".join(texts))
    if parsed is not None:
        return ""
    text = _one_line(MARKUP.sub(" ", body[:MAX_READ_BYTES].decode("utf-8", "replace")))
    if len(body) > MAX_READ_BYTES:
        text = text.rpartition(" ")[0]  # the last word may be half a secret
    return "" if text.startswith(JSON_BEGINNINGS) else text


def shorten(text: str) -> str:
    """At most `MAX_MESSAGE_LENGTH` characters of a text; it must be redacted already."""
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[: MAX_MESSAGE_LENGTH - 1] + "…"


def _one_line(text: str) -> str:
    """A text without line breaks and control characters. What has no width is left out: it could split a secret."""
    printable = (each if each.isprintable() else "" if unicodedata.category(each) == "Cf" else " " for each in text)
    return " ".join("".join(printable).split())


def _texts(value: object, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, list | dict) and depth < MAX_DEPTH:
        for each in _items(value):
            yield from _texts(each, depth + 1)


def _items(value: list[object] | dict[str, object]) -> list[object]:
    if isinstance(value, dict):
        return [each for name, each in value.items() if not NO_TEXT.search(name)]
    return [str(each) if type(each) is int else each for each in value]
