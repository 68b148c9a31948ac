"""The Gateway's websockets: yes at once, IBKR later or never."""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable

import pytest

from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.conftest import Dial, OpenGate
from tests.contract.sockets import ACCEPT, BINARY, CLOSE, PATH, PING, PONG, UPGRADE, Socket
from tests.harness import within
from tests.sim.wire import connect

STATUS = "/v1/api/iserver/auth/status"
Open = Callable[..., Awaitable[Socket]]


@pytest.fixture
def open_socket(gate: MarketStage, dial: Dial) -> Open:
    """Opens a websocket, connected to IBKR unless told not to wait for that."""

    async def open_one(*, connected: bool = True, target: str = PATH) -> Socket:
        socket = Socket(await dial())
        await within(socket.open(target))
        if connected:
            await within(socket.receive_greeting())
        return socket

    return open_one


@pytest.fixture
async def socket(open_socket: Open) -> Socket:
    """One that is connected to IBKR."""
    return await open_socket()


@pytest.mark.parametrize("target", [PATH, "/v1/api/elsewhere", "/", "/status", "/clear"])
async def test_yes_is_said_to_any_path(dial: Dial, target: str) -> None:
    """Before and regardless of IBKR, without extensions or subprotocols."""
    headers = {"Sec-WebSocket-Extensions": "permessage-deflate", "Sec-WebSocket-Protocol": "a, b"}

    response = await within(Socket(await dial()).open(target, headers))

    assert (response.status, response.header("Sec-WebSocket-Accept")) == (101, ACCEPT)
    assert response.header("Sec-WebSocket-Extensions") is response.header("Sec-WebSocket-Protocol") is None


async def test_a_malformed_escape_is_never_answered(dial: Dial) -> None:
    """As without an upgrade."""
    wire = await dial()

    wire.send_request("GET", "/v1/api/%zz", UPGRADE)

    assert await wire.is_silent()


@pytest.mark.parametrize(
    "headers", [{"Sec-WebSocket-Version": "7"}, {"Connection": "keep-alive, Upgrade"}, {"Origin": "https://evil"}]
)
async def test_handshakes_are_taken_leniently(dial: Dial, headers: dict[str, str]) -> None:
    """Any version, several words in Connection, any page."""
    assert (await within(Socket(await dial()).open(headers=headers))).status == 101


async def test_the_address_rules_do_not_apply(dial: Dial) -> None:
    """An address that gets Access Denied over HTTP gets a socket."""
    assert (await within(Socket(await dial("127.0.0.2")).open())).status == 101


async def test_the_first_word_is_ibkrs(socket: Socket, gate: MarketStage) -> None:
    """Only it shows that there is a connection."""
    assert len(gate.market.stream.sockets) == 1


async def test_ibkr_speaks_in_binary_frames(open_socket: Open) -> None:
    """With JSON inside."""
    socket = await open_socket(connected=False)

    kind, payload = await within(socket.receive_frame())

    assert (kind, json.loads(payload)["topic"]) == (BINARY, "system")


async def test_clients_words_arrive_as_text(gate: MarketStage, socket: Socket) -> None:
    """Whichever kind of frame they were sent in."""
    socket.send("tic")
    socket.send("ech+hb", BINARY)

    await within(gate.market.stream.wait_for_message("ech+hb"))

    assert gate.market.stream.received == ["tic", "ech+hb"]


async def test_what_is_asked_for_is_streamed(gate: MarketStage, socket: Socket) -> None:
    """From the first message on, as it comes."""
    socket.send('smd+265598+{"fields":["31"]}')

    messages = [json.loads(await within(socket.receive_payload(BINARY))) for _ in range(2)]

    assert [(each["topic"], "31" in each) for each in messages] == [("smd+265598", True)] * 2
    assert "6509" not in messages[1]


