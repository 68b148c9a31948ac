"""Large answers, from the Gateway's first byte to the caller's last, however either of them behaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.api import passthrough
from ibkr_bridge.events import RequestServed
from ibkr_bridge.session.state_machine import SessionState
from tests.conftest import Open
from tests.harness import KEY, Harness
from tests.upstream.gateway.scripted_gateway import PATIENCE, Heard, Script, Stage, Voice, never

LARGE = 1_000_000  # bytes; from 256 KiB on an answer is passed on as it comes
HUGE = 50_000_000  # bytes; more than all buffers on the way can hold
PATH = "/portfolio/large"
FOR_KEEPER = {
    "/iserver/account/orders": b'{"orders":[],"snapshot":false}',
    "/iserver/auth/status": b'{"authenticated":true,"connected":true,"competing":false,"established":true}',
    "/tickle": b'{"session":"0123456789abcdef","ssoExpires":600000}',
    "/iserver/accounts": b'{"accounts":["DU1234567"],"isPaper":true}',
    "/portfolio/accounts": b'[{"id":"DU1234567"}]',
    "/sso/validate": b'{"RESULT":true,"LOGIN_TYPE":2}',
}
ASK = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nConnection: close\r\n\r\n".encode()


def headed(size: int, status: str = "200 OK") -> bytes:
    """The head of an answer of so many bytes."""
    return f"HTTP/1.1 {status}\r\nContent-Type: text/x-large\r\nContent-Length: {size}\r\n\r\n".encode()


def whole(size: int, status: str = "200 OK") -> Script:
    """A script that answers with so many bytes, as fast as they are taken."""

    async def script(_: Heard, voice: Voice) -> None:
        voice.write(headed(size, status) + b"x" * size)
        await voice.drained()

    return script


async def dechunked(reader: asyncio.StreamReader) -> int:
    """Read a chunked body to its end; how many bytes it had."""
    size = 0
    async with asyncio.timeout(PATIENCE):
        while length := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(length + 2)
            size += length
    return size


class Playing:
    """Plays the Gateway for the keeper, and what a test says for everybody else."""

    def __init__(self) -> None:
        self.large: Script = whole(LARGE)
        self.voices: list[Voice] = []

    async def __call__(self, heard: Heard, voice: Voice) -> None:
        """One request."""
        body = FOR_KEEPER.get(heard.target.removeprefix("/v1/api"))
        if body is not None:
            await voice.say(b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
            return
        if heard.target.startswith("/v1/api/ws"):
            return  # no stream here
        self.voices.append(voice)
        await self.large(heard, voice)


@pytest.fixture
def gateway() -> Playing:
    """What the Gateway says."""
    return Playing()


@pytest.fixture
async def stage(gateway: Playing) -> AsyncIterator[Stage]:
    """Where it listens, in the clear."""
    async with Stage(gateway) as playing:
        yield playing


@pytest.fixture
async def harness(open_harness: Open, stage: Stage) -> Harness:
    """A bridge in front of it; the deadline is that of a slow machine: large answers take their time."""
    return await open_harness(gateway=stage.url, IBKR_GATEWAY_TIMEOUT="10")


async def what_came(harness: Harness) -> bytes:
    """Everything that reached a caller before its connection ended, however it ended."""
    try:
        return await harness.send_raw(ASK)
    except ConnectionResetError:
        return b""


async def until_free(harness: Harness) -> None:
    """Wait until every place at the Gateway is free again."""
    async with asyncio.timeout(PATIENCE):
        while harness.bridge.profile.admission.slots_taken:
            await asyncio.sleep(0)


async def served(harness: Harness) -> RequestServed:
    """The log line of the large call, which ends last."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for event in harness.events_seen:
                if isinstance(event, RequestServed) and event.route.startswith("/portfolio"):
                    return event
            await asyncio.sleep(0)


async def test_an_answer_without_a_type_stays_without(harness: Harness) -> None:
    """aiohttp would call it octet-stream."""
    assert "Content-Type" not in (await harness.get("/portfolio/accounts")).headers


async def test_a_gateway_in_the_clear_is_as_good_as_any(harness: Harness) -> None:
    """`http://` on this machine: something else ends TLS."""
    assert harness.bridge.profile.keeper.session.state is SessionState.READY
    assert (await harness.get("/portfolio/accounts")).json == [{"id": "DU1234567"}]


