"""The parts of a request that are parsed: lists, seconds and keys in headers, and the body on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ibkr_bridge.application import defer_100_continue
from ibkr_bridge.errors import BadRequest, BridgeError, PayloadTooLarge
from ibkr_bridge.server import request_parsing
from ibkr_bridge.server.request_parsing import (
    MAX_BODY_BYTES,
    MAX_MARKS,
    MAX_WORDS,
    check_members,
    header_seconds,
    header_words,
    idempotency_key,
    read_body,
)
from tests.harness import Harness, with_timeout

WORDS, SECONDS, KEY = "X-Bridge-Confirm", "X-Bridge-Wait", "Idempotency-Key"


def with_header(name: str, *values: str) -> web.Request:
    """A request with one header line for each value."""
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
def test_a_list_of_words_may_have_several_header_lines_and_blanks(values: list[str], words: set[str]) -> None:
    """HTTP says that a list in one line and a list in several lines mean the same."""
    assert header_words(with_header(WORDS, *values), WORDS) == words


@pytest.mark.parametrize("value", ["o163;o354", "o163 o354", "-o163", "a" * 33, "ö163", "*", "o163,o_1"])
def test_a_list_with_an_invalid_word_is_refused_completely(value: str) -> None:
    """If a part of the list were used, a caller that confirms two questions would confirm only one of them."""
    with pytest.raises(BadRequest) as caught:
        header_words(with_header(WORDS, value), WORDS)

    assert value not in caught.value.detail + caught.value.hint


def test_the_number_of_words_is_limited() -> None:
    """IBKR has about forty questions, so a longer list does not come from a careful caller."""
    words = [f"o{number}" for number in range(MAX_WORDS)]

    assert len(header_words(with_header(WORDS, ",".join(words)), WORDS)) == MAX_WORDS
    with pytest.raises(BadRequest):
        header_words(with_header(WORDS, ",".join([*words, "more"])), WORDS)


@pytest.mark.parametrize(
    ("value", "key"),
    [("abc", "abc"), ('"abc"', "abc"), ('  "a b"  ', "a b"), ("x" * 255, "x" * 255), ("!#$%&'()", "!#$%&'()")],
)
def test_a_key_may_be_quoted_or_not(value: str, key: str) -> None:
    """The draft of the standard has quotes, and most clients send none; both mean the same key."""
    assert idempotency_key(with_header(KEY, value)) == key


def test_a_request_without_a_key_has_none() -> None:
    """The header is optional."""
    assert idempotency_key(make_mocked_request("POST", "/")) is None


@pytest.mark.parametrize(
    "values",
    [[""], ['""'], ["a b"], ['"abc'], ['abc"'], ['"a"b"'], ["x" * 256], ["schlüssel"], ["a\\b"], ["one", "one"]],
)
def test_an_invalid_key_or_a_second_one_is_refused(values: list[str]) -> None:
    """If the bridge read another key than the client meant, a repeated order would be sent twice."""
    with pytest.raises(BadRequest):
        idempotency_key(with_header(KEY, *values))


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("1", 1.0), ("2.5", 2.5), ("007", 7.0), ("61", 60.0), ("999999999", 60.0)]
)
def test_seconds_are_reduced_to_the_maximum(value: str, seconds: float) -> None:
    """A caller that allows a longer wait than the bridge does is served, with the longest wait that is possible."""
    assert header_seconds(with_header(SECONDS, value), SECONDS, 60.0) == seconds


def test_a_request_without_seconds_has_none() -> None:
    """None means the default; zero means that the call must not wait."""
    assert header_seconds(make_mocked_request("GET", "/"), SECONDS, 60.0) is None


@pytest.mark.parametrize(
    "value", ["", " ", "-1", "+1", "1e3", "inf", "nan", "1.", ".5", "1,5", "0x1", "1_0", "1 2", "٣", "1234567890"]
)
def test_a_value_that_is_not_a_plain_number_of_seconds_is_refused(value: str) -> None:
    """Python's `float` accepts forms such as `1_0` and `inf`, which no caller means as a number of seconds."""
    with pytest.raises(BadRequest):
        header_seconds(with_header(SECONDS, value), SECONDS, 60.0)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40))
def test_every_header_value_is_parsed_or_refused(value: str) -> None:
    """The value comes from the caller; another exception would be reported as an error of the bridge."""
    for parse in (
        lambda: header_words(with_header(WORDS, value), WORDS),
        lambda: idempotency_key(with_header(KEY, value)),
        lambda: header_seconds(with_header(SECONDS, value), SECONDS, 60.0),
    ):
        try:
            parse()
        except BadRequest:
            continue


async def respond_with_body_length(request: web.Request) -> web.Response:
    """Respond with the length of the body, or with the error that reading it raised."""
    try:
        return web.Response(text=f"{len(await read_body(request))} bytes")
    except BridgeError as exc:
        return web.Response(status=exc.status, text=f"{exc.code}: {exc.detail}")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of a server that reads bodies."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_post("/", respond_with_body_length, expect_handler=defer_100_continue)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