async def test_words_before_ibkr_is_there_are_lost(gate: MarketStage, open_socket: Open, silence_s: float) -> None:
    """Without a sign; what is sent afterwards arrives."""
    gate.faults.add("delay", path=PATH, seconds=silence_s, own=True)
    socket = await open_socket(connected=False)
    socket.send("smd+265598+{}")

    await within(socket.receive_payload(BINARY))
    socket.send("tic")
    await within(gate.market.stream.wait_for_message("tic"))

    assert gate.market.stream.received == ["tic"]


async def test_a_refusal_of_ibkr_is_not_told(gate: MarketStage, open_socket: Open) -> None:
    """The socket is open and silent; pings are answered all the same."""
    gate.faults.add("status", path=PATH, status=401, own=True)
    socket = await open_socket(connected=False)
    await within(gate.wait_for_calls(PATH))

    assert await socket.wire.is_silent()
    socket.send(b"?", PING)
    assert await within(socket.receive_frame()) == (PONG, b"?")


async def test_pings_are_answered_by_the_gateway_itself(gate: MarketStage, socket: Socket) -> None:
    """So they say nothing of IBKR."""
    socket.send(b"are you there", PING)

    assert await within(socket.receive_payload(PONG)) == b"are you there"
    assert gate.market.stream.received == []


async def test_pings_of_ibkr_are_not_passed_on(gate: MarketStage, socket: Socket) -> None:
    """The Gateway answers them."""
    await gate.market.stream.sockets[0].ping(b"x")
    await gate.market.stream.send_to_all("after the ping")

    assert await within(socket.receive_frame()) == (BINARY, b"after the ping")


async def test_fragments_become_messages(gate: MarketStage, socket: Socket) -> None:
    """Each by itself."""
    socket.send("smd+", final=False)
    socket.send("265598", 0x0)

    await within(gate.market.stream.wait_for_message("265598"))

    assert gate.market.stream.received == ["smd+", "265598"]


async def test_who_is_signed_in_decides_what_is_said_first(open_gate: OpenGate) -> None:
    """The jar's cookies go along, the client's do not, nor its names; the query does."""
    gate = await open_gate()
    wire = await connect(gate)
    sent = {"Cookie": "api=mine", "Origin": "https://x", "User-Agent": "me/1", "X-Anything": "y"}
    await within(Socket(wire).open(f"{PATH}?a=1", sent))

    [logged] = await within(gate.wait_for_calls(PATH))
    wire.abort()

    assert "XYZAB" in (logged.header("Cookie") or "")
    assert "mine" not in (logged.header("Cookie") or "")
    assert (logged.query, logged.is_own_call) == ("a=1", True)
    assert logged.header("Origin") is logged.header("X-Anything") is None


async def test_the_old_prefix_is_not_replaced(gate: MarketStage, open_socket: Open) -> None:
    """IBKR does not know it."""
    await open_socket(connected=False, target="/v1/portal/ws")

    assert (await within(gate.wait_for_calls("/ws")))[0].target == "/v1/portal/ws"


@pytest.mark.parametrize("size", [65_535, 65_536])
async def test_large_words_of_ibkr_pass(gate: MarketStage, socket: Socket, size: int) -> None:
    """Up to 64 KiB."""
    await gate.market.stream.send_to_all("x" * size)

    assert len(await within(socket.receive_payload(BINARY))) == size


async def test_larger_words_of_ibkr_end_the_socket(gate: MarketStage, socket: Socket) -> None:
    """Nothing of them arrives."""
    await gate.market.stream.send_to_all("x" * 65_537)

    assert await has_ended(socket)


async def test_larger_words_of_a_client_end_the_socket(gate: MarketStage, socket: Socket) -> None:
    """And IBKR hears nothing."""
    socket.send("x" * 65_537)

    assert await has_ended(socket)
    assert gate.market.stream.received == []


async def has_ended(socket: Socket) -> bool:
    """Whether the connection ends, without another message."""
    try:
        return BINARY not in {byte & 0x0F for byte in (await within(socket.wire.read_to_end()))[:1]}
    except ConnectionError:
        return True


@pytest.mark.parametrize("code", [1000, 1001, 4001])
async def test_however_ibkr_closes_clients_hear_1000(gate: MarketStage, socket: Socket, code: int) -> None:
    """Its own code is lost."""
    await gate.market.stream.close_all(code)

    assert struct.unpack("!H", (await within(socket.receive_payload(CLOSE)))[:2]) == (1000,)


