"""Bridged calls: what goes up, what comes down, and what is refused on the way, before real sockets at both ends."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import Open
from tests.harness import KEY, Harness

ACCOUNTS = "/v1/api/portfolio/accounts"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("/portfolio/accounts", "/v1/api/portfolio/accounts"),
        ("/v1/api/portfolio/accounts", "/v1/api/portfolio/accounts"),
        ("/iserver/account/trades/", "/v1/api/iserver/account/trades/"),  # real clients send the slash
        ("/marketdata/snapshot?conids=1", "/v1/api/iserver/marketdata/snapshot?conids=1"),
        ("/v1/api/marketdata/snapshot?conids=1", "/v1/api/iserver/marketdata/snapshot?conids=1"),
        ("/iserver/marketdata/snapshot?conids=1", "/v1/api/iserver/marketdata/snapshot?conids=1"),
        (
            "/iserver/secdef/search?symbol=BRK%20B&x=%2F+&&y=&x=|{}",
            "/v1/api/iserver/secdef/search?symbol=BRK%20B&x=%2F+&&y=&x=|{}",
        ),
        ("/iserver/secdef/search?", "/v1/api/iserver/secdef/search?"),
        ("/iserver/secdef/search?a=b?c=d", "/v1/api/iserver/secdef/search?a=b?c=d"),
        ("/iserver/account/search/a%20b%40c", "/v1/api/iserver/account/search/a%20b%40c"),
    ],
)
async def test_targets_go_on_byte_for_byte(harness: Harness, sim: Simulator, asked: str, sent: str) -> None:
    """What the caller encoded stays encoded; only the prefix is ours."""
    await harness.get(asked)

    assert sim.gateway_calls()[-1].target == sent


async def test_other_prefixes_open_by_setting_alone(open_harness: Open, sim: Simulator) -> None:
    """The answer to a closed one names the setting."""
    harness = await open_harness(IBKR_BRIDGE_EXTRA_PREFIXES="trsrv")

    opened = await harness.get("/trsrv/stocks?symbols=AAPL")
    twin = await harness.get("/v1/api/trsrv/stocks?symbols=AAPL")
    closed = await harness.get("/fyi/unreadnumber")

    assert (opened.status, twin.status) == (200, 200)
    assert (closed.status, closed.code) == (404, "not_bridged")
    assert "IBKR_BRIDGE_EXTRA_PREFIXES" in closed.json["hint"]
    assert not sim.gateway_calls("/fyi")


@pytest.mark.parametrize(
    "path",
    ["/", "/sso/Login", "/logout", "/v1/api/logout", "/clear", "/oauth/token", "/status", "/x", "/iserver", "/v1/api"],
)
async def test_everything_else_is_not_bridged(harness: Harness, sim: Simulator, path: str) -> None:
    """Nothing but what was asked for is reachable through us."""
    before = len(sim.gateway_calls("/sso"))  # the keeper itself asks what kind of login it is

    reply = await harness.get(path)

    assert (reply.status, reply.code) == (404, "not_bridged")
    assert len(sim.gateway_calls("/sso")) == before
    assert not sim.gateway_calls("/logout") + sim.gateway_calls("/clear")


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_not_sent_on(harness: Harness, sim: Simulator, method: str) -> None:
    """IBKR's API knows four."""
    reply = await harness.request(method, "/portfolio/accounts")

    assert (reply.status, reply.headers["Allow"]) == (405, "GET, POST, PUT, DELETE")
    assert not [call for call in sim.gateway_calls() if call.method == method]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"a": 1,\n "b":"\xc3\xa9"}', b"[" + b" " * 300_000 + b"]"])
async def test_bodies_go_on_whole_with_their_length(harness: Harness, sim: Simulator, method: str, body: bytes) -> None:
    """The Gateway loses chunked bodies, and IBKR answers 411 where no length is said."""
    await harness.request(method, "/iserver/secdef/search", body=body, headers={"Content-Type": "application/json"})

    seen = sim.gateway_calls("/secdef/search")[-1]
    assert (seen.method, seen.body) == (method, body)
    assert {name.lower(): value for name, value in seen.headers}["content-length"] == str(len(body))
    assert "transfer-encoding" not in {name.lower() for name, _ in seen.headers}


async def test_a_chunked_body_of_a_caller_goes_on_with_a_length(harness: Harness, sim: Simulator) -> None:
    """Node sends streams chunked; the bridge collects them first."""
    head = f"POST /iserver/secdef/search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Bridge-Key: {KEY}\r\n"
    request = head.encode() + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"sym\r\nc\r\nbol":"AAPL"}\r\n0\r\n\r\n'

    reply = await harness.send_raw(request)

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert sim.gateway_calls("/secdef/search")[-1].body == b'{"symbol":"AAPL"}'


