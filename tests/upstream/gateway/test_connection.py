"""Answers without a body, with the end of chunks the Gateway sends behind them all the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.connection import MAX_HEAD_BYTES, GatewayConnection
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.upstream.gateway.scripted_gateway import OK, PATIENCE, Heard, Script, Stage, Voice, answer, never

STRAY = b"0\r\n\r\n"
HEADS = {
    204: b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n",
    304: b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n",
}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
SHORT = 0.3  # seconds of patience for silences that are meant


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A scripted Gateway."""
    async with Stage() as playing:
        yield playing


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[GatewayClient]:
    """A client of it."""
    client = GatewayClient(stage.url, CookieStore(None, Bus(), Redactor(), SystemClock()), PATIENCE, tls=False)
    yield client
    await client.close()


async def ask(client: GatewayClient, target: str = "/v1/api/x", method: str = "GET") -> Response:
    """One call."""
    return await client.send(Call(method, target, is_change=method != "GET"))


def saying(*pieces: bytes) -> Script:
    """A script for the first request; all others are answered plainly."""
    first = itertools.chain([pieces], itertools.repeat((OK,)))

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(*next(first))

    return script


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_stray_end_of_chunks_in_the_same_segment(
    stage: Stage, client: GatewayClient, status: int, method: str
) -> None:
    """Read as an answer of its own it would hide the real one."""
    stage.script = saying(HEADS[status] + STRAY)

    empty = await ask(client, method=method)
    following = [(await ask(client)).status for _ in range(3)]

    assert (empty.status, empty.body, empty.headers["X-A"]) == (status, b"", "b")
    assert following == [200] * 3


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_stray_end_of_chunks_in_a_segment_of_its_own(
    stage: Stage, client: GatewayClient, status: int, method: str
) -> None:
    """It may come while the connection is at rest, or with the next call on it: neither may notice."""
    stage.script = saying(HEADS[status], STRAY)

    empty = await ask(client, method=method)
    following = [(await ask(client)).status for _ in range(3)]

    assert (empty.status, empty.body) == (status, b"")
    assert following == [200] * 3


async def test_a_stray_end_that_comes_much_later_poisons_nobody(stage: Stage, client: GatewayClient) -> None:
    """The next call is out already when it comes."""
    late = asyncio.Event()

    async def script(heard: Heard, voice: Voice) -> None:
        if heard.target.endswith("empty"):
            await voice.say(HEADS[204])
            await late.wait()
            await voice.say(STRAY)
        else:
            late.set()
            await voice.say(OK)

    stage.script = script

    empty = await ask(client, "/v1/api/empty")
    following = await ask(client)

    assert (empty.status, following.status, following.body) == (204, 200, b"{}")


@pytest.mark.parametrize("status", [204, 304])
async def test_its_connection_is_not_used_again(stage: Stage, client: GatewayClient, status: int) -> None:
    """Whatever else the Gateway sends on it is nobody's answer."""
    stage.script = saying(HEADS[status] + STRAY)

    await ask(client)
    await ask(client)

    assert [heard.connection for heard in stage.heard] == [1, 2]


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("cut", [1, 9, 10, 11, 12, 13, 20, -1])
async def test_a_head_that_comes_in_two_pieces(stage: Stage, client: GatewayClient, status: int, cut: int) -> None:
    """TCP cuts where it likes."""
    head = HEADS[status]
    stage.script = saying(head[:cut], head[cut:] + STRAY)

    empty = await ask(client)
    following = await ask(client)

    assert (empty.status, following.status) == (status, 200)


@pytest.mark.parametrize("whole", [CHUNKED, OK, HEADS[204] + STRAY, HEADS[304] + STRAY])
async def test_an_answer_that_comes_byte_by_byte(stage: Stage, client: GatewayClient, whole: bytes) -> None:
    """Each of the four sorts, told apart as late as can be."""
    stage.script = saying(*(bytes([byte]) for byte in whole))

    reply = await ask(client)
    following = await ask(client)

    assert reply.body == (b"" if reply.status in (204, 304) else b"{}")
    assert following.status == 200


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 2", b"HTTP/1.1 20", b"HTTP/1.1 30", b"HTTP/1.0 20"])
async def test_a_head_that_only_begins_like_an_empty_one(stage: Stage, client: GatewayClient, beginning: bytes) -> None:
    """200, 201 and 302 have bodies, and are passed on with them."""
    rest = {b"2": b"01 Created", b"0": b"0 OK"}[b"2" if beginning.endswith(b"2") else b"0"]
    rest = b"2 Found" if beginning.endswith(b"30") else rest
    stage.script = saying(beginning, rest + b"\r\nContent-Length: 2\r\n\r\n{}")

    reply = await ask(client)

    assert reply.body == b"{}"