@pytest.mark.parametrize("size", [1, 256 * 1024, 256 * 1024 + 1, 600_000, 3_000_001])
async def test_an_answer_of_any_size_arrives_whole(harness: Harness, gateway: Playing, size: int) -> None:
    """Not a byte more or less, around the size where the manner changes as well."""
    body = bytes(range(256)) * (size // 256 + 1)

    async def script(_: Heard, voice: Voice) -> None:
        voice.write(headed(size) + body[:size])
        await voice.drained()

    gateway.large = script

    reply = await harness.get(PATH)

    assert (reply.status, reply.body == body[:size]) == (200, True)
    assert reply.headers["Content-Type"] == "text/x-large"
    assert reply.headers["X-Bridge-Source"] == "gateway"
    await until_free(harness)


@pytest.mark.parametrize("status", ["404 Not Found", "500 Server Error"])
async def test_a_large_answer_keeps_its_status(harness: Harness, gateway: Playing, status: str) -> None:
    """Errors of IBKR may be long."""
    gateway.large = whole(LARGE, status)

    reply = await harness.get(PATH)

    assert (reply.status, len(reply.body)) == (int(status[:3]), LARGE)


@pytest.mark.parametrize(
    ("status", "code"), [("401 Unauthorized", "upstream_refused"), ("429 Too Many", "rate_limited")]
)
async def test_a_large_answer_that_is_ours_to_explain_is_let_go(
    harness: Harness, gateway: Playing, status: str, code: str
) -> None:
    """Its body is not passed on, and its place becomes free."""
    gateway.large = whole(HUGE, status)

    assert (await harness.get(PATH)).code == code
    await until_free(harness)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_answer_that_is_cut_is_cut_for_the_caller(
    harness: Harness, gateway: Playing, chunked: bool
) -> None:
    """Without the end of chunks nobody takes half of it for the whole."""

    async def script(_: Heard, voice: Voice) -> None:
        half = b"x" * (LARGE // 2)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(half):x}\r\n".encode()
        voice.write(head + half + b"\r\n" if chunked else headed(LARGE) + half)
        await voice.drained()
        await voice.hang_up()

    gateway.large = script

    reply = await what_came(harness)

    assert not reply.endswith(b"0\r\n\r\n")
    assert (await served(harness)).code == "gateway_protocol_error"
    await until_free(harness)


async def test_a_large_answer_that_stops_is_cut_for_the_caller(
    open_harness: Open, stage: Stage, gateway: Playing
) -> None:
    """The Gateway says nothing when IBKR dies in the middle: our own deadline does."""
    harness = await open_harness(gateway=stage.url)

    async def script(_: Heard, voice: Voice) -> None:
        voice.write(headed(LARGE) + b"x" * (LARGE // 2))
        await never()

    gateway.large = script

    reply = await what_came(harness)

    assert not reply.endswith(b"0\r\n\r\n")
    assert (await served(harness)).code == "gateway_timeout"
    assert harness.bridge.profile.admission.slots_taken == 1  # it may still be at work over there


async def test_a_small_answer_that_is_cut_is_an_error_of_ours(harness: Harness, gateway: Playing) -> None:
    """It was held until it was whole, so there is still time to say so."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(headed(1000) + b"x" * 500)
        await voice.hang_up()

    gateway.large = script

    reply = await harness.get(PATH)

    assert (reply.status, reply.code) == (502, "gateway_protocol_error")


async def test_a_slow_caller_slows_the_gateway_not_our_memory(harness: Harness, gateway: Playing) -> None:
    """What is not taken stays where it is; then all of it arrives."""
    gateway.large = whole(HUGE)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
    writer.write(ASK)
    head = await reader.readuntil(b"\r\n\r\n")
    for _ in range(2_000):  # all the time our side would need to take much more
        await asyncio.sleep(0)
    unsent, taken = gateway.voices[0].unsent, harness.bridge.profile.admission.slots_taken

    size = await dechunked(reader)

    assert b"chunked" in head
    assert unsent > HUGE // 2
    assert taken == 1  # the Gateway still sends
    assert size == HUGE
    await until_free(harness)
    writer.close()


async def test_a_caller_who_pauses_gets_all_of_it_whatever_its_size(harness: Harness, gateway: Playing) -> None:
    """The last bytes may find our buffers full to the brim: they are passed on when there is room again."""
    short = []
    for size in range(5_000_000, 9_000_000, 200_000):
        gateway.large = whole(size)
        reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
        writer.write(ASK)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(2_000):  # until everything has gone as far as it can
            await asyncio.sleep(0)
        try:
            if await dechunked(reader) != size:
                short.append(size)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            short.append(size)
        writer.transport.abort()

    assert short == []


async def test_a_caller_who_never_reads_is_let_go(
    harness: Harness, gateway: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not hold one of the Gateway's few places for ever."""
    monkeypatch.setattr(passthrough, "CLIENT_READ_TIMEOUT_S", 0.3)
    gateway.large = whole(HUGE)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
    writer.write(ASK)
    await reader.readuntil(b"\r\n\r\n")

    line = await served(harness)
    await until_free(harness)

    assert line.code == "slow_client"
    writer.transport.abort()


async def test_a_caller_who_hangs_up_leaves_its_place_when_the_gateway_has_ended(
    harness: Harness, gateway: Playing
) -> None:
    """The rest is read and thrown away: the Gateway sends it whether somebody wants it or not."""
    go = asyncio.Event()

    async def script(_: Heard, voice: Voice) -> None:
        voice.write(headed(LARGE) + b"x" * (LARGE // 2))
        await go.wait()
        voice.write(b"x" * (LARGE - LARGE // 2))
        await voice.drained()

    gateway.large = script
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(ASK)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    await asyncio.sleep(0)
    taken = harness.bridge.profile.admission.slots_taken

    go.set()
    await until_free(harness)

    assert taken == 1
    assert (await harness.get("/portfolio/accounts")).status == 200


async def test_others_are_served_meanwhile(harness: Harness, gateway: Playing) -> None:
    """A long answer takes one place, not the bridge."""
    go = asyncio.Event()

    async def script(_: Heard, voice: Voice) -> None:
        voice.write(headed(LARGE) + b"x" * (LARGE // 2))
        await go.wait()
        voice.write(b"x" * (LARGE - LARGE // 2))
        await voice.drained()

    gateway.large = script
    slow = asyncio.create_task(harness.get(PATH))
    async with asyncio.timeout(PATIENCE):
        while not gateway.voices:
            await asyncio.sleep(0)

    others = [(await harness.get("/portfolio/accounts")).status for _ in range(10)]
    go.set()

    assert others == [200] * 10
    assert len((await slow).body) == LARGE