async def test_a_body_above_the_limit_is_refused_unread(harness: Harness, sim: Simulator) -> None:
    """Nothing was sent."""
    ask = (
        f"POST /iserver/secdef/search HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nConnection: close\r\n"
    ).encode()
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"

    announced = await harness.send_raw(ask + b"Content-Length: 1048577\r\n\r\n")
    unannounced = await harness.send_raw(ask + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17)

    assert [reply.split()[1] for reply in (announced, unannounced)] == [b"413", b"413"]
    assert b"payload_too_large" in announced
    assert b"payload_too_large" in unannounced
    assert not sim.gateway_calls("/secdef/search")


async def test_only_a_few_headers_go_up(harness: Harness, sim: Simulator) -> None:
    """The Gateway would pass everything on to IBKR, our key included."""
    headers = {
        "Accept": "text/x",
        "Cookie": "a=b",
        "Authorization": "Basic x",
        "X-Forwarded-For": "1.2.3.4",
        "Referer": "r",
    }

    await harness.get("/portfolio/accounts", headers=headers)

    up = {name.lower(): value for name, value in sim.gateway_calls(ACCOUNTS)[-1].headers}
    assert set(up) <= {"host", "accept", "user-agent", "cookie", "content-type", "connection"}
    assert up["accept"] == "text/x"
    assert up["user-agent"].startswith("ibkr-bridge/")
    assert "a=b" not in up.get("cookie", "")


async def test_only_a_few_headers_come_down(harness: Harness, sim: Simulator) -> None:
    """IBKR's edge, its cookies and its session ids are nobody's business."""
    theirs = {
        "Set-Cookie": "secret=1",
        "X-Response-Time": "3ms",
        "Server": "Apache",
        "Content-Language": "en",
        "Via": "x",
    }
    sim.faults.add("status", path=ACCOUNTS, times=1, status=200, body="{}", headers=theirs)

    reply = await harness.get("/portfolio/accounts", headers={"X-Request-ID": "my-id.1"})

    assert set(reply.headers) == {
        *("Content-Type", "Content-Length", "Content-Language", "Date", "Server", "Server-Timing", "Cache-Control"),
        *("X-Request-ID", "X-Bridge-Source", "X-Bridge-Mode", "X-Content-Type-Options", "Keep-Alive"),
    }
    assert (reply.headers["X-Request-ID"], reply.headers["X-Bridge-Source"]) == ("my-id.1", "gateway")
    assert (reply.headers["Server"], reply.headers["X-Bridge-Mode"]) == ("ibkr-bridge", "paper")
    assert (reply.headers["Cache-Control"], reply.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert {part.partition(";")[0] for part in reply.headers["Server-Timing"].split(", ")} == {"wait", "gateway"}


async def test_a_request_is_found_in_the_log_by_any_uuid(harness: Harness) -> None:
    """Web frameworks name requests so; this one begins as an account number does."""
    name = "d6787281-1ed1-4e9f-8983-ad535c686355"

    reply = await harness.get("/health", headers={"X-Request-ID": name})

    assert reply.headers["X-Request-ID"] == name


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "ä", "DU1234567", "full-key-for-tests-0123456789-abcdef", '"'])
async def test_a_request_id_that_could_carry_harm_is_replaced(harness: Harness, given: str) -> None:
    """It stands in every log line."""
    reply = await harness.get("/health", headers={"X-Request-ID": given})

    assert reply.headers["X-Request-ID"] != given
    assert len(reply.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize("status", [200, 201, 202, 302, 400, 403, 404, 410, 423, 500, 502, 503])
async def test_an_answer_passes_unchanged_whatever_it_is(harness: Harness, sim: Simulator, status: int) -> None:
    """Status, body and type are IBKR's; we do not know better."""
    body = '{"error":"something"}\n'
    sim.faults.add("status", path=ACCOUNTS, times=1, status=status, body=body, content_type="application/x; charset=x")

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.body.decode()) == (status, body)
    assert reply.headers["Content-Type"] == "application/x; charset=x"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_does_not_spoil_the_next(harness: Harness, sim: Simulator, status: int) -> None:
    """The Gateway sends an end of chunks behind it, which no client expects."""
    sim.faults.add("status", path=ACCOUNTS, times=1, status=status, body="")

    empty = await harness.get("/portfolio/accounts")
    following = [(await harness.get("/portfolio/accounts")).status for _ in range(5)]

    assert (empty.status, empty.body) == (status, b"")
    assert following == [200] * 5


async def test_many_cookies_do_not_lock_us_out(harness: Harness, sim: Simulator) -> None:
    """The Gateway answers 400 to more than 8 kB of headers, and our jar outlives restarts."""
    for number in range(12):
        cookie = {"Set-Cookie": f"c{number}={'x' * 900}; Path=/"}
        sim.faults.add("status", path="/subaccounts", times=1, status=200, body="[]", headers=cookie)
        await harness.get("/portfolio/subaccounts")

    reply = await harness.get("/portfolio/accounts")

    assert reply.status == 200
    assert 900 < len(sim.gateway_calls(ACCOUNTS)[-1].header("Cookie") or "") <= 4096


