"""Helpers that read IBKR's response bodies: partial lists, empty bodies, errors inside a 200. Pure."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

PARTIAL_MARK = re.compile(rb'"snapshot" *: *false')
MAX_EMPTY_BYTES = 200  # a longer body is not parsed only to find out that it is empty
ACCOUNTS_FIRST_PHRASE = b"query /accounts first"
LOST_SESSION_PHRASES = (ACCOUNTS_FIRST_PHRASE, b"no bridge", b"init session first", b"no session", b"not authenticated")
"""IBKR's texts for a call without a session: it did not process the call."""
MAX_ERROR_BYTES = 64 * 1024  # of an error: they may stand anywhere in it, in JSON, in plain text or on a page
ERROR_MEMBER = b'"error"'  # in small letters
MAX_EMBEDDED_ERROR_BYTES = 300  # of a good response, which may be long, and may contain the same words as data


def parse_json(body: bytes) -> object:
    """Parse a body as JSON; None if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def is_partial(body: bytes) -> bool:
    """Whether IBKR marks a list as incomplete, as it does for the first list of orders in a session."""
    return PARTIAL_MARK.search(body) is not None


def looks_like_json(body: bytes) -> bool:
    """Whether a body begins like a JSON object or array, as every good response of IBKR does."""
    return body.lstrip()[:1] in (b"{", b"[")


def looks_like_page(status: int, body: bytes) -> bool:
    """Whether a response is a page for people: by its beginning, or as a redirect or an error without content."""
    has_no_meaning = status >= HTTPStatus.INTERNAL_SERVER_ERROR or 300 <= status < HTTPStatus.BAD_REQUEST
    beginning = body.lstrip()[:1]
    return beginning == b"<" or (has_no_meaning and not beginning)


def is_empty(body: bytes) -> bool:
    """Whether a short body has no content: an empty list, or an object of empty lists."""
    return len(body) <= MAX_EMPTY_BYTES and _is_empty_value(parse_json(body))


def _is_empty_value(value: object) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not value or (isinstance(value, dict | list) and all(map(_is_empty_value, parts)))


def session_phrases(status: int, body: bytes) -> tuple[bytes, ...]:
    """IBKR's texts for a call without a session, as far as a response contains them as an error."""
    text = _error_text(status, body)
    if not text:  # as most responses, and this runs for each
        return ()
    return tuple(phrase for phrase in LOST_SESSION_PHRASES if phrase in text and not _is_about_data(phrase, text))


def _is_about_data(phrase: bytes, text: bytes) -> bool:
    """Whether "no session" is the beginning of other words: "no session data for this contract: exchange closed"."""
    return phrase == b"no session" and re.search(rb"\bno session\b(?! \w)", text) is None


def demands_accounts_first(status: int, body: bytes) -> bool:
    """Whether IBKR demands a call of `/iserver/accounts` before this one; its status is then 400 or 500."""
    return ACCOUNTS_FIRST_PHRASE in _error_text(status, body)


def _error_text(status: int, body: bytes) -> bytes:
    """What a response says if it is an error, in small letters. Other statuses need a member `error`."""
    if status >= HTTPStatus.BAD_REQUEST:
        return body[:MAX_ERROR_BYTES].lower()
    beginning = body[:MAX_EMBEDDED_ERROR_BYTES].lower()
    return beginning if ERROR_MEMBER in beginning else b""


def has_embedded_error(body: bytes) -> bool:
    """Whether the body of a 200 is an error nevertheless."""
    if b'"error"' not in body and b'"success"' not in body:
        return False
    parsed = parse_json(body)
    if parsed is None:
        return True  # a body that cannot be parsed is no good response
    parts = parsed if isinstance(parsed, list) else [parsed]
    return any(isinstance(part, dict) and ("error" in part or part.get("success") is False) for part in parts)


def parse_object(body: bytes) -> dict[str, object]:
    """Parse a body as a JSON object; an empty one if it is something else."""
    parsed = parse_json(body)
    return parsed if isinstance(parsed, dict) else {}


def parse_rows(body: bytes) -> list[dict[str, object]] | None:
    """Parse a body as a list of objects; None if it is something else."""
    rows = parse_json(body)
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None
