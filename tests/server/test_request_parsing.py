"""What callers write in a request: lists, seconds and keys in headers, and the body through a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ibkr_bridge.daemon import defer_100_continue
from ibkr_bridge.errors import BadRequest, BridgeError
from ibkr_bridge.server import request_parsing
from ibkr_bridge.server.request_parsing import (
    MAX_BODY_BYTES,
    MAX_WORDS,
    header_seconds,
    header_words,
    idempotency_key,
    read_body,
)
from tests.harness import with_timeout

WORDS, SECONDS, KEY = "X-Bridge-Confirm", "X-Bridge-Wait", "Idempotency-Key"


def with_header(name: str, *values: str) -> web.Request:
    """A request that has a header once for each value."""
    return make_mocked_request("GET", "/", CIMultiDict((name, value) for value in values))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], set()),
        ([""], set()),
        ([" , ,"], set()),
        (["o163"], {"o163"}),
        (["o163,o354"], {"o163", "o354"}),
        ([" o163 ,\to354 ", "cancel-all"], {"o163", "o354", "cancel-all"}),
        (["o163,o163", "o163"], {"o163"}),
        (["a" * 32], {"a" * 32}),
    ],
)
def test_a_list_of_words_may_be_spread_over_headers_and_blanks(values: list[str], words: set[str]) -> None:
    """HTTP says that both ways of writing a list mean the same."""
    assert header_words(with_header(WORDS, *values), WORDS) == words


@pytest.mark.parametrize("value", ["o163;o354", "o163 o354", "-o163", "a" * 33, "ö163", "*", "o163,o_1"])
def test_what_is_no_word_spoils_the_whole_list(value: str) -> None:
    """Half of a confirmation is none."""
    with pytest.raises(BadRequest) as caught:
        header_words(with_header(WORDS, value), WORDS)

    assert value not in caught.value.detail + caught.value.hint


def test_a_list_has_a_longest_length() -> None:
    """IBKR knows some forty questions; who confirms more does not know what they confirm."""
    longest = [f"o{number}" for number in range(MAX_WORDS)]

    assert len(header_words(with_header(WORDS, ",".join(longest)), WORDS)) == MAX_WORDS
    with pytest.raises(BadRequest):
        header_words(with_header(WORDS, ",".join([*longest, "more"])), WORDS)


@pytest.mark.parametrize(
    ("value", "key"),
    [("abc", "abc"), ('"abc"', "abc"), ('  "a b"  ', "a b"), ("x" * 255, "x" * 255), ("!#$%&'()", "!#$%&'()")],
)
def test_a_key_may_be_quoted_or_not(value: str, key: str) -> None:
    """The standard's draft quotes it, most clients do not; both are the same key."""
    assert idempotency_key(with_header(KEY, value)) == key


def test_no_key_is_none() -> None:
    """Most calls need none."""
    assert idempotency_key(make_mocked_request("POST", "/")) is None


@pytest.mark.parametrize(
    "values",
    [[""], ['""'], ["a b"], ['"abc'], ['abc"'], ['"a"b"'], ["x" * 256], ["schlüssel"], ["a\\b"], ["one", "one"]],
)
def test_what_is_no_single_key_is_refused(values: list[str]) -> None:
    """A key that is understood in another way than it was meant would let an order go out twice."""
    with pytest.raises(BadRequest):
        idempotency_key(with_header(KEY, *values))


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("1", 1.0), ("2.5", 2.5), ("007", 7.0), ("61", 60.0), ("999999999", 60.0)]
)
def test_seconds_are_taken_up_to_the_most(value: str, seconds: float) -> None:
    """Who is willing to wait longer than we allow waits as long as we allow."""
    assert header_seconds(with_header(SECONDS, value), SECONDS, 60.0) == seconds


def test_no_seconds_are_none() -> None:
    """What was not asked for is not zero."""
    assert header_seconds(make_mocked_request("GET", "/"), SECONDS, 60.0) is None


