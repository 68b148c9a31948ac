"""What IBKR's answer to a read means if it is not a good one: an error of the bridge. Pure.

IBKR answers a wrong symbol with 500, a wrong account with 400, and some errors with 200. The words decide: an app gets
404 for what does not exist, and 502 for what IBKR could not answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus

from ibkr_bridge.errors import (
    AccountNotFound,
    BridgeError,
    InstrumentNotFound,
    OrderNotFound,
    UpstreamError,
    UpstreamRefused,
)
from ibkr_bridge.ibkr.bodies import has_embedded_error, parse_object
from ibkr_bridge.ibkr.reads import Subject

MAX_WORDS = 300  # characters of IBKR's words in an error
NOT_FOUND_WORDS = re.compile(
    r"not found|no (such|symbol|contracts?|security)|unknown (symbol|contract|account|order)|invalid (conid|account)"
    r"|no contracts? retrieved|does not exist",
    re.IGNORECASE,
)


NOT_FOUND: dict[Subject, tuple[type[BridgeError], str]] = {
    Subject.ACCOUNT: (AccountNotFound, "the login has no such account"),
    Subject.INSTRUMENT: (InstrumentNotFound, "IBKR knows no such instrument"),
    Subject.ORDER: (OrderNotFound, "IBKR has no such order"),
}
NOT_FOUND_STATUSES = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.OK}
)


def refusal_of(status: int, body: bytes, subject: Subject, redact: Callable[[str], str]) -> BridgeError | None:
    """The error that an answer stands for; None if it is a good one.

    Args:
        status, body: IBKR's answer.
        subject: what the read is about.
        redact: removes secrets from IBKR's words.
    """
    if status == HTTPStatus.OK and not _is_error(body):
        return None
    words = _words_of(body)
    is_missing = status == HTTPStatus.NOT_FOUND or NOT_FOUND_WORDS.search(words) is not None
    if subject in NOT_FOUND and is_missing and status in NOT_FOUND_STATUSES:
        kind, detail = NOT_FOUND[subject]
        return kind(detail)
    detail = f"IBKR answered {status}" + (f": {redact(words)}" if words else "")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return UpstreamRefused(detail)
    return UpstreamError(detail, retry_after=None if status == HTTPStatus.BAD_REQUEST else 5.0)


def _is_error(body: bytes) -> bool:
    """Whether the body of a 200 is an error. Some good answers have the member `error` with null."""
    return has_embedded_error(body) and parse_object(body).get("error", "") is not None


def _words_of(body: bytes) -> str:
    """IBKR's own words in an answer; empty if it has none, as a page for people has."""
    words = parse_object(body).get("error")
    return words.strip()[:MAX_WORDS] if isinstance(words, str) else ""
