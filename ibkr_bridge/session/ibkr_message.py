"""IBKR's own words in the responses about the session, as one short line for people. Pure.

IBKR explains in `message`, `fail`, `prompts` or `error` what it is waiting for ("approve the login on your phone"). The
text is untrusted: the caller of these functions redacts it before anybody sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ibkr_bridge.ibkr.bodies import parse_json

MAX_MESSAGE_LENGTH = 300
MAX_PARSED_BYTES = 4096  # what comes later in a body is not read: no explanation is so long
MEMBERS = ("error", "message", "fail", "prompts")
MARKUP = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def message_of(body: bytes) -> str:
    """What IBKR says in a body: its explaining members, or the text of a page; empty if it says nothing."""
    parsed = parse_json(body[:MAX_PARSED_BYTES])
    if isinstance(parsed, dict):
        return message_in(parsed)
    return "" if parsed is not None else one_line(MARKUP.sub(" ", body[:MAX_PARSED_BYTES].decode("utf-8", "replace")))


def message_in(parsed: dict[str, object]) -> str:
    """What IBKR says in a JSON object, each text once."""
    return one_line("; ".join(dict.fromkeys(text for name in MEMBERS for text in _texts(parsed.get(name)))))


def one_line(text: str) -> str:
    """A text without line breaks and control characters, at most `MAX_MESSAGE_LENGTH` characters long."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= MAX_MESSAGE_LENGTH else line[: MAX_MESSAGE_LENGTH - 1] + "…"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each if isinstance(each, str) else str(each) if isinstance(each, int) else None)