async def test_a_drop_by_ibkr_is_1000_too(gate: MarketStage, socket: Socket) -> None:
    """Even without a close frame."""
    await gate.disconnect_ibkr()

    assert struct.unpack("!H", (await within(socket.receive_payload(CLOSE)))[:2]) == (1000,)


async def test_a_clients_close_ends_everything_without_an_answer(gate: MarketStage, socket: Socket) -> None:
    """The connection ends, and so does IBKR's."""
    socket.send(struct.pack("!H", 1000), CLOSE)

    assert await within(socket.wire.read_to_end()) == b""
    await within(gate.market.stream.wait_for_sockets(0))


async def test_a_clients_drop_closes_ibkrs_end(gate: MarketStage, socket: Socket) -> None:
    """Nothing is left behind."""
    socket.wire.abort()

    await within(gate.market.stream.wait_for_sockets(0))


async def test_the_sixth_socket_is_open_and_silent(gate: MarketStage, open_socket: Open) -> None:
    """Five have a connection to IBKR."""
    for _ in range(5):
        await open_socket()

    sixth = await open_socket(connected=False)

    assert await sixth.wire.is_silent()
    assert len(gate.market.stream.sockets) == 5


async def test_five_sockets_do_not_stop_calls(open_socket: Open, dial: Dial) -> None:
    """They are counted apart."""
    for _ in range(5):
        await open_socket()

    assert (await within((await dial()).call("GET", STATUS))).status == 200


async def test_five_stuck_calls_do_not_stop_a_socket(gate: MarketStage, dial: Dial, open_socket: Open) -> None:
    """Nor the other way round."""
    gate.faults.add("silence", path="/one/user")
    for wire in [await dial() for _ in range(5)]:
        wire.send_request("GET", "/v1/api/one/user")
    await within(gate.wait_for_calls("/one/user", 5))

    await open_socket()

    assert len(gate.market.stream.sockets) == 1


async def test_a_socket_outlives_the_login(gate: MarketStage, socket: Socket) -> None:
    """Unless IBKR closes it; what it says of the session's end arrives."""
    gate.log_out()
    socket.send("tic")

    messages = [json.loads(await within(socket.receive_payload(BINARY))) for _ in range(2)]
    assert [each["topic"] for each in messages] == ["sts", "tic"]


async def test_a_burst_arrives_complete_and_in_order(gate: MarketStage, socket: Socket) -> None:
    """Two thousand messages at once."""
    for number in range(2000):
        await gate.market.stream.send_to_all(str(number))

    assert [int(await within(socket.receive_payload(BINARY))) for _ in range(2000)] == list(range(2000))


async def test_a_restart_drops_sockets_without_a_close(gate: MarketStage, socket: Socket) -> None:
    """A bare end."""
    await within(gate.restart(), 40)

    assert await has_ended(socket)


async def test_a_target_without_a_slash_leads_nowhere(gate: MarketStage, dial: Dial) -> None:
    """Yes is said all the same; IBKR hears nothing, and the Gateway can be restarted as ever."""
    socket = Socket(await dial())

    response = await within(socket.open("x/"))
    silent = await socket.wire.is_silent()
    await gate.restart()

    assert (response.status, silent) == (101, True)


async def test_a_target_that_is_no_uri_is_never_answered(dial: Dial) -> None:
    """It begins as a host does."""
    wire = await dial()
    wire.send_request("GET", "@127.0.0.1:1/steal", UPGRADE)

    assert await wire.is_silent()


@pytest.mark.parametrize("target", ["@127.0.0.1:1/steal", "x/", "x"])
async def test_without_an_upgrade_a_target_without_a_slash_is_not_found(dial: Dial, target: str) -> None:
    """The Gateway's own word."""
    wire = await dial()
    wire.send_request("GET", target)

    response = await within(wire.receive_response())

    assert (response.status, response.body) == (404, b"Not Found")
