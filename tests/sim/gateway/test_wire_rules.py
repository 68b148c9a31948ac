"""HTTP as the Gateway speaks it: limits, framing, what it refuses to answer."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.stage import browser_tls
from tests.sim.conftest import Dial
from tests.sim.wire import Wire

STATUS = "/v1/api/iserver/auth/status"


async def test_only_tls_1_2_is_spoken(sim: Simulator) -> None:
    """A client that insists on 1.3 gets no connection."""
    modern = browser_tls()
    modern.minimum_version = ssl.TLSVersion.TLSv1_3

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", sim.gateway.port, ssl=modern)
    _, writer = await asyncio.open_connection("127.0.0.1", sim.gateway.port, ssl=browser_tls())

    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    writer.transport.abort()


async def test_plain_http_on_the_tls_port_is_closed_without_a_byte(sim: Simulator) -> None:
    """No alert, no 400, nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    try:
        heard = await reader.read()
    except ConnectionError:
        heard = b""

    assert heard == b""
    writer.transport.abort()


async def test_the_longest_request_line_is_4096_bytes(dial: Dial) -> None:
    """One byte more is refused in HTTP/1.0, and the connection ends."""
    frame = len("GET  HTTP/1.1")
    fits = "/v1/api/tickle?".ljust(4096 - frame, "a")
    good, bad = await dial(), await dial()

    assert (await good.call("GET", fits)).status == 200
    bad.ask("GET", fits + "a")

    assert await bad.rest() == b"HTTP/1.0 414 Request-URI Too Long\r\n\r\n"


async def test_more_than_8192_bytes_of_headers_are_refused(wire: Wire) -> None:
    """All header lines together count."""
    wire.ask("GET", STATUS, {f"X-{n}": "y" * 1000 for n in range(9)})

    assert (await wire.rest()).startswith(b"HTTP/1.1 400")


async def test_pipelined_requests_are_answered_one_after_the_other(sim: Simulator, wire: Wire) -> None:
    """The second one is not even looked at while the first hangs."""
    sim.faults.add("silence", path="/one/user")
    wire.ask("GET", STATUS)
    wire.ask("GET", "/v1/api/one/user")
    wire.ask("GET", "/v1/api/tickle")

    assert (await wire.hear()).status == 200
    await sim.arrived("/one/user")

    assert await wire.hears_nothing()
    assert not sim.calls("/tickle")


async def test_every_answer_of_ibkr_is_framed_in_chunks(wire: Wire) -> None:
    """IBKR's length goes, and no Server or Date is added by the Gateway itself."""
    answer = await wire.call("GET", STATUS)

    assert answer.header("Content-Length") is None
    assert answer.header("Transfer-Encoding") == "chunked"
    assert answer.framed.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_even_an_answer_without_body_gets_a_chunked_end(sim: Simulator, wire: Wire, status: int) -> None:
    """A violation of the protocol that leaves stray bytes for clients that know better."""
    sim.faults.add("status", status=status)

    answer = await wire.call("GET", STATUS)

    assert (answer.status, answer.framed) == (status, b"0\r\n\r\n")


async def test_an_answer_to_head_has_neither_length_nor_chunks(wire: Wire) -> None:
    """The next answer follows at once."""
    answer = await wire.call("HEAD", STATUS)

    assert answer.header("Content-Length") is answer.header("Transfer-Encoding") is None
    assert (await wire.call("GET", STATUS)).status == 200


async def test_headers_of_ibkr_pass_except_the_security_policy(sim: Simulator, wire: Wire) -> None:
    """Even a cookie for a foreign domain, and Retry-After."""
    headers = {"Content-Security-Policy": "x", "Retry-After": "7", "Set-Cookie": "a=b; Domain=.ibkr.com"}
    sim.faults.add("status", status=429, headers=headers)

    answer = await wire.call("GET", STATUS)

    assert answer.header("Content-Security-Policy") is None
    assert (answer.header("Retry-After"), answer.header("Set-Cookie")) == ("7", "a=b; Domain=.ibkr.com")


