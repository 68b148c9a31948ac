"""Calls and responses, and how a body is read or closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.calls import messages
from ibkr_bridge.calls.messages import Call, Response, call_once, discard, is_refusal, json_response, read_fully
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout
from tests.body_stream import FakeBodyStream


class ScriptedBody:
    """The stream of a body: these chunks, then an end, an error or silence."""

    def __init__(self, *chunks: bytes, error: Exception | None = None, hangs: bool = False) -> None:
        self.close_count = 0
        self._chunks = chunks
        self._error = error
        self._hangs = hangs

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `BodyStream.chunks`."""
        for chunk in self._chunks:
            yield chunk
        if self._hangs:
            await asyncio.get_running_loop().create_future()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """See `BodyStream.close`."""
        self.close_count += 1


def streamed_response(body_stream: ScriptedBody) -> Response:
    """A response that begins with `a` and continues with this stream."""
    return Response(200, {}, b"a", body_stream)


async def test_a_complete_response_is_returned_unchanged() -> None:
    """It is not copied."""
    response = Response(200, {}, b"a")

    assert await read_fully(response) is response


async def test_a_body_stream_is_read_and_closed() -> None:
    """Closing it releases the slot of the call."""
    body_stream = ScriptedBody(b"b", b"c")

    result = await read_fully(streamed_response(body_stream))

    assert (result.body, result.body_stream, body_stream.close_count) == (b"abc", None, 1)


async def test_a_body_that_is_too_large_keeps_its_stream() -> None:
    """The part that was read stands in `body`; the holder of the response must still close the stream."""
    body_stream = ScriptedBody(b"b" * 10, b"c" * 10)

    result = await read_fully(streamed_response(body_stream), max_bytes=10)

    assert (result.body, result.body_stream, body_stream.close_count) == (b"a" + b"b" * 10, body_stream, 0)


async def test_a_body_of_the_maximum_size_is_read() -> None:
    """`max_bytes` is the largest size, not the first that is too large."""
    result = await read_fully(streamed_response(ScriptedBody(b"b" * 9)), max_bytes=10)

    assert (len(result.body), result.body_stream) == (10, None)


async def test_a_body_that_breaks_off_is_closed() -> None:
    """Half a list never passes for a complete one."""
    body_stream = ScriptedBody(b"b", error=GatewayProtocolError("it broke off"))

    with pytest.raises(GatewayProtocolError):
        await read_fully(streamed_response(body_stream))

    assert body_stream.close_count == 1


async def test_a_body_that_does_not_arrive_in_time_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk may arrive in time, while the whole body never does."""
    monkeypatch.setattr(messages, "READ_FULLY_TIMEOUT_S", 0.01)
    body_stream = ScriptedBody(b"b", hangs=True)

    with pytest.raises(GatewayTimeout):
        await read_fully(streamed_response(body_stream))

    assert body_stream.close_count == 1


async def test_a_cancelled_reader_closes_the_body() -> None:
    """Otherwise its slot would stay taken for ever."""
    body_stream = ScriptedBody(hangs=True)
    task = asyncio.create_task(read_fully(streamed_response(body_stream)))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert body_stream.close_count == 1


def test_discard_closes_only_a_body_stream() -> None:
    """There may be no response at all."""
    body_stream = FakeBodyStream()

    discard(None)
    discard(Response(200, {}, b""))
    discard(Response(200, {}, b"", body_stream))

    assert body_stream.close_count == 1


def test_a_second_call_of_a_callback_has_no_effect() -> None:
    """A call may end in several ways at once, but its slot is released once."""
    releases: list[str] = []

    release = call_once(lambda: releases.append("released"))
    release()
    release()

    assert releases == ["released"]


def test_a_callback_that_raises_is_not_called_again() -> None:
    """It has been called, although it failed."""

    def fail() -> None:
        raise KeyError

    release = call_once(fail)
    with pytest.raises(KeyError):
        release()

    release()


def test_our_own_json_is_as_compact_as_ibkrs() -> None:
    """Clients may expect IBKR's form."""
    response = json_response({"a": [1, None]})

    assert (response.status, response.body) == (200, b'{"a":[1,null]}')
    assert json.loads(response.body) == {"a": [1, None]}
    assert response.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(200, {}, b"[]"), False),
        (Response(200, {}, b'{"error":"no"}'), True),
        (Response(200, {}, b'[{"success":false}]'), True),
        (Response(500, {}, b"[]"), True),
        (Response(200, {}, b'{"error":"no"}', FakeBodyStream()), False),
    ],
)
def test_a_refusal_is_a_status_or_an_error_inside_a_200(response: Response, expected: bool) -> None:
    """An incomplete body cannot be checked."""
    assert is_refusal(response) is expected


def test_a_repr_contains_no_body() -> None:
    """A traceback in the log would otherwise show an account."""
    assert "DU1" not in repr(Call("POST", "/x", body=b"DU1"))
    assert "DU1" not in repr(Response(200, {}, b"DU1"))
