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
    ("kind", "again"),
    [(BridgeUnreachable, True), (BridgeTimeout, True), (BridgeConnectionLost, True), (NotThisBridge, False)],
)
def test_an_error_without_an_answer_says_whether_asking_again_does_harm(kind: type[ClientError], again: bool) -> None:
    """Where a change had been sent it is another class."""
    assert kind("d").retryable is again
    assert kind("d").code != ClientError.code
    assert kind("d", retryable=not again).retryable is not again


def test_an_unknown_order_is_not_to_be_sent_again() -> None:
    """Unless somebody says so."""
    assert not OrderUnknown("d").retryable


def test_the_message_tells_code_hint_and_request_and_never_the_body() -> None:
    """A body may hold an account."""
    made = ClientError("d", code="c", hint="h", request_id="r", status=400, body=b"DU1234567")

    assert str(made) == "c: d; h (request r)"
    assert (made.status, made.body) == (400, b"DU1234567")


def test_without_an_answer_there_is_no_status_and_no_body() -> None:
    """Nothing came."""
    assert (ClientError("d").status, ClientError("d").body, str(ClientError("d"))) == (None, b"", "client_error: d")
