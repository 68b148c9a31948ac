"""The Gateway's websockets: accepted at once, connected to IBKR later or never."""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable

import pytest

from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.conftest import Dial, OpenGate
from tests.contract.sockets import ACCEPT, BINARY, CLOSE, PATH, PING, PONG, UPGRADE, Socket
from tests.harness import with_timeout
from tests.sim.wire import connect

STATUS = "/v1/api/iserver/auth/status"
OpenSocket = Callable[..., Awaitable[Socket]]


@pytest.fixture
def open_socket(gate: MarketStage, dial: Dial) -> OpenSocket:
    """Opens a websocket; waits until IBKR is connected unless `connected` is false."""

    async def open_one(*, connected: bool = True, target: str = PATH) -> Socket:
        socket = Socket(await dial())
        await with_timeout(socket.open(target))
        if connected:
            await with_timeout(socket.receive_greeting())
        return socket

    return open_one


@pytest.fixture
async def socket(open_socket: OpenSocket) -> Socket:
    """A websocket that is connected to IBKR."""
    return await open_socket()


@pytest.mark.parametrize("target", [PATH, "/v1/api/elsewhere", "/", "/status", "/clear"])
async def test_a_socket_on_any_path_is_accepted(dial: Dial, target: str) -> None:
    """It is accepted before IBKR is connected, without extensions or subprotocols."""
    headers = {"Sec-WebSocket-Extensions": "permessage-deflate", "Sec-WebSocket-Protocol": "a, b"}

    response = await with_timeout(Socket(await dial()).open(target, headers))

    assert (response.status, response.header("Sec-WebSocket-Accept")) == (101, ACCEPT)
    assert response.header("Sec-WebSocket-Extensions") is response.header("Sec-WebSocket-Protocol") is None


async def test_a_malformed_escape_is_never_answered(dial: Dial) -> None:
    """This is the same without an upgrade."""
    wire = await dial()

    wire.send_request("GET", "/v1/api/%zz", UPGRADE)

    assert await wire.is_silent()


@pytest.mark.parametrize(
    "headers", [{"Sec-WebSocket-Version": "7"}, {"Connection": "keep-alive, Upgrade"}, {"Origin": "https://evil"}]
)
async def test_handshakes_are_hardly_checked(dial: Dial, headers: dict[str, str]) -> None:
    """Any version, several words in Connection and any origin are accepted."""
    assert (await with_timeout(Socket(await dial()).open(headers=headers))).status == 101


async def test_the_address_rules_do_not_apply(dial: Dial) -> None:
    """An address that gets Access Denied over HTTP gets a socket."""
    assert (await with_timeout(Socket(await dial("127.0.0.2")).open())).status == 101


async def test_the_first_message_is_ibkrs(socket: Socket, gate: MarketStage) -> None:
    """Only this message shows that IBKR is connected."""
    assert len(gate.market.stream.sockets) == 1


async def test_messages_of_ibkr_come_in_binary_frames(open_socket: OpenSocket) -> None:
    """The payload is JSON."""
    socket = await open_socket(connected=False)

    kind, payload = await with_timeout(socket.receive_frame())

    assert (kind, json.loads(payload)["topic"]) == (BINARY, "system")


async def test_messages_of_clients_arrive_as_text(gate: MarketStage, socket: Socket) -> None:
    """The kind of the client's frame does not matter."""
    socket.send("tic")
    socket.send("ech+hb", BINARY)

    await with_timeout(gate.market.stream.wait_for_message("ech+hb"))

    assert gate.market.stream.received == ["tic", "ech+hb"]


async def test_a_requested_topic_is_streamed(gate: MarketStage, socket: Socket) -> None:
    """Every message arrives, from the first one on."""
    socket.send('smd+265598+{"fields":["31"]}')

    messages = [json.loads(await with_timeout(socket.receive_payload(BINARY))) for _ in range(2)]

    assert [(each["topic"], "31" in each) for each in messages] == [("smd+265598", True)] * 2
    assert "6509" not in messages[1]


