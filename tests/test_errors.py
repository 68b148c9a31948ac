"""The errors that a caller can get: one table of codes and statuses, one shape."""

from __future__ import annotations

import re

import pytest

from ibkr_bridge import errors
from ibkr_bridge.errors import BridgeError, MethodNotAllowed, error_classes

STATUSES = {  # each code with its status
    "invalid_key": 401,
    "insufficient_scope": 403,
    "host_not_allowed": 403,
    "origin_not_allowed": 403,
    "bad_path": 400,
    "bad_request": 400,
    "not_bridged": 404,
    "method_not_allowed": 405,
    "not_supported": 501,
    "payload_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "read_only": 403,
    "paper_only": 403,
    "account_not_allowed": 403,
    "order_limit_exceeded": 403,
    "trading_paused": 403,
    "order_unknown": 502,
    "rate_limited": 429,
    "penalty_box": 429,
    "busy": 503,
    "session_unavailable": 503,
    "maintenance": 503,
    "shutting_down": 503,
    "upstream_refused": 403,
    "gateway_forbidden": 503,
    "gateway_unreachable": 503,
    "gateway_timeout": 504,
    "gateway_protocol_error": 502,
    "internal": 500,
    "confirmation_required": 403,
    "order_in_progress": 409,
    "duplicate_order": 409,
    "idempotency_mismatch": 422,
    "reply_not_found": 404,
    "journal_unavailable": 503,
    "market_data_limit": 429,
    "order_not_placed": 502,
    "validation_failed": 422,
    "account_not_found": 404,
    "instrument_not_found": 404,
    "order_not_found": 404,
    "profile_required": 400,
    "profile_not_found": 404,
    "profile_exists": 409,
    "request_token_unknown": 404,
    "ambiguous_symbol": 409,
    "upstream_error": 502,
    "order_rejected": 422,
    "order_not_working": 409,
}
LEAVES = tuple(error_classes())


def build_error(kind: type[BridgeError], retry_after: float | None = None) -> BridgeError:
    """An error of a class, as a package raises it."""
    if issubclass(kind, MethodNotAllowed):
        return kind("what happened", "GET, POST")
    return kind("what happened", retry_after=retry_after)


def test_codes_and_statuses_do_not_change() -> None:
    """Programs switch on the code, so neither code nor status may change."""
    assert {kind.code: kind.status for kind in LEAVES} == STATUSES


def test_no_two_errors_share_a_code() -> None:
    """A program could not distinguish two errors with one code."""
    assert len({kind.code for kind in LEAVES}) == len(LEAVES)


def test_the_docstring_shows_every_code() -> None:
    """A reader of `errors.py` sees all codes in its docstring."""
    shown = set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", (errors.__doc__ or "").split("Rooms raise")[0]))

    assert set(STATUSES) <= shown


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.code)
def test_every_error_says_what_to_do(kind: type[BridgeError]) -> None:
    """A person needs the next step, not only the name of the problem."""
    error = build_error(kind)

    assert error.detail == str(error) == "what happened"
    assert len(error.hint) > 10
    assert error.title == kind.code.replace("_", " ").capitalize()


@pytest.mark.parametrize("kind", [kind for kind in LEAVES if kind is not MethodNotAllowed], ids=lambda kind: kind.code)
def test_an_error_is_retryable_only_with_a_time(kind: type[BridgeError]) -> None:
    """`retryable` is true only together with `Retry-After`."""
    assert not build_error(kind).retryable
    assert build_error(kind, retry_after=2.5).retryable


def test_the_hint_of_an_error_replaces_that_of_its_class() -> None:
    """The hint of one error does not change that of its class."""
    special = errors.NotBridged("nothing here", hint="add pa to IBKR_BRIDGE_EXTRA_PREFIXES")

    assert special.hint == "add pa to IBKR_BRIDGE_EXTRA_PREFIXES"
    assert "IBKR_BRIDGE_EXTRA_PREFIXES opens more" in errors.NotBridged("nothing here").hint


def test_a_wrong_method_names_the_methods_of_its_own_path() -> None:
    """RFC 9110 requires `Allow` with every 405."""
    first, second = MethodNotAllowed("no", "GET"), MethodNotAllowed("no", "POST")

    assert (first.headers, second.headers) == ({"Allow": "GET"}, {"Allow": "POST"})
    assert BridgeError.headers == {}


def test_a_wrong_key_says_how_keys_are_sent() -> None:
    """RFC 9110 requires `WWW-Authenticate` with every 401."""
    assert "WWW-Authenticate" in errors.InvalidKey("no").headers
