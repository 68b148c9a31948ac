"""The Gateway's HTTP: limits, framing, what it refuses and what it never answers."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.conftest import Dial
from tests.harness import with_timeout
from tests.sim.wire import Wire

STATUS = "/v1/api/iserver/auth/status"
USER = "/v1/api/one/user"


async def test_the_longest_request_line_is_4096_bytes(wire: Wire) -> None:
    """A request line of exactly that length passes."""
    frame = len("GET  HTTP/1.1")

    assert (await with_timeout(wire.call("GET", f"{STATUS}?".ljust(4096 - frame, "a")))).status == 200


async def test_a_longer_request_line_is_refused(wire: Wire) -> None:
    """The refusal is in HTTP/1.0, and the connection ends."""
    frame = len("GET  HTTP/1.1")
    wire.send_request("GET", f"{STATUS}?".ljust(4097 - frame, "a"))

    assert (await with_timeout(wire.read_to_end())).startswith(b"HTTP/1.0 414 Request-URI Too Long\r\n")


async def test_more_than_8192_bytes_of_headers_are_refused(wire: Wire) -> None:
    """The limit is for all header lines together; the connection ends."""
    wire.send_request("GET", STATUS, {f"X-{n}": "y" * 1000 for n in range(9)})

    assert (await with_timeout(wire.read_to_end())).startswith(b"HTTP/1.1 400")


async def test_nearly_8192_bytes_of_headers_pass(gate: MarketStage, wire: Wire) -> None:
    """They may be a single header."""
    response = await with_timeout(wire.call("GET", STATUS, headers={"X-Long": "y" * 8000}))

    assert response.status == 200
    assert len(gate.calls(STATUS)[-1].header("X-Long") or "") == 8000


async def test_pipelined_requests_are_answered_one_after_the_other(gate: MarketStage, wire: Wire) -> None:
    """The Gateway does not read the second request before it has answered the first."""
    gate.faults.add("silence", path=USER)
    for target in (STATUS, USER, "/v1/api/sso/validate"):
        wire.send_request("GET", target)

    assert (await with_timeout(wire.receive_response())).status == 200
    await with_timeout(gate.wait_for_calls(USER))

    assert await wire.is_silent()
    assert not gate.calls("/sso/validate")


async def test_every_response_of_ibkr_is_framed_in_chunks(wire: Wire) -> None:
    """The Gateway removes IBKR's length."""
    response = await with_timeout(wire.call("GET", STATUS))

    assert response.header("Content-Length") is None
    assert response.header("Transfer-Encoding") == "chunked"
    assert response.framed.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_even_a_response_without_body_gets_a_chunked_end(gate: MarketStage, wire: Wire, status: int) -> None:
    """This violates the protocol and leaves stray bytes for clients that follow it."""
    gate.faults.add("status", path=STATUS, status=status)

    response = await with_timeout(wire.call("GET", STATUS))

    assert (response.status, response.framed) == (status, b"0\r\n\r\n")


async def test_a_response_to_head_has_neither_length_nor_chunks(wire: Wire) -> None:
    """The next response follows at once."""
    response = await with_timeout(wire.call("HEAD", "/v1/api/one/user"))

    assert response.header("Content-Length") is response.header("Transfer-Encoding") is None
    assert (await with_timeout(wire.call("GET", STATUS))).status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [("Retry-After", "7"), ("Location", "https://elsewhere.example/"), ("X-Anything", "a, b"), ("Server", "Apache")],
)
async def test_headers_of_ibkr_pass(gate: MarketStage, wire: Wire, name: str, value: str) -> None:
    """The Gateway relays headers that it does not know."""
    gate.faults.add("status", path=STATUS, status=429, headers={name: value})

    response = await with_timeout(wire.call("GET", STATUS))

    assert (response.status, response.header(name)) == (429, value)


async def test_the_security_policy_of_ibkr_is_dropped(gate: MarketStage, wire: Wire) -> None:
    """It is the only header that is removed besides the length."""
    gate.faults.add("status", path=STATUS, status=200, headers={"Content-Security-Policy": "default-src 'self'"})

    assert (await with_timeout(wire.call("GET", STATUS))).header("Content-Security-Policy") is None


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 500, 503])
async def test_any_status_of_ibkr_passes_unchanged(gate: MarketStage, wire: Wire, status: int) -> None:
    """Its body passes too; redirects are not followed."""
    gate.faults.add("status", path=STATUS, status=status, body="so be it", headers={"Location": "/sso/Login"})

    response = await with_timeout(wire.call("GET", STATUS))

    assert (response.status, response.body) == (status, b"so be it")