@pytest.mark.parametrize(
    "value", ["", " ", "-1", "+1", "1e3", "inf", "nan", "1.", ".5", "1,5", "0x1", "1_0", "1 2", "٣", "1234567890"]
)
def test_what_is_no_plain_number_of_seconds_is_refused(value: str) -> None:
    """Python reads more as numbers than a caller can have meant."""
    with pytest.raises(BadRequest):
        header_seconds(with_header(SECONDS, value), SECONDS, 60.0)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40))
def test_no_header_crashes_its_reader(value: str) -> None:
    """It is understood, or refused in words."""
    for read in (
        lambda: header_words(with_header(WORDS, value), WORDS),
        lambda: idempotency_key(with_header(KEY, value)),
        lambda: header_seconds(with_header(SECONDS, value), SECONDS, 60.0),
    ):
        try:
            read()
        except BadRequest:
            continue


async def tell(request: web.Request) -> web.Response:
    """Say how long the body was, or why it was not read."""
    try:
        return web.Response(text=f"{len(await read_body(request))} bytes")
    except BridgeError as exc:
        return web.Response(status=exc.status, text=f"{exc.code}: {exc.detail}")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that reads bodies."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_post("/", tell, expect_handler=defer_100_continue)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


async def ask(port: int, headers: bytes, body: bytes = b"") -> tuple[bytes, bytes]:
    """The status line of the reply to a POST, and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + headers + b"\r\n" + body)
        head = await with_timeout(reader.readuntil(b"\r\n\r\n"))
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        return head.partition(b"\r\n")[0], await with_timeout(reader.readexactly(length))
    finally:
        writer.close()


async def test_a_request_without_a_body_has_an_empty_one(port: int) -> None:
    """Nothing is waited for."""
    status, rest = await ask(port, b"")

    assert b" 200 " in status
    assert rest.endswith(b"0 bytes")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 5\r\n", b"12345"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\n123\r\n2\r\n45\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_is_read_whole_however_it_is_sent(port: int, headers: bytes, body: bytes) -> None:
    """The Gateway loses chunked bodies, so it must be known whole before it goes on."""
    assert (await ask(port, headers, body))[1].endswith(b"5 bytes")


async def test_the_largest_body_passes(port: int) -> None:
    """1 MiB is promised."""
    _, rest = await ask(port, b"Content-Length: %d\r\n" % MAX_BODY_BYTES, bytes(MAX_BODY_BYTES))

    assert rest.endswith(b"%d bytes" % MAX_BODY_BYTES)


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(port: int) -> None:
    """Its caller need not send it in vain."""
    status, rest = await ask(port, b"Expect: 100-continue\r\nContent-Length: %d\r\n" % (MAX_BODY_BYTES + 1))

    assert b" 413 " in status
    assert b"payload_too_large" in rest


async def test_a_body_that_turns_out_to_be_too_large_is_refused(port: int) -> None:
    """In chunks it says nothing of its length beforehand."""
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"

    status, rest = await ask(port, b"Transfer-Encoding: chunked\r\n", chunk + b"1\r\nx\r\n0\r\n\r\n")

    assert b" 413 " in status
    assert b"payload_too_large" in rest


async def test_a_caller_who_waits_for_leave_to_send_gets_it(port: int) -> None:
    """Such clients send nothing before the word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    )

    leave = await with_timeout(reader.readuntil(b"\r\n\r\n"))
    writer.write(b"ok")
    rest = await with_timeout(reader.read())
    writer.close()

    assert leave == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert rest.endswith(b"2 bytes")


async def test_a_body_that_does_not_come_is_not_waited_for_longer_than_its_time(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller may have died in the middle of it."""
    monkeypatch.setattr(request_parsing, "BODY_TIMEOUT_S", 0.01)

    status, rest = await ask(port, b"Content-Length: 5\r\n", b"123")

    assert b" 400 " in status
    assert b"did not come in time" in rest


async def test_a_body_that_is_not_packed_as_it_says_is_refused(port: int) -> None:
    """A caller's mistake is no bug of ours."""
    status, rest = await ask(port, b"Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"plain")

    assert b" 400 " in status
    assert b"Traceback" not in rest