async def test_messages_before_ibkr_is_connected_are_lost(
    gate: MarketStage, open_socket: OpenSocket, silence_s: float
) -> None:
    """The client gets no error. Messages that are sent afterwards arrive."""
    gate.faults.add("delay", path=PATH, seconds=silence_s, own=True)
    socket = await open_socket(connected=False)
    socket.send("smd+265598+{}")

    await with_timeout(socket.receive_payload(BINARY))
    socket.send("tic")
    await with_timeout(gate.market.stream.wait_for_message("tic"))

    assert gate.market.stream.received == ["tic"]


async def test_a_refusal_of_ibkr_is_not_passed_on(gate: MarketStage, open_socket: OpenSocket) -> None:
    """The socket stays open and silent; pings are still answered."""
    gate.faults.add("status", path=PATH, status=401, own=True)
    socket = await open_socket(connected=False)
    await with_timeout(gate.wait_for_calls(PATH))

    assert await socket.wire.is_silent()
    socket.send(b"?", PING)
    assert await with_timeout(socket.receive_frame()) == (PONG, b"?")


async def test_pings_are_answered_by_the_gateway_itself(gate: MarketStage, socket: Socket) -> None:
    """So a pong does not prove that IBKR is connected."""
    socket.send(b"are you there", PING)

    assert await with_timeout(socket.receive_payload(PONG)) == b"are you there"
    assert gate.market.stream.received == []


async def test_pings_of_ibkr_are_not_passed_on(gate: MarketStage, socket: Socket) -> None:
    """The Gateway answers them."""
    await gate.market.stream.sockets[0].ping(b"x")
    await gate.market.stream.send_to_all("after the ping")

    assert await with_timeout(socket.receive_frame()) == (BINARY, b"after the ping")


async def test_fragments_become_messages(gate: MarketStage, socket: Socket) -> None:
    """Each fragment is a message of its own."""
    socket.send("smd+", final=False)
    socket.send("265598", 0x0)

    await with_timeout(gate.market.stream.wait_for_message("265598"))

    assert gate.market.stream.received == ["smd+", "265598"]


async def test_the_login_decides_what_the_first_message_is(open_gate: OpenGate) -> None:
    """The Gateway sends its jar's cookies and the query, but not the client's cookies nor its names."""
    gate = await open_gate()
    wire = await connect(gate)
    sent = {"Cookie": "api=mine", "Origin": "https://x", "User-Agent": "me/1", "X-Anything": "y"}
    await with_timeout(Socket(wire).open(f"{PATH}?a=1", sent))

    [logged] = await with_timeout(gate.wait_for_calls(PATH))
    wire.abort()

    assert "XYZAB" in (logged.header("Cookie") or "")
    assert "mine" not in (logged.header("Cookie") or "")
    assert (logged.query, logged.is_own_call) == ("a=1", True)
    assert logged.header("Origin") is logged.header("X-Anything") is None


async def test_the_old_prefix_is_not_replaced(gate: MarketStage, open_socket: OpenSocket) -> None:
    """IBKR refuses that path."""
    await open_socket(connected=False, target="/v1/portal/ws")

    assert (await with_timeout(gate.wait_for_calls("/ws")))[0].target == "/v1/portal/ws"


@pytest.mark.parametrize("size", [65_535, 65_536])
async def test_large_messages_of_ibkr_pass(gate: MarketStage, socket: Socket, size: int) -> None:
    """The limit is 64 KiB."""
    await gate.market.stream.send_to_all("x" * size)

    assert len(await with_timeout(socket.receive_payload(BINARY))) == size


async def test_larger_messages_of_ibkr_end_the_socket(gate: MarketStage, socket: Socket) -> None:
    """No part of such a message arrives."""
    await gate.market.stream.send_to_all("x" * 65_537)

    assert await has_ended(socket)


async def test_larger_messages_of_a_client_end_the_socket(gate: MarketStage, socket: Socket) -> None:
    """IBKR gets no part of such a message."""
    socket.send("x" * 65_537)

    assert await has_ended(socket)
    assert gate.market.stream.received == []


async def has_ended(socket: Socket) -> bool:
    """Whether the connection ends without another message."""
    try:
        return BINARY not in {byte & 0x0F for byte in (await with_timeout(socket.wire.read_to_end()))[:1]}
    except ConnectionError:
        return True


@pytest.mark.parametrize("code", [1000, 1001, 4001])
async def test_however_ibkr_closes_clients_get_1000(gate: MarketStage, socket: Socket, code: int) -> None:
    """IBKR's own close code is lost."""
    await gate.market.stream.close_all(code)

    assert struct.unpack("!H", (await with_timeout(socket.receive_payload(CLOSE)))[:2]) == (1000,)