@pytest.mark.parametrize(
    "request_line", ["GET /v1/api/a?x=%zz", "GET /v1/api/%z", "BREW /v1/api/tickle", "GET /status", "GET /v1/api/%"]
)
async def test_some_requests_are_never_answered(gate: MarketStage, wire: Wire, dial: Dial, request_line: str) -> None:
    """Broken escapes, unknown methods and /status: nothing is forwarded and no slot is taken."""
    wire.send(f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    witness = await with_timeout((await dial()).call("GET", STATUS))

    assert witness.status == 200
    assert await wire.is_silent()
    assert [logged.target for logged in gate.calls() if not logged.is_own_call] == [STATUS]


async def test_a_length_together_with_chunks_hangs(gate: MarketStage, wire: Wire) -> None:
    """The Gateway forwards a broken framing, and IBKR waits for the rest."""
    headers = {"Transfer-Encoding": "chunked", "Content-Length": "12"}
    wire.send_request("POST", "/v1/api/tickle", headers)
    wire.send(b"2\r\n{}\r\n0\r\n\r\n")

    assert await wire.is_silent()
    assert not [logged for logged in gate.calls("/tickle") if not logged.is_own_call]


async def test_a_chunked_body_arrives_empty(gate: MarketStage, wire: Wire) -> None:
    """IBKR gets a POST without a length and answers 411; the connection stays usable."""
    wire.send_request("POST", USER, {"Transfer-Encoding": "chunked"})
    wire.send(b"2\r\n{}\r\n0\r\n\r\n")

    assert (await with_timeout(wire.receive_response())).status == 411
    [logged] = gate.calls(USER)
    assert (logged.body, logged.header("Content-Length"), logged.header("Transfer-Encoding")) == (b"", None, None)
    assert (await with_timeout(wire.call("GET", STATUS))).status == 200


async def test_a_post_without_length_is_forwarded_without_one(gate: MarketStage, wire: Wire) -> None:
    """IBKR answers 411."""
    wire.send_request("POST", USER)

    assert (await with_timeout(wire.receive_response())).status == 411
    assert gate.calls(USER)[0].header("Content-Length") is None


async def test_no_100_is_sent_but_the_body_is_read(gate: MarketStage, wire: Wire) -> None:
    """A client that waits for the 100 waits for ever."""
    wire.send(f"POST {USER} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
    assert await wire.is_silent()

    wire.send(b"{}")

    assert (await with_timeout(wire.receive_response())).status == 200
    assert gate.calls(USER)[0].body == b"{}"


async def test_http_1_0_works_and_ends_the_connection(wire: Wire) -> None:
    """The response has no chunks."""
    wire.send(f"GET {STATUS} HTTP/1.0\r\n\r\n".encode())

    heard = await with_timeout(wire.read_to_end())

    assert heard.startswith(b"HTTP/1.0 200 OK")
    assert heard.endswith(b"}")


async def test_connection_close_is_obeyed(wire: Wire) -> None:
    """The Gateway closes the connection after its response."""
    wire.send_request("GET", STATUS, {"Connection": "close"})

    assert (await with_timeout(wire.read_to_end())).endswith(b"0\r\n\r\n")


async def test_a_connection_is_reused(wire: Wire) -> None:
    """There is no limit for the number of calls."""
    assert [(await with_timeout(wire.call("GET", STATUS))).status for _ in range(20)] == [200] * 20


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "POST"])
async def test_a_body_passes_with_any_method(gate: MarketStage, wire: Wire, method: str) -> None:
    """The body is not changed."""
    wire.send_request(method, USER, body=b"\x00\xff no JSON")

    await with_timeout(wire.receive_response())

    assert (gate.calls(USER)[0].method, gate.calls(USER)[0].body) == (method, b"\x00\xff no JSON")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE"])
async def test_all_known_methods_pass(gate: MarketStage, wire: Wire, method: str) -> None:
    """The Gateway does not check whether a method fits a path."""
    wire.send_request(method, USER)

    await with_timeout(gate.wait_for_calls(USER))

    assert gate.calls(USER)[0].method == method


async def test_five_megabytes_pass_both_ways(gate: MarketStage, wire: Wire) -> None:
    """There is no limit for bodies."""
    gate.faults.add("big", path=STATUS, size=5_000_000)

    response = await with_timeout(wire.call("POST", STATUS, {"x": "y" * 5_000_000}))

    assert len(response.body) == 5_000_000
    assert len(gate.calls(STATUS)[0].body) > 5_000_000


async def test_compressed_responses_pass_unchanged(gate: MarketStage, wire: Wire) -> None:
    """They pass even if the client did not accept compression."""
    gate.faults.add("gzip", path=STATUS)

    response = await with_timeout(wire.call("GET", STATUS, headers={"Accept-Encoding": "gzip"}))

    assert (response.header("Content-Encoding"), response.body[:2]) == ("gzip", b"\x1f\x8b")
    assert gate.calls(STATUS)[0].header("Accept-Encoding") is None


async def test_bytes_that_are_no_http_are_refused(wire: Wire) -> None:
    """The connection ends without a 400."""
    wire.send(b"\x00\x01\x02 garbage\r\n\r\n")

    assert await with_timeout(wire.read_to_end()) == b""


async def test_a_length_that_is_no_number_ends_the_connection(wire: Wire) -> None:
    """The Gateway sends no response."""
    wire.send_request("POST", STATUS, {"Content-Length": "abc"})

    assert await with_timeout(wire.read_to_end()) == b""
