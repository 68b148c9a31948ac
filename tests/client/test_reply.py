"""One complete response of the bridge."""

from __future__ import annotations

import pytest

from ibkr_bridge.client.errors import NotJson
from ibkr_bridge.client.reply import Reply

HEADERS = {"X-Request-ID": "r1", "X-Bridge-Source": "gateway", "Content-Type": "text/html"}


@pytest.mark.parametrize(("body", "parsed"), [(b'{"a":1}', {"a": 1}), (b"", None), (b" \n", None), (b"null", None)])
def test_a_body_is_parsed_and_an_empty_one_is_none(body: bytes, parsed: object) -> None:
    """A 204 has an empty body."""
    assert Reply(200, {}, body).json() == parsed


@pytest.mark.parametrize("body", [b"<html>DU1234567", b"{", b"[" * 100_000])
def test_a_body_that_is_not_json_is_reported_without_its_text(body: bytes) -> None:
    """The error has the body as an attribute; a traceback must not show it."""
    reply = Reply(200, HEADERS, body)

    with pytest.raises(NotJson) as caught:
        reply.json()

    assert (caught.value.body, caught.value.request_id, caught.value.__cause__) == (body, "r1", None)
    assert "text/html" in str(caught.value)
    assert "DU1234567" not in str(caught.value) + repr(reply)


def test_headers_say_who_answered_and_the_request_id() -> None:
    """Without the headers both are None."""
    assert (Reply(200, HEADERS, b"").source, Reply(200, HEADERS, b"").request_id) == ("gateway", "r1")
    assert (Reply(200, {}, b"").source, Reply(200, {}, b"").request_id) == (None, None)


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    """A byte order mark is removed."""
    assert Reply(200, {}, b"\xef\xbb\xbfa\xff").text == "a\ufffd"