async def test_a_connection_cut_by_ibkr_gives_1000_too(gate: MarketStage, socket: Socket) -> None:
    """IBKR has sent no close frame."""
    await gate.disconnect_ibkr()

    assert struct.unpack("!H", (await with_timeout(socket.receive_payload(CLOSE)))[:2]) == (1000,)


async def test_a_clients_close_ends_everything_without_an_answer(gate: MarketStage, socket: Socket) -> None:
    """The client's connection ends, and IBKR's too."""
    socket.send(struct.pack("!H", 1000), CLOSE)

    assert await with_timeout(socket.wire.read_to_end()) == b""
    await with_timeout(gate.market.stream.wait_for_sockets(0))


async def test_a_client_that_disconnects_closes_ibkrs_end(gate: MarketStage, socket: Socket) -> None:
    """No connection to IBKR is left."""
    socket.wire.abort()

    await with_timeout(gate.market.stream.wait_for_sockets(0))


async def test_the_sixth_socket_is_open_and_silent(gate: MarketStage, open_socket: OpenSocket) -> None:
    """Only five have a connection to IBKR."""
    for _ in range(5):
        await open_socket()

    sixth = await open_socket(connected=False)

    assert await sixth.wire.is_silent()
    assert len(gate.market.stream.sockets) == 5


async def test_five_sockets_do_not_stop_calls(open_socket: OpenSocket, dial: Dial) -> None:
    """Sockets and calls are counted separately."""
    for _ in range(5):
        await open_socket()

    assert (await with_timeout((await dial()).call("GET", STATUS))).status == 200


async def test_five_stuck_calls_do_not_stop_a_socket(gate: MarketStage, dial: Dial, open_socket: OpenSocket) -> None:
    """Sockets and calls are counted separately."""
    gate.faults.add("silence", path="/one/user")
    for wire in [await dial() for _ in range(5)]:
        wire.send_request("GET", "/v1/api/one/user")
    await with_timeout(gate.wait_for_calls("/one/user", 5))

    await open_socket()

    assert len(gate.market.stream.sockets) == 1


async def test_a_socket_outlives_the_login(gate: MarketStage, socket: Socket) -> None:
    """IBKR's message about the end of the session arrives. Only IBKR closes the socket."""
    gate.log_out()
    socket.send("tic")

    messages = [json.loads(await with_timeout(socket.receive_payload(BINARY))) for _ in range(2)]
    assert [each["topic"] for each in messages] == ["sts", "tic"]


async def test_a_burst_arrives_complete_and_in_order(gate: MarketStage, socket: Socket) -> None:
    """Two thousand messages are sent at once."""
    for number in range(2000):
        await gate.market.stream.send_to_all(str(number))

    assert [int(await with_timeout(socket.receive_payload(BINARY))) for _ in range(2000)] == list(range(2000))


async def test_a_restart_drops_sockets_without_a_close(gate: MarketStage, socket: Socket) -> None:
    """The connection ends without a close frame."""
    await with_timeout(gate.restart(), 40)

    assert await has_ended(socket)


async def test_a_socket_on_a_target_without_a_slash_is_not_connected(gate: MarketStage, dial: Dial) -> None:
    """It is accepted, but IBKR gets no connection. The Gateway can still be restarted."""
    socket = Socket(await dial())

    response = await with_timeout(socket.open("x/"))
    silent = await socket.wire.is_silent()
    await gate.restart()

    assert (response.status, silent) == (101, True)


async def test_a_target_that_is_no_uri_is_never_answered(dial: Dial) -> None:
    """Its beginning looks like a host with a port."""
    wire = await dial()
    wire.send_request("GET", "@127.0.0.1:1/steal", UPGRADE)

    assert await wire.is_silent()


@pytest.mark.parametrize("target", ["@127.0.0.1:1/steal", "x/", "x"])
async def test_without_an_upgrade_a_target_without_a_slash_is_not_found(dial: Dial, target: str) -> None:
    """The Gateway answers this itself."""
    wire = await dial()
    wire.send_request("GET", target)

    response = await with_timeout(wire.receive_response())

    assert (response.status, response.body) == (404, b"Not Found")