async def post(port: int, headers: bytes, body: bytes = b"") -> tuple[bytes, bytes]:
    """Send a POST request. Returns the status line and the body of the reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + headers + b"\r\n" + body)
        head = await with_timeout(reader.readuntil(b"\r\n\r\n"))
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        return head.partition(b"\r\n")[0], await with_timeout(reader.readexactly(length))
    finally:
        writer.close()


async def test_a_request_without_a_body_has_an_empty_one(port: int) -> None:
    """The server must not wait for a body that will never come."""
    status, body = await post(port, b"")

    assert b" 200 " in status
    assert body.endswith(b"0 bytes")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 5\r\n", b"12345"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\n123\r\n2\r\n45\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_is_read_completely_with_a_length_or_in_chunks(port: int, headers: bytes, body: bytes) -> None:
    """The Gateway loses chunked bodies, so the bridge reads the complete body and sends it with its length."""
    assert (await post(port, headers, body))[1].endswith(b"5 bytes")


async def test_the_largest_body_is_accepted(port: int) -> None:
    """The documentation promises 1 MiB."""
    _, body = await post(port, b"Content-Length: %d\r\n" % MAX_BODY_BYTES, bytes(MAX_BODY_BYTES))

    assert body.endswith(b"%d bytes" % MAX_BODY_BYTES)


async def test_a_body_with_too_large_a_length_is_refused_before_it_is_sent(port: int) -> None:
    """The caller waits for `100 Continue`, and need not send a body that will be refused."""
    status, body = await post(port, b"Expect: 100-continue\r\nContent-Length: %d\r\n" % (MAX_BODY_BYTES + 1))

    assert b" 413 " in status
    assert b"payload_too_large" in body


async def test_a_chunked_body_that_becomes_too_large_is_refused(port: int) -> None:
    """A chunked body has no length in its headers, so its size shows only while it is read."""
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"

    status, body = await post(port, b"Transfer-Encoding: chunked\r\n", chunk + b"1\r\nx\r\n0\r\n\r\n")

    assert b" 413 " in status
    assert b"payload_too_large" in body


async def test_a_caller_that_waits_for_100_continue_gets_it(port: int) -> None:
    """Such a client sends no body before it has read this line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    )

    interim = await with_timeout(reader.readuntil(b"\r\n\r\n"))
    writer.write(b"ok")
    reply = await with_timeout(reader.read())
    writer.close()

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert reply.endswith(b"2 bytes")


async def test_the_wait_for_a_body_ends_with_a_timeout(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller may have been killed after it sent a part of the body."""
    monkeypatch.setattr(request_parsing, "BODY_TIMEOUT_S", 0.01)

    status, body = await post(port, b"Content-Length: 5\r\n", b"123")

    assert b" 400 " in status
    assert b"did not come in time" in body


async def test_a_body_that_is_not_encoded_as_its_header_says_is_refused(port: int) -> None:
    """It is a mistake of the caller, so it must not be reported as an error of the bridge."""
    status, body = await post(port, b"Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"plain")

    assert b" 400 " in status
    assert b"Traceback" not in body


HALF_MILLION = 500_000


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b",".join([b'"a":1'] * 170_000) + b"}",
        b"[" + b",".join([b"1"] * HALF_MILLION) + b"]",
        b"[" * HALF_MILLION,
        b'{"a":' * 200_000,
        b'{"orders":[' + b",".join([b"{}"] * 300_000) + b"]}",
        b"[" + b",".join([b'[{"a":[]}]'] * 5_000) + b"]",
    ],
)
@pytest.mark.parametrize("target", ["/iserver/account/DU1234567/orders", "/iserver/secdef/search", "/auth/token"])
async def test_a_body_of_many_members_is_refused_before_it_is_parsed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, target: str, body: bytes
) -> None:
    """Parsing it would hold the event loop, and all other callers with it."""
    parsed: list[int] = []
    loads = json.loads

    def count_and_load(text: bytes, **options: Any) -> object:
        parsed.append(len(text))
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", count_and_load)

    reply = await harness.post(target, body, headers={"Content-Type": "application/json"})

    assert reply.status == 413
    assert max(parsed, default=0) < 10_000
    assert (reply.code, "at most" in reply.json["hint"]) == ("payload_too_large", True)


@pytest.mark.parametrize("size", [0, 1, MAX_MARKS])
def test_a_large_body_of_few_members_passes(size: int) -> None:
    """A long text is no work for a parser."""
    check_members(b'"' + b"a" * (MAX_BODY_BYTES - 2 - size) + b"," * (size - 1) + b'"')
    with pytest.raises(PayloadTooLarge):
        check_members(b"," * (MAX_MARKS + 1))
