"""The road to the Gateway: what goes out, what comes back, and that no call is lost, doubled or forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import BridgeError, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.connection_pool import MAX_IDLE_S
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.upstream.gateway.scripted_gateway import OK, PATIENCE, Heard, Script, Stage, Voice, answer, never

SHORT = 0.15  # seconds of patience for silences that are meant
LARGE = 1_000_000  # bytes of a body that is passed on as it comes
LARGE_HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n".encode()
READ = Call("GET", "/v1/api/x")
CHANGES = [
    Call("POST", "/v1/api/order", body=b"{}", is_change=True),
    Call("PUT", "/v1/api/order", body=b"{}", is_change=True),
    Call("DELETE", "/v1/api/order", is_change=True),
]


def way(call: Call) -> str:
    """A name for a test's parameter."""
    return call.method


class Caller:
    """Somebody who asks a Gateway and counts how often it is told that a call has left."""

    def __init__(self, client: GatewayClient) -> None:
        self.client = client
        self.left = 0
        self.sent = False
        self._changed = asyncio.Event()

    def _going(self) -> None:
        self.sent = True

    def one_left(self) -> None:
        """What the slots would hear."""
        self.left += 1
        self._changed.set()

    async def ask(self, call: Call = READ, timeout_s: float | None = None) -> Response:
        """One call, counted; `sent` tells whether its bytes were let go."""
        return await self.client.send(call, timeout_s=timeout_s, on_sent=self._going, on_released=self.one_left)

    async def trouble(self, call: Call = READ, timeout_s: float | None = None) -> BridgeError:
        """One call that is meant to fail."""
        with pytest.raises(BridgeError) as caught:
            await self.ask(call, timeout_s)
        return caught.value

    async def until_left(self) -> None:
        """Wait until the call has left the Gateway."""
        async with asyncio.timeout(PATIENCE):
            while not self.left:
                self._changed.clear()
                await self._changed.wait()

    async def until_no_ghosts(self) -> None:
        """Wait until nothing is read on any more."""
        async with asyncio.timeout(PATIENCE):
            while self.client.abandoned:
                await asyncio.sleep(0)


@asynccontextmanager
async def asking(url: str, timeout_s: float = PATIENCE, ghost_for: float = 120.0) -> AsyncIterator[Caller]:
    """Somebody who asks the Gateway there; everything is closed in the end."""
    cookies = CookieStore(None, Bus(), Redactor(), SystemClock())
    client = GatewayClient(url, cookies, timeout_s, tls=False, abandoned_for_s=ghost_for)
    try:
        yield Caller(client)
    finally:
        await client.close()


Meet = Callable[..., Awaitable[tuple[Stage, Caller]]]


@pytest.fixture
async def meet() -> AsyncIterator[Meet]:
    """Opens a scripted Gateway and somebody who asks it."""
    async with AsyncExitStack() as doors:

        async def met(
            script: Script = answer, *, timeout_s: float = PATIENCE, ghost_for: float = 120.0
        ) -> tuple[Stage, Caller]:
            stage = await doors.enter_async_context(Stage(script))
            caller = await doors.enter_async_context(asking(stage.url, timeout_s, ghost_for))
            return stage, caller

        yield met


# -- before anything goes out


@pytest.mark.parametrize("call", CHANGES, ids=way)
async def test_a_connection_that_closes_during_the_last_look_carries_nothing(meet: Meet, call: Call) -> None:
    """The look takes time, and is told when it asks; the call is known not to have left."""
    stage, caller = await meet()

    async def write_entry() -> None:
        for writer in stage._writers:
            writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while any(connection.is_clean for connection in caller.client._pool._all):
                await asyncio.sleep(0)

    with pytest.raises(GatewayUnreachable, match="before anything was sent"):
        await caller.client.send(call, before_first_byte=write_entry, on_released=caller.one_left)

    assert (stage.heard, caller.left, caller.client.abandoned) == ([], 1, 0)