async def test_an_ordinary_answer_keeps_its_connection(stage: Stage, client: GatewayClient) -> None:
    """The corrections cost nothing where there is nothing to correct."""
    stage.script = saying(CHUNKED)

    for _ in range(4):
        await ask(client)

    assert stage.connections == 1


async def test_a_redirect_is_an_answer_not_an_order(stage: Stage, client: GatewayClient) -> None:
    """The Gateway redirects strangers to IBKR's host; nobody follows."""
    stage.script = saying(
        b"HTTP/1.1 302 Found\r\nLocation: " + stage.url.encode() + b"/elsewhere\r\nTransfer-Encoding: chunked\r\n\r\n",
        STRAY,
    )

    reply = await ask(client)

    assert (reply.status, len(stage.heard)) == (302, 1)


async def test_a_compressed_body_is_left_as_it_is(stage: Stage, client: GatewayClient) -> None:
    """Whoever asked unpacks it."""
    stage.script = saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip")

    assert (await ask(client)).body == b"no gzip"


async def test_a_204_whose_head_never_ends_is_silence(stage: Stage, client: GatewayClient) -> None:
    """Held back bytes do not hold the caller back beyond its deadline."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(HEADS[204][:-2])
        await never()

    stage.script = script

    with pytest.raises(GatewayTimeout):
        await client.send(Call("GET", "/v1/api/x"), timeout_s=SHORT)


async def test_a_204_whose_head_is_cut_off_is_garbled(stage: Stage, client: GatewayClient) -> None:
    """A cancel answered so may have been carried out, and is not sent again."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(HEADS[204][:-2])
        await voice.hang_up()

    stage.script = script

    with pytest.raises(GatewayProtocolError):
        await ask(client, method="DELETE")

    assert len(stage.heard) == 1


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    "before", [b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 3]
)
async def test_what_comes_before_an_empty_answer_does_not_hide_it(
    stage: Stage, client: GatewayClient, status: int, before: bytes
) -> None:
    """In one segment with it, or byte by byte."""
    stage.script = saying(before + HEADS[status] + STRAY)
    whole = await ask(client, method="DELETE")
    stage.script = saying(*(bytes([each]) for each in before + HEADS[status] + STRAY))
    bytewise = await ask(client, method="DELETE")

    assert [(reply.status, reply.body) for reply in (whole, bytewise)] == [(status, b"")] * 2


async def test_an_empty_answer_with_bare_line_ends_is_one(stage: Stage, client: GatewayClient) -> None:
    """The parser takes them, so nobody may wait for more."""
    stage.script = saying(b"HTTP/1.1 204 No Content\nX-A: b\n\n")

    assert (await ask(client)).status == 204


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No", b"\r\n", b"HTTP/1.1 100 Co"])
async def test_a_head_without_an_end_is_not_kept(stage: Stage, client: GatewayClient, head: bytes) -> None:
    """What is held back has a limit; beyond it the parser judges."""
    say = saying(head + (b"\r\n" if head == b"\r\n" else b"x") * MAX_HEAD_BYTES)
    connections: set[GatewayConnection] = set()  # the pool itself holds them weakly

    async def script(heard: Heard, voice: Voice) -> None:
        connections.update(client._pool._all)
        await say(heard, voice)

    stage.script = script

    with pytest.raises((GatewayProtocolError, GatewayTimeout)):
        await client.send(Call("GET", "/v1/api/x"), timeout_s=SHORT)

    assert connections
    assert all(not connection._beginning for connection in connections)


async def test_the_plain_script_is_plain(stage: Stage, client: GatewayClient) -> None:
    """The stage itself tells the truth: a request in, an answer out."""
    stage.script = answer

    assert (await ask(client)).body == b"{}"
    assert stage.heard[0].method == "GET"