@pytest.mark.parametrize(
    "request_line", ["GET /v1/api/a?x=%zz", "GET /v1/api/%z", "BREW /v1/api/tickle", "GET /status", "GET /v1/api/%"]
)
async def test_some_requests_are_never_answered(sim: Simulator, wire: Wire, request_line: str) -> None:
    """Broken escapes, unknown methods and /status; nothing goes upstream and no slot is taken."""
    wire.say(f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await sim.reached(request_line.split()[1])

    assert await wire.hears_nothing()
    assert (sim.calls(), sim.inside()) == ([], 0)


async def test_a_length_together_with_chunks_hangs_in_a_slot(sim: Simulator, wire: Wire) -> None:
    """The length goes on, the chunks are joined, and where the two differ IBKR waits for the rest."""
    headers = {"Transfer-Encoding": "chunked", "Content-Length": "12"}
    wire.ask("POST", "/v1/api/tickle", headers)
    wire.say(b"2\r\n{}\r\n0\r\n\r\n")

    assert await wire.hears_nothing()
    assert (sim.calls(), sim.inside()) == ([], 1)


async def test_a_chunked_body_arrives_empty(sim: Simulator, wire: Wire) -> None:
    """IBKR sees a POST without length, and says 411; the connection stays usable."""
    wire.ask("POST", "/v1/api/tickle", {"Transfer-Encoding": "chunked"})
    wire.say(b"2\r\n{}\r\n0\r\n\r\n")

    assert (await wire.hear()).status == 411
    [seen] = sim.calls("/tickle")
    assert (seen.body, seen.header("Content-Length"), seen.header("Transfer-Encoding")) == (b"", None, None)
    assert (await wire.call("GET", STATUS)).status == 200


async def test_a_post_without_length_is_passed_on_without_one(sim: Simulator, wire: Wire) -> None:
    """411, from IBKR."""
    wire.ask("POST", "/v1/api/tickle")

    assert (await wire.hear()).status == 411


async def test_no_100_is_sent_but_the_body_is_taken(sim: Simulator, wire: Wire) -> None:
    """A client that waits for the 100 waits in vain."""
    wire.say(b"POST /v1/api/tickle HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await wire.hears_nothing()

    wire.say(b"{}")

    assert (await wire.hear()).status == 200
    assert sim.calls("/tickle")[0].body == b"{}"


async def test_http_1_0_works_and_ends_the_connection(wire: Wire) -> None:
    """Without chunks."""
    wire.say(f"GET {STATUS} HTTP/1.0\r\n\r\n".encode())

    heard = await wire.rest()

    assert heard.startswith(b"HTTP/1.0 200 OK")
    assert heard.endswith(b"}")


async def test_connection_close_is_obeyed(wire: Wire) -> None:
    """After the answer."""
    wire.ask("GET", STATUS, {"Connection": "close"})

    assert (await wire.rest()).endswith(b"0\r\n\r\n")


async def test_a_body_of_a_get_passes(sim: Simulator, wire: Wire) -> None:
    """And of a DELETE."""
    await wire.call("GET", STATUS, {"a": 1})

    assert sim.calls(STATUS)[0].json() == {"a": 1}


async def test_five_megabytes_pass_both_ways(sim: Simulator, wire: Wire) -> None:
    """There is no limit for bodies."""
    sim.faults.add("big", size=5_000_000)

    answer = await wire.call("POST", STATUS, {"x": "y" * 5_000_000})

    assert len(answer.body) == 5_000_000
    assert len(sim.calls(STATUS)[0].body) > 5_000_000


async def test_bytes_that_are_no_http_are_refused(wire: Wire) -> None:
    """Not even with a 400: the connection ends."""
    wire.say(b"\x00\x01\x02 garbage\r\n\r\n")

    assert await wire.rest() == b""


async def test_a_length_that_is_no_number_ends_the_connection(wire: Wire) -> None:
    """Without a word."""
    wire.ask("POST", STATUS, {"Content-Length": "abc"})

    assert await wire.rest() == b""
