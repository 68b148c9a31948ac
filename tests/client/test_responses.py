"""Turning responses of the bridge into errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ibkr_bridge import errors
from ibkr_bridge.client.errors import BridgeRefused, ClientError, IbkrError, OrderUnknown, TemporarilyUnavailable
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.client.responses import FAMILY_BY_CODE, MAX_RETRY_AFTER_S, error_of, parse_retry_after

NOW = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)


def parse_error(status: int, body: object, source: str = "bridge", **headers: str) -> ClientError | None:
    """The error of a response."""
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_of(Reply(status, {"X-Bridge-Source": source, **headers}, encoded), NOW)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_2xx_status_is_no_error(status: int) -> None:
    """Whatever its body says."""
    assert parse_error(status, {"code": "busy"}) is None


@pytest.mark.parametrize("kind", list(errors.error_classes()))
def test_every_code_of_the_bridge_has_a_family_here(kind: type[errors.BridgeError]) -> None:
    """With the texts of the response."""
    error = parse_error(kind.status, {"code": kind.code, "detail": "d", "hint": "h", "retryable": True})

    assert isinstance(error, BridgeRefused)
    assert (type(error), error.code, error.detail, error.hint, error.retryable) == (
        FAMILY_BY_CODE[kind.code],
        kind.code,
        "d",
        "h",
        True,
    )


def test_an_unknown_order_is_never_just_an_error_of_the_gateway() -> None:
    """A program must be able to catch it alone."""
    assert type(parse_error(502, {"code": "order_unknown"})) is OrderUnknown


def test_a_code_of_a_newer_bridge_is_a_refusal() -> None:
    """Its texts are kept."""
    error = parse_error(418, {"code": "new_code", "detail": "d"})

    assert (type(error), error.code if error else "") == (BridgeRefused, "new_code")


@pytest.mark.parametrize(("status", "kind"), [(503, TemporarilyUnavailable), (404, BridgeRefused)])
def test_a_plain_text_of_the_bridge_is_the_detail(status: int, kind: type[ClientError]) -> None:
    """/readyz sends one."""
    error = parse_error(status, b"not ready")

    assert (type(error), error.detail if error else "") == (kind, "not ready")


def test_the_message_of_an_ibkr_error_has_no_account_numbers() -> None:
    """The body, an attribute, has them."""
    error = parse_error(400, {"error": "account DU1234567 is closed"}, "gateway")

    assert isinstance(error, IbkrError)
    assert "DU1234567" not in str(error)
    assert b"DU1234567" in error.body


@pytest.mark.parametrize(
    ("status", "retry_after", "is_retryable"), [(429, "3", True), (503, "3", True), (500, "3", False)]
)
def test_an_ibkr_error_is_retryable_only_with_a_retry_after(status: int, retry_after: str, is_retryable: bool) -> None:
    """And only with a status after which nothing can have happened."""
    error = parse_error(status, b"", "gateway", **{"Retry-After": retry_after})

    assert error is not None
    assert (error.retryable, error.retry_after) == (is_retryable, 3.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
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
def test_a_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """Anything else counts as absent."""
    assert parse_retry_after(header, NOW) == seconds
