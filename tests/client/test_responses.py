"""What an answer of the bridge means where it is no yes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ibkr_bridge import errors
from ibkr_bridge.client.errors import BridgeRefused, ClientError, IbkrError, OrderUnknown, TemporarilyUnavailable
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.client.responses import FAMILY_BY_CODE, MAX_RETRY_AFTER_S, error_of, parse_retry_after

NOW = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)


def error(status: int, body: object, source: str = "bridge", **headers: str) -> ClientError | None:
    """What an answer means."""
    told = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_of(Reply(status, {"X-Bridge-Source": source, **headers}, told), NOW)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_yes_is_no_error(status: int) -> None:
    """Whatever its body says."""
    assert error(status, {"code": "busy"}) is None


@pytest.mark.parametrize("kind", list(errors.error_classes()))
def test_every_code_of_the_bridge_has_a_family_here(kind: type[errors.BridgeError]) -> None:
    """With the words that it was told in."""
    told = error(kind.status, {"code": kind.code, "detail": "d", "hint": "h", "retryable": True})

    assert isinstance(told, BridgeRefused)
    assert (type(told), told.code, told.detail, told.hint, told.retryable) == (
        FAMILY_BY_CODE[kind.code],
        kind.code,
        "d",
        "h",
        True,
    )


def test_an_unknown_order_is_never_just_an_error_of_the_gateway() -> None:
    """A program must be able to catch it by itself."""
    assert type(error(502, {"code": "order_unknown"})) is OrderUnknown


def test_a_code_of_a_newer_bridge_is_a_refusal() -> None:
    """Its own words are passed on."""
    told = error(418, {"code": "new_code", "detail": "d"})

    assert (type(told), told.code if told else "") == (BridgeRefused, "new_code")


@pytest.mark.parametrize(("status", "kind"), [(503, TemporarilyUnavailable), (404, BridgeRefused)])
def test_plain_words_of_the_bridge_are_told_as_they_are(status: int, kind: type[ClientError]) -> None:
    """As /readyz has them."""
    told = error(status, b"not ready")

    assert (type(told), told.detail if told else "") == (kind, "not ready")


def test_ibkrs_own_no_is_told_without_account_numbers() -> None:
    """The body is kept beside the message."""
    told = error(400, {"error": "account DU1234567 is closed"}, "gateway")

    assert isinstance(told, IbkrError)
    assert "DU1234567" not in str(told)
    assert b"DU1234567" in told.body


@pytest.mark.parametrize(("status", "pause", "again"), [(429, "3", True), (503, "3", True), (500, "3", False)])
def test_ibkrs_no_may_be_asked_again_only_where_it_says_when(status: int, pause: str, again: bool) -> None:
    """And where nothing can have happened."""
    told = error(status, b"", "gateway", **{"Retry-After": pause})

    assert told is not None
    assert (told.retryable, told.retry_after) == (again, 3.0)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("Wed, 17 Jun 2026 16:01:00 GMT", 60.0),
        ("Wed, 17 Jun 2026 15:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("\u0667", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(given: str | None, seconds: float | None) -> None:
    """Anything else is none."""
    assert parse_retry_after(given, NOW) == seconds
