"""Calls and responses, and how a body is read or let go of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.calls import messages
from ibkr_bridge.calls.messages import Call, Response, call_once, discard, is_refusal, json_response, read_fully
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout
from tests.body_stream import FakeBodyStream


class Chunks:
    """The rest of a body: what comes, and how it ends."""

    def __init__(self, *chunks: bytes, ends: Exception | None = None, hangs: bool = False) -> None:
        self.closed = 0
        self._chunks = chunks
        self._ends = ends
        self._hangs = hangs

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `BodyStream.chunks`."""
        for chunk in self._chunks:
            yield chunk
        if self._hangs:
            await asyncio.get_running_loop().create_future()
        if self._ends is not None:
            raise self._ends

    def close(self) -> None:
        """See `BodyStream.close`."""
        self.closed += 1


def large(rest: Chunks) -> Response:
    """A response whose rest is to be read."""
    return Response(200, {}, b"a", rest)


async def test_a_response_that_is_whole_is_read_as_it_is() -> None:
    """No copy is made of it."""
    response = Response(200, {}, b"a")

    assert await read_fully(response) is response


async def test_the_rest_of_a_body_is_joined_and_let_go_of() -> None:
    """The slot of the call is free then."""
    rest = Chunks(b"b", b"c")

    read = await read_fully(large(rest))

    assert (read.body, read.body_stream, rest.closed) == (b"abc", None, 1)


async def test_a_body_that_is_too_large_keeps_its_rest() -> None:
    """What has been read of it stands in front; whoever has it must still let go of it."""
    rest = Chunks(b"b" * 10, b"c" * 10)

    read = await read_fully(large(rest), max_bytes=10)

    assert (read.body, read.body_stream, rest.closed) == (b"a" + b"b" * 10, rest, 0)


async def test_a_body_of_just_the_largest_size_is_read() -> None:
    """The limit is the largest that is kept."""
    read = await read_fully(large(Chunks(b"b" * 9)), max_bytes=10)

    assert (len(read.body), read.body_stream) == (10, None)


async def test_a_body_that_breaks_off_is_let_go_of() -> None:
    """Half of a list is never told as a whole one."""
    rest = Chunks(b"b", ends=GatewayProtocolError("it broke off"))

    with pytest.raises(GatewayProtocolError):
        await read_fully(large(rest))

    assert rest.closed == 1


async def test_a_body_that_does_not_come_in_time_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece may come in time, and the whole never does."""
    monkeypatch.setattr(messages, "READ_FULLY_TIMEOUT_S", 0.01)
    rest = Chunks(b"b", hangs=True)

    with pytest.raises(GatewayTimeout):
        await read_fully(large(rest))

    assert rest.closed == 1


async def test_a_reader_that_is_cancelled_lets_go_of_the_body() -> None:
    """Its slot would be taken for ever otherwise."""
    rest = Chunks(hangs=True)
    task = asyncio.create_task(read_fully(large(rest)))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert rest.closed == 1


def test_only_a_body_that_is_still_to_come_is_let_go_of() -> None:
    """There may be no response at all."""
    body_stream = FakeBodyStream()

    discard(None)
    discard(Response(200, {}, b""))
    discard(Response(200, {}, b"", body_stream))

    assert body_stream.close_count == 1


def test_what_is_called_once_is_harmless_when_it_is_called_again() -> None:
    """A call ends in several ways; its slot is given back in one of them."""
    told: list[str] = []

    release = call_once(lambda: told.append("released"))
    release()
    release()

    assert told == ["released"]


def test_a_callback_that_raises_is_not_called_again() -> None:
    """It was called, whatever came of it."""

    def fail() -> None:
        raise KeyError

    release = call_once(fail)
    with pytest.raises(KeyError):
        release()

    release()


def test_our_own_json_is_as_compact_as_ibkrs() -> None:
    """Clients take it for IBKR's."""
    response = json_response({"a": [1, None]})

    assert (response.status, response.body) == (200, b'{"a":[1,null]}')
    assert json.loads(response.body) == {"a": [1, None]}
    assert response.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("response", "refuses"),
    [
        (Response(200, {}, b"[]"), False),
        (Response(200, {}, b'{"error":"no"}'), True),
        (Response(200, {}, b'[{"success":false}]'), True),
        (Response(500, {}, b"[]"), True),
        (Response(200, {}, b'{"error":"no"}', FakeBodyStream()), False),
    ],
)
def test_a_refusal_is_a_status_or_an_error_inside_a_200(response: Response, refuses: bool) -> None:
    """A body that is not whole cannot be judged."""
    assert is_refusal(response) is refuses


def test_bodies_do_not_stand_in_a_repr() -> None:
    """A traceback in the log would show an account."""
    assert "DU1" not in repr(Call("POST", "/x", body=b"DU1"))
    assert "DU1" not in repr(Response(200, {}, b"DU1"))
