"""What the bodies of IBKR's answers say between the lines. Pure."""

from __future__ import annotations

import json
import re

PARTIAL_MARK = re.compile(rb'"snapshot" *: *false')
MAX_EMPTY_BYTES = 200  # bytes
ACCOUNTS_FIRST_PHRASE = b"query /accounts first"


def parse_json(body: bytes) -> object:
    """A body as JSON; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def is_partial(body: bytes) -> bool:
    """Whether IBKR says that this is not the whole list yet, as it does at the first look at orders in a session."""
    return PARTIAL_MARK.search(body) is not None


def looks_like_json(body: bytes) -> bool:
    """Whether a body looks like what IBKR answers where all is well: an object or a list."""
    return body.lstrip()[:1] in (b"{", b"[")


def is_empty(body: bytes) -> bool:
    """Whether a short body says nothing: an empty list, an object of empty lists."""
    return len(body) <= MAX_EMPTY_BYTES and _is_empty_value(parse_json(body))


def _is_empty_value(told: object) -> bool:
    parts = told.values() if isinstance(told, dict) else told if isinstance(told, list) else ()
    return not told or (isinstance(told, dict | list) and all(map(_is_empty_value, parts)))


def demands_accounts_first(body: bytes) -> bool:
    """Whether IBKR wants to be asked for the accounts before this; it says so with a 400 or a 500."""
    return b'"error"' in body[:300] and ACCOUNTS_FIRST_PHRASE in body[:300].lower()


def has_embedded_error(body: bytes) -> bool:
    """Whether an answer that says 200 is none all the same."""
    if b'"error"' not in body and b'"success"' not in body:
        return False
    told = parse_json(body)
    if told is None:
        return True  # whatever it is, it is not what we take it for
    parts = told if isinstance(told, list) else [told]
    return any(isinstance(part, dict) and ("error" in part or part.get("success") is False) for part in parts)


def parse_object(body: bytes) -> dict[str, object]:
    """A body as a JSON object; whatever else it is tells nothing."""
    told = parse_json(body)
    return told if isinstance(told, dict) else {}


def parse_rows(body: bytes) -> list[dict[str, object]] | None:
    """A body as a list of objects; None where it is something else."""
    told = parse_json(body)
    return told if isinstance(told, list) and all(isinstance(row, dict) for row in told) else None
