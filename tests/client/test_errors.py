"""The errors of the client."""

from __future__ import annotations

import pytest

from ibkr_bridge.client.errors import (
    BridgeConnectionLost,
    BridgeTimeout,
    BridgeUnreachable,
    ClientError,
    NotThisBridge,
    OrderUnknown,
)


@pytest.mark.parametrize(
    ("kind", "is_retryable"),
    [(BridgeUnreachable, True), (BridgeTimeout, True), (BridgeConnectionLost, True), (NotThisBridge, False)],
)
def test_an_error_without_a_response_says_whether_a_repeat_is_harmless(
    kind: type[ClientError], is_retryable: bool
) -> None:
    """After a change it is `OrderUnknown` instead."""
    assert kind("d").retryable is is_retryable
    assert kind("d").code != ClientError.code
    assert kind("d", retryable=not is_retryable).retryable is not is_retryable


def test_an_unknown_order_is_not_to_be_sent_again() -> None:
    """By default it is not retryable."""
    assert not OrderUnknown("d").retryable


def test_the_message_has_code_hint_and_request_id_but_not_the_body() -> None:
    """A body may hold an account number."""
    error = ClientError("d", code="c", hint="h", request_id="r", status=400, body=b"DU1234567")

    assert str(error) == "c: d; h (request r)"
    assert (error.status, error.body) == (400, b"DU1234567")


def test_without_a_response_there_is_no_status_and_no_body() -> None:
    """The defaults say so."""
    assert (ClientError("d").status, ClientError("d").body, str(ClientError("d"))) == (None, b"", "client_error: d")
