"""Reads that a call needs before the rules can check it or it can be sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.reader import fetch, read
from ibkr_bridge.errors import SessionUnavailable
from tests.body_stream import FakeBodyStream
from tests.calls.stage_setup import OK, FakeUpstream, context_for


def order_context(upstream: FakeUpstream) -> CallContext:
    """The context of an order whose reads go to this upstream."""
    context = context_for("POST", "/iserver/account/DU1/orders", b"{}", key_label="full")
    context.execute = upstream
    return context


async def test_a_read_is_fetched_through_all_stages() -> None:
    """Session, limits and cache apply to it as to any other call, and it waits under the key of the order."""
    upstream = FakeUpstream()

    response = await fetch(order_context(upstream), Call("GET", "/v1/api/iserver/accounts"), max_age_s=0.0)

    assert (response, upstream.targets) == (OK, ["/iserver/accounts"])
    assert (upstream.contexts[0].key_label, upstream.contexts[0].max_age_s, upstream.contexts[0].endpoint.is_read) == (
        "full",
        0.0,
        True,
    )


async def test_a_context_outside_a_pipeline_cannot_fetch() -> None:
    """The error shows the mistake at once if a stage is called directly."""
    with pytest.raises(RuntimeError, match="has not entered a pipeline"):
        await fetch(context_for("GET", "/portfolio/accounts"), Call("GET", "/v1/api/iserver/accounts"))


@pytest.mark.parametrize(
    ("response", "value"),
    [
        (replace(OK, body=b'{"a":1}'), {"a": 1}),
        (replace(OK, body=b"<html>"), None),
        (replace(OK, status=500, body=b'{"error":"no"}'), None),
    ],
)
async def test_only_json_with_status_200_is_read(response: Response, value: object) -> None:
    """A refusal has no value, even if its body is JSON."""
    upstream = FakeUpstream(response)

    assert await read(order_context(upstream), ("iserver", "exchangerate"), "source=USD&target=EUR") == value
    assert upstream.targets == ["/iserver/exchangerate?source=USD&target=EUR"]


async def test_a_body_that_is_too_large_is_closed_unread() -> None:
    """The beginning of a list is useless, and the slot must be released."""
    body_stream = FakeBodyStream()

    value = await read(
        order_context(FakeUpstream(replace(OK, body=b"[]", body_stream=body_stream))), ("portfolio", "accounts")
    )

    assert (value, body_stream.read_count, body_stream.close_count) == (None, 0, 1)


async def test_an_error_before_sending_is_raised() -> None:
    """The caller of `read` decides what follows."""
    with pytest.raises(SessionUnavailable):
        await read(order_context(FakeUpstream(SessionUnavailable("down"))), ("portfolio", "accounts"))