async def test_a_call_that_is_cancelled_during_the_last_look_carries_nothing(meet: Meet) -> None:
    """Its connection is closed, and its slot is free."""
    stage, caller = await meet()
    looking = asyncio.Event()

    async def write_entry() -> None:
        looking.set()
        await asyncio.get_running_loop().create_future()

    asking = asyncio.create_task(
        caller.client.send(CHANGES[0], before_first_byte=write_entry, on_released=caller.one_left)
    )
    async with asyncio.timeout(PATIENCE):
        await looking.wait()
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await stage.until_closed(1)

    assert (stage.heard, caller.left) == ([], 1)


# -- what goes out


@pytest.mark.parametrize(
    "target",
    [
        "/v1/api/portfolio/accounts",
        "/v1/api/x?",
        "/v1/api/x/?a=b?c=d",
        "/v1/api/x?a=%2F&b=+&&c=&a=|{}",
        "/v1/api/x%20y/%C3%A9?q=%E2%82%AC%25",
        "/v1/api/../x//y/./z",
        "/v1/api/x?a=b;c=d:@!$'()*,~",
    ],
)
async def test_targets_go_out_byte_for_byte(meet: Meet, target: str) -> None:
    """What the rules saw is what IBKR gets."""
    stage, caller = await meet()

    await caller.ask(Call("GET", target))

    assert stage.heard[0].head.startswith(f"GET {target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_empty_body_says_its_length(meet: Meet, method: str) -> None:
    """IBKR answers 411 otherwise."""
    stage, caller = await meet()

    await caller.ask(Call(method, "/v1/api/x"))

    assert stage.heard[0].header("Content-Length") == "0"
    assert stage.heard[0].header("Transfer-Encoding") is None


async def test_only_the_headers_we_chose_go_out(meet: Meet) -> None:
    """HTTP libraries add their own, and IBKR would see them."""
    stage, caller = await meet()

    await caller.ask(Call("GET", "/v1/api/x", (("Accept", "a/b"), ("User-Agent", "me"))))

    names = {line.split(b":")[0].lower() for line in stage.heard[0].head.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept", b"user-agent"}


async def test_a_body_goes_out_whole(meet: Meet) -> None:
    """A megabyte of it, with its length."""
    stage, caller = await meet()
    body = b"[" + b" " * (1024 * 1024 - 2) + b"]"

    await caller.ask(Call("POST", "/v1/api/x", body=body))

    assert stage.heard[0].body == body
    assert stage.heard[0].header("Transfer-Encoding") is None


# -- connections


async def test_reads_share_a_connection(meet: Meet) -> None:
    """TLS is agreed upon once, not for every quote."""
    stage, caller = await meet()

    for _ in range(5):
        await caller.ask()

    assert stage.connections == 1


async def test_a_connection_that_has_rested_too_long_is_let_go(meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was used in between stays; and when there are none left, the next read makes one."""
    stage, caller = await meet()
    loop, ahead = asyncio.get_running_loop(), [0.0]
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + ahead[0])
    await asyncio.gather(caller.ask(), caller.ask())
    ahead[0] += MAX_IDLE_S * 2 / 3
    await caller.ask()
    used = stage.heard[-1].connection

    ahead[0] += MAX_IDLE_S * 2 / 3
    await stage.until_closed(3 - used)
    assert stage.is_open(used)
    ahead[0] += MAX_IDLE_S * 2 / 3
    await stage.until_closed(used)
    await caller.ask()

    assert stage.heard[-1].connection == 3


@pytest.mark.parametrize("more", [b"H", OK[:15], OK, OK[:-4]])
@pytest.mark.parametrize("when", ["with the answer", "while it rests"])
async def test_a_connection_that_says_more_than_it_was_asked_is_not_used_again(
    meet: Meet, more: bytes, when: str
) -> None:
    """What comes next on it would be taken for the answer to the next call."""
    rested = asyncio.Event()

    async def script(heard: Heard, voice: Voice) -> None:
        unasked = more if heard.connection == 1 else b""
        if when == "with the answer":
            await voice.say(OK + unasked)
        else:
            await voice.say(OK)
            await rested.wait()
            await voice.say(unasked)

    stage, caller = await meet(script)
    first = await caller.ask()
    rested.set()
    if when == "while it rests":
        for _ in range(20):  # the stage shares our loop: let it speak, and let us hear it
            await asyncio.sleep(0)
    second = await caller.ask()

    assert (first.body, second.body) == (b"{}", b"{}")
    assert [heard.connection for heard in stage.heard] == [1, 2]


@pytest.mark.parametrize("call", [READ, *CHANGES], ids=way)
@pytest.mark.parametrize("greeting", ["speaks", "hangs up"])
async def test_a_connection_that_does_not_wait_to_be_asked_is_none(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, call: Call, greeting: str
) -> None:
    """What it said would be taken for the answer, to an order too; where it has ended, no byte has left."""
    stage, caller = await meet()
    connections = caller.client._pool
    opened = connections._open

    async def greet(voice: Voice) -> None:
        await (voice.say(OK) if greeting == "speaks" else voice.hang_up())

    async def opened_late() -> Any:
        made = await opened()
        await stage.until(lambda: stage.greeted > 0)
        for _ in range(10):
            await asyncio.sleep(0)
        return made

    stage.greeting = greet
    monkeypatch.setattr(connections, "_open", opened_late)

    error = await caller.trouble(call)

    assert isinstance(error, GatewayUnreachable)
    assert (caller.left, caller.sent, stage.heard) == (1, False, [])


@pytest.mark.parametrize("call", CHANGES, ids=way)
async def test_what_changes_something_travels_alone(meet: Meet, call: Call) -> None:
    """An old connection that ends at the wrong moment would turn an order into an unknown one."""
    stage, caller = await meet()

    await caller.ask()
    await caller.ask(call)
    await caller.ask(call)
    await caller.ask()

    assert [heard.connection for heard in stage.heard] == [1, 2, 3, 1]


async def test_no_connection_is_used_again_after_a_deadline(meet: Meet) -> None:
    """Even when the late answer comes whole, the next caller must not get it."""
    late = asyncio.Event()

    async def script(heard: Heard, voice: Voice) -> None:
        if heard.target.endswith("late"):
            await late.wait()
            await voice.say(OK.replace(b"{}", b"[]"))
        await voice.say(OK)

    stage, caller = await meet(script, timeout_s=SHORT)
    silent = await caller.trouble(Call("GET", "/v1/api/late"))
    late.set()
    await caller.until_left()
    await stage.until_closed(1)

    reply = await caller.ask()

    assert isinstance(silent, GatewayTimeout)
    assert (reply.body, stage.heard[-1].connection) == (b"{}", 2)


async def test_while_a_late_answer_is_out_the_next_call_takes_another_connection(meet: Meet) -> None:
    """Nobody waits behind a ghost."""

    async def script(heard: Heard, voice: Voice) -> None:
        await (never() if heard.target.endswith("late") else voice.say(OK))

    stage, caller = await meet(script, timeout_s=SHORT)
    await caller.trouble(Call("GET", "/v1/api/late"))

    await caller.ask()

    assert [heard.connection for heard in stage.heard] == [1, 2]
    assert stage.is_open(1)  # still read on: the call is at work over there


# -- deadlines


async def test_a_port_that_never_greets_is_silent_and_nothing_was_sent() -> None:
    """TCP is there, TLS is not: an order through it was never sent."""
    # the stage waits for a request in the clear, and so never greets
    async with Stage() as stage, asking(f"https://127.0.0.1:{stage.port}", timeout_s=SHORT) as caller:
        error = await caller.trouble(CHANGES[0])

    assert isinstance(error, GatewayTimeout)
    assert (caller.sent, caller.left, caller.client.abandoned) == (False, 1, 0)


async def test_no_head_in_time_is_silence(meet: Meet) -> None:
    """The Gateway itself would never give up; the call may be at work over there."""
    _, caller = await meet(never, timeout_s=SHORT)

    error = await caller.trouble()

    assert isinstance(error, GatewayTimeout)
    assert (caller.sent, caller.left, caller.client.abandoned) == (True, 0, 1)


async def test_half_a_head_is_no_head(meet: Meet) -> None:
    """Bytes alone do not move the deadline."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(b"HTTP/1.1 200 OK\r\nContent-")
        await never()

    _, caller = await meet(script, timeout_s=SHORT)

    assert isinstance(await caller.trouble(), GatewayTimeout)


async def test_a_body_that_stops_is_silence(meet: Meet) -> None:
    """IBKR died in the middle of its answer; the Gateway says nothing of it."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await never()

    _, caller = await meet(script, timeout_s=SHORT)

    assert isinstance(await caller.trouble(), GatewayTimeout)


async def test_a_call_may_bring_its_own_deadline(meet: Meet) -> None:
    """The keeper's looks are shorter than a caller's patience."""
    _, caller = await meet(never, timeout_s=PATIENCE * 10)

    assert isinstance(await caller.trouble(timeout_s=SHORT), GatewayTimeout)


async def test_a_body_that_drips_for_ever_ends(meet: Meet) -> None:
    """One byte before each deadline must not hold a caller without limit."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await voice.say(b"x")
            await asyncio.sleep(0.05)  # how slowly it drips, not a wait for anything

    _, caller = await meet(script)

    assert isinstance(await caller.trouble(timeout_s=0.15), GatewayTimeout)


async def test_nobody_listening_is_unreachable(unused_tcp_port: int) -> None:
    """Nothing was sent, and the hint says what to start."""
    async with asking(f"https://127.0.0.1:{unused_tcp_port}") as caller:
        error = await caller.trouble(CHANGES[0])

    assert isinstance(error, GatewayUnreachable)
    assert (caller.sent, caller.left) == (False, 1)


# -- repeats


async def test_a_read_whose_kept_connection_ends_is_sent_once_more(meet: Meet) -> None:
    """Idle connections end at any time; the caller need not know."""

    async def script(heard: Heard, voice: Voice) -> None:
        if len(stage.heard) == 2:
            return await voice.hang_up()
        return await voice.say(OK)

    stage, caller = await meet(script)
    await caller.ask()

    reply = await caller.ask()

    assert (reply.status, caller.left) == (200, 2)
    assert [heard.connection for heard in stage.heard] == [1, 1, 2]


@pytest.mark.parametrize("ending", ["hang_up", "reset"])
async def test_a_read_cut_again_and_again_is_sent_twice_at_most(meet: Meet, ending: str) -> None:
    """A Gateway that dies on a call is not hammered with it."""

    async def script(_: Heard, voice: Voice) -> None:
        await (voice.hang_up() if ending == "hang_up" else _reset(voice))

    stage, caller = await meet(script)

    error = await caller.trouble()

    assert isinstance(error, GatewayProtocolError)
    assert (len(stage.heard), caller.left) == (2, 1)


async def _reset(voice: Voice) -> None:
    voice.reset()


@pytest.mark.parametrize("ending", ["hang_up", "reset"])
@pytest.mark.parametrize("beginning", [b"H", b"HTTP/1.1 20", b"HTTP/1.1 204 No Con", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_a_read_is_not_repeated_once_a_byte_has_come(meet: Meet, beginning: bytes, ending: str) -> None:
    """Something over there had begun to answer: only what met nothing at all is sent again."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(beginning)
        await (voice.hang_up() if ending == "hang_up" else _reset(voice))

    stage, caller = await meet(script)

    error = await caller.trouble()

    assert isinstance(error, GatewayProtocolError)
    assert (len(stage.heard), caller.left) == (1, 1)


async def test_a_repeat_does_not_double_the_callers_time(meet: Meet) -> None:
    """A read cut late and then met by silence still ends within about one deadline."""

    async def script(_: Heard, voice: Voice) -> None:
        if len(stage.heard) == 1:
            await asyncio.sleep(1.2)  # how late it is cut, not a wait for anything
            await voice.hang_up()
        await never()

    stage, caller = await meet(script, timeout_s=2.0)

    out = asyncio.create_task(caller.trouble())
    done, _ = await asyncio.wait({out}, timeout=3.0)

    assert len(stage.heard) == 2
    assert done, "the second attempt was given the whole patience again"
    await out


@pytest.mark.parametrize("call", CHANGES, ids=way)
@pytest.mark.parametrize("ending", ["hang_up", "reset", "garble"])
async def test_what_changes_something_is_never_repeated(meet: Meet, call: Call, ending: str) -> None:
    """HTTP libraries repeat PUT and DELETE by themselves; an order goes out once."""

    async def script(_: Heard, voice: Voice) -> None:
        if ending == "garble":
            await voice.say(b"\x16\x03 no HTTP at all\r\n\r\n")
        await (_reset(voice) if ending == "reset" else voice.hang_up())

    stage, caller = await meet(script)

    error = await caller.trouble(call)

    assert isinstance(error, GatewayProtocolError)
    assert (caller.sent, len(stage.heard), caller.left) == (True, 1, 1)


# -- a call has left the Gateway: said exactly once, however it ends


@pytest.mark.parametrize("call", [READ, *CHANGES], ids=way)
async def test_an_answer_frees_its_slot_once(meet: Meet, call: Call) -> None:
    """The slot would be given away twice otherwise."""
    _, caller = await meet()

    await caller.ask(call)

    assert caller.left == 1


@pytest.mark.parametrize(
    "answered",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    ],
)
async def test_a_broken_answer_is_told_at_once_and_frees_its_slot_once(meet: Meet, answered: bytes) -> None:
    """Half an answer is none, and bytes that are not HTTP are none either."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(answered)
        await voice.hang_up()

    _, caller = await meet(script, timeout_s=PATIENCE)

    assert isinstance(await caller.trouble(), GatewayProtocolError)
    assert (caller.left, caller.client.abandoned) == (1, 0)


async def test_chunks_that_are_none_are_told_at_once(meet: Meet) -> None:
    """The connection stays open, but what comes on it can never become an answer."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"zz\r\n")
        await never()

    _, caller = await meet(script)

    assert isinstance(await caller.trouble(), GatewayProtocolError)
    assert caller.left == 1


@pytest.mark.parametrize("ending", ["answer", "cut", "garble", "large"])
async def test_a_late_ending_frees_its_slot_once(meet: Meet, ending: str) -> None:
    """A call given up here is at work over there until it ends there."""
    go = asyncio.Event()

    async def script(_: Heard, voice: Voice) -> None:
        await go.wait()
        if ending == "large":
            await voice.say(LARGE_HEAD, b"x" * LARGE)
        elif ending != "cut":
            await voice.say(OK if ending == "answer" else b"no HTTP\r\n\r\n")
        await voice.hang_up()

    _, caller = await meet(script, timeout_s=SHORT)
    await caller.trouble()
    meanwhile = (caller.left, caller.client.abandoned)

    go.set()
    await caller.until_left()
    await caller.until_no_ghosts()

    assert meanwhile == (0, 1)
    assert caller.left == 1


async def test_a_call_without_any_ending_frees_its_slot_in_the_end(meet: Meet) -> None:
    """After two minutes nobody believes that the Gateway still works on it; the connection is closed."""
    stage, caller = await meet(never, ghost_for=SHORT, timeout_s=SHORT)
    await caller.trouble()
    meanwhile = caller.left

    await caller.until_left()
    await caller.until_no_ghosts()
    await stage.until_closed(1)

    assert (meanwhile, caller.left) == (0, 1)


async def test_a_large_answer_frees_its_slot_when_it_is_read(meet: Meet) -> None:
    """Not at its beginning: the Gateway is still sending."""
    _, caller = await meet(_large)
    reply = await caller.ask()
    assert reply.body_stream is not None
    before = caller.left

    rest = b"".join([chunk async for chunk in reply.body_stream.chunks()])
    reply.body_stream.close()
    reply.body_stream.close()

    assert (before, caller.left) == (0, 1)
    assert len(reply.body) + len(rest) == LARGE


async def _large(_: Heard, voice: Voice) -> None:
    await voice.say(LARGE_HEAD, b"x" * LARGE)


async def test_a_large_answer_nobody_wants_is_read_on_and_frees_its_slot_once(meet: Meet) -> None:
    """Whoever asked has gone; the Gateway has not."""
    stage, caller = await meet(_large)
    reply = await caller.ask()
    assert reply.body_stream is not None

    reply.body_stream.close()
    reply.body_stream.close()
    await caller.until_left()
    await caller.until_no_ghosts()
    await stage.until_closed(1)

    assert caller.left == 1


async def test_a_large_answer_that_is_cut_is_told_and_frees_its_slot_once(meet: Meet) -> None:
    """Half of it must not pass for the whole."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(LARGE_HEAD, b"x" * (LARGE // 2))
        await voice.hang_up()

    _, caller = await meet(script)
    reply = await caller.ask()
    assert reply.body_stream is not None

    with pytest.raises(GatewayProtocolError):
        _ = [chunk async for chunk in reply.body_stream.chunks()]
    reply.body_stream.close()

    assert caller.left == 1


async def test_a_large_answer_that_stops_is_told_and_frees_its_slot_in_the_end(meet: Meet) -> None:
    """The Gateway says nothing when IBKR dies in the middle."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(LARGE_HEAD, b"x" * (LARGE // 2))
        await never()

    _, caller = await meet(script, ghost_for=SHORT, timeout_s=SHORT)
    reply = await caller.ask()
    assert reply.body_stream is not None

    with pytest.raises(GatewayTimeout):
        _ = [chunk async for chunk in reply.body_stream.chunks()]
    reply.body_stream.close()
    await caller.until_left()
    await caller.until_no_ghosts()

    assert caller.left == 1


async def test_a_large_answer_waits_for_its_reader(meet: Meet) -> None:
    """What nobody has taken yet stays at the Gateway, not in our memory."""
    size = 50_000_000
    talking: list[Voice] = []

    async def script(_: Heard, voice: Voice) -> None:
        talking.append(voice)
        voice.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
        await voice.drained()

    _, caller = await meet(script, timeout_s=PATIENCE)
    reply = await caller.ask()
    assert reply.body_stream is not None
    for _ in range(1_000):  # all the time our side would need to take much more
        await asyncio.sleep(0)

    assert talking[0].unsent > size // 2
    assert sum([len(chunk) async for chunk in reply.body_stream.chunks()]) + len(reply.body) == size
    reply.body_stream.close()


async def test_a_large_answer_ends_for_a_slow_reader_too(meet: Meet) -> None:
    """All of it has come and lies in our buffers, full to the brim, before its reader goes on."""
    _, caller = await meet(_large, timeout_s=1.0)
    reply = await caller.ask()
    assert reply.body_stream is not None
    for _ in range(1_000):  # until all is here
        await asyncio.sleep(0)

    rest = b"".join([chunk async for chunk in reply.body_stream.chunks()])
    reply.body_stream.close()

    assert len(reply.body) + len(rest) == LARGE
    assert caller.left == 1


@pytest.mark.parametrize("moment", ["at once", "later"])
async def test_closing_frees_the_slot_of_a_ghost_once(meet: Meet, moment: str) -> None:
    """The bridge ends while a call is still at work over there; nothing is left running, and nothing is warned of."""
    stage, caller = await meet(never, timeout_s=SHORT)
    await caller.trouble()
    if moment == "later":
        for _ in range(5):  # until the ghost has begun to wait
            await asyncio.sleep(0)

    await caller.client.close()
    await stage.until_closed(1)

    assert (caller.left, caller.client.abandoned) == (1, 0)


async def test_closing_ends_a_call_that_is_out(meet: Meet) -> None:
    """Whoever waits is told in our own words, and its slot is free."""
    stage, caller = await meet(never, timeout_s=PATIENCE)
    out = asyncio.create_task(caller.trouble())
    await stage.until_heard(1)

    await caller.client.close()
    error = await out

    assert isinstance(error, GatewayProtocolError)
    assert caller.left == 1


async def test_closing_tells_whoever_reads_a_body(meet: Meet) -> None:
    """At once, not when its patience ends; and no ghost is made for it."""

    async def script(_: Heard, voice: Voice) -> None:
        await voice.say(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf")
        await never(_, voice)

    stage, caller = await meet(script, timeout_s=PATIENCE)
    out = asyncio.create_task(caller.trouble())
    await stage.until_heard(1)
    for _ in range(20):
        await asyncio.sleep(0)

    await caller.client.close()
    async with asyncio.timeout(PATIENCE / 2):
        error = await out

    assert isinstance(error, GatewayProtocolError)
    assert (caller.left, caller.client.abandoned) == (1, 0)


async def test_a_call_that_still_connects_when_all_is_closed_is_not_sent(
    meet: Meet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes out after `close`."""
    stage, caller = await meet()
    connections = caller.client._pool
    opened, closed = connections._open, asyncio.Event()

    async def opened_late() -> Any:
        made = await opened()
        await closed.wait()
        return made

    monkeypatch.setattr(connections, "_open", opened_late)
    out = asyncio.create_task(caller.trouble(CHANGES[0]))
    await stage.until(lambda: stage.connections == 1)

    await caller.client.close()
    closed.set()
    error = await out

    assert isinstance(error, GatewayUnreachable)
    assert (caller.left, caller.sent, stage.heard) == (1, False, [])


@pytest.mark.parametrize("value", ["\u20ac", "\u00e9", "a b"])
async def test_a_cookie_of_any_bytes_goes_back_as_it_came(meet: Meet, value: str) -> None:
    """It must not stand in the way of any later call, nor of a slot."""
    raw = value.encode("utf-8", "surrogateescape")
    heads: list[bytes] = []

    async def script(heard: Heard, voice: Voice) -> None:
        heads.append(heard.head)
        await voice.say(OK.replace(b"Content-Type", b"Set-Cookie: x=" + raw + b"; Path=/\r\nContent-Type"))

    _, caller = await meet(script)

    await caller.ask()
    await caller.ask(CHANGES[0])

    assert b"Cookie: x=" + raw + b"\r\n" in heads[1]
    assert caller.left == 2


async def test_our_own_bug_frees_its_slot(meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the call is sent and after; four such and nobody would be served any more."""
    _, caller = await meet()
    cookies = caller.client._cookies

    def broken(*_: object) -> str:
        raise ZeroDivisionError

    for name in ("header", "update"):
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(cookies, name, broken)
            await caller.ask()

    assert caller.left == 2


async def test_a_caller_cancelled_in_the_middle_frees_its_slot_once(meet: Meet) -> None:
    """The bridge ends: the call is let go, its connection with it."""
    stage, caller = await meet(never, timeout_s=PATIENCE)
    out = asyncio.create_task(caller.ask())
    await stage.until_heard(1)

    out.cancel()
    await asyncio.gather(out, return_exceptions=True)
    await stage.until_closed(1)

    assert caller.left == 1


async def test_ghosts_are_counted_and_shown(meet: Meet) -> None:
    """`/gateway/status` tells how many calls were given up."""
    _, caller = await meet(never, timeout_s=SHORT)

    await caller.trouble()
    await caller.trouble()

    assert caller.client.abandoned == 2
    assert repr(caller.client).endswith(", 2 ghost calls>")


async def test_the_simulated_gateway_is_asked_over_tls(sim: Simulator) -> None:
    """As shipped: expired, self-signed, TLS 1.2."""
    async with asking(sim.url, timeout_s=PATIENCE) as caller:
        reply = await caller.ask(Call("GET", "/v1/api/iserver/auth/status"))

    assert reply.status == 200