async def test_an_html_page_passes(harness: Harness, sim: Simulator) -> None:
    """IBKR's edge answers so in trouble."""
    sim.faults.add("html-500", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")

    assert reply.status == 500
    assert reply.headers["Content-Type"].startswith("text/html")
    assert b"<html>" in reply.body


async def test_an_empty_503_passes_for_a_read(harness: Harness, sim: Simulator) -> None:
    """It harms nobody to ask again."""
    sim.faults.add("empty-503", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.body) == (503, b"")


async def test_a_compressed_answer_passes_as_it_is(harness: Harness, sim: Simulator) -> None:
    """Nobody asked for it, but so it may come."""
    sim.faults.add("gzip", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")

    assert reply.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(reply.body))[0]["id"] == "DU1234567"


async def test_an_error_inside_a_200_passes(harness: Harness, sim: Simulator) -> None:
    """IBKR hides many so; the caller reads them, and the keeper looks."""
    looks = len(sim.calls("/auth/status"))
    sim.faults.add("hidden-error", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")
    await sim.arrived("/auth/status", looks + 1)

    assert (reply.status, reply.json) == (200, {"error": "no session"})


async def test_a_large_answer_is_passed_on_as_it_comes(harness: Harness, sim: Simulator) -> None:
    """Five megabytes do not stand in our memory."""
    sim.faults.add("big", path=ACCOUNTS, times=1, size=5_000_000)

    reply = await harness.get("/portfolio/accounts")

    assert len(reply.body) >= 5_000_000
    assert reply.headers["Transfer-Encoding"] == "chunked"
    json.loads(reply.body)


async def test_a_large_answer_nobody_reads_frees_its_place(harness: Harness, sim: Simulator) -> None:
    """A caller who hangs up in the middle leaves the Gateway sending; the place is free when it has ended."""
    sim.faults.add("big", path=ACCOUNTS, times=4, size=5_000_000)
    ask = f"GET /portfolio/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\n\r\n".encode()
    for _ in range(4):
        assert (await harness.send_raw(ask, until_closed=False)).startswith(b"HTTP/1.1 200")

    reply = await harness.get("/portfolio/accounts", headers={"X-Bridge-Wait": "5"})

    assert reply.status == 200


async def test_at_most_three_reads_are_inside_the_gateway_at_once(harness: Harness, sim: Simulator) -> None:
    """One place of our four is kept for orders, and the keeper stands beside them."""
    sim.faults.add("delay", path="/portfolio", seconds=0.1)

    replies = await asyncio.gather(*(harness.get("/portfolio/accounts") for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert sim.max_inside <= 4  # three of ours, and the keeper's look


async def test_waiting_longer_than_allowed_is_busy(open_harness: Open, sim: Simulator) -> None:
    """Nothing was sent, and the answer says when to ask again."""
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.05", IBKR_GATEWAY_TIMEOUT="2")
    sim.faults.add("silence", path="/portfolio", times=3)
    stuck = [asyncio.create_task(harness.get("/portfolio/accounts")) for _ in range(3)]
    await sim.arrived("/portfolio/accounts", 4)  # the pre-flight was the first

    reply = await harness.get("/portfolio/subaccounts")

    assert (reply.status, reply.code) == (503, "busy")
    assert int(reply.headers["Retry-After"]) >= 1
    assert not sim.calls("/subaccounts")
    for task in stuck:
        assert (await task).code == "gateway_timeout"


@pytest.mark.parametrize("wait", ["-1", "x", "nan", "inf", ""])
async def test_a_wait_that_is_no_number_is_refused(harness: Harness, wait: str) -> None:
    """Rather than waiting for ever, or not at all."""
    assert (await harness.get("/portfolio/accounts", headers={"X-Bridge-Wait": wait})).code == "bad_request"


def contexts() -> list[CallContext]:
    """Those that exist now; other tests may have left some."""
    return [each for each in gc.get_objects() if isinstance(each, CallContext)]


async def test_a_finished_call_is_freed_without_the_garbage_collector(harness: Harness) -> None:
    """A reference cycle in each call would make the collector run all the time: it took a fifth of the bridge's."""
    gc.collect()
    gc.disable()
    try:
        before = len(contexts())
        replies = [await harness.get(ACCOUNTS), await harness.post("/iserver/secdef/search", {"symbol": "AAPL"})]
        left = len(contexts()) - before
    finally:
        gc.enable()

    assert ([reply.status for reply in replies], left) == ([200, 200], 0)
