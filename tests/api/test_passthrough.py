"""Bridged calls: what is sent to IBKR, what is sent to callers, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json

import pytest

from ibkr_bridge import events
from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.ibkr.catalogue import CATALOGUE
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import KEY, Harness, with_timeout

ACCOUNTS = "/v1/api/portfolio/accounts"


@pytest.mark.parametrize(
    ("target", "sent"),
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
async def test_targets_are_sent_byte_for_byte(harness: Harness, sim: Simulator, target: str, sent: str) -> None:
    """The caller's encoding is kept; only the prefix changes."""
    await harness.get(target)

    assert sim.gateway_calls()[-1].target == sent


async def test_other_prefixes_need_a_setting(open_harness: OpenHarness, sim: Simulator) -> None:
    """The error of another prefix names the setting."""
    harness = await open_harness(IBKR_BRIDGE_EXTRA_PREFIXES="trsrv")

    without_prefix = await harness.get("/trsrv/stocks?symbols=AAPL")
    with_prefix = await harness.get("/v1/api/trsrv/stocks?symbols=AAPL")
    closed = await harness.get("/fyi/unreadnumber")

    assert (without_prefix.status, with_prefix.status) == (200, 200)
    assert (closed.status, closed.code) == (404, "not_bridged")
    assert "IBKR_BRIDGE_EXTRA_PREFIXES" in closed.json["hint"]
    assert not sim.gateway_calls("/fyi")


@pytest.mark.parametrize(
    "path",
    ["/sso/Login", "/logout", "/v1/api/logout", "/clear", "/oauth/token", "/status", "/x", "/iserver", "/v1/api"],
)
async def test_everything_else_is_not_bridged(harness: Harness, sim: Simulator, path: str) -> None:
    """No other path of the Gateway can be reached."""
    before = len(sim.gateway_calls("/sso"))  # the keeper itself sends /sso/validate

    reply = await harness.get(path)

    assert (reply.status, reply.code) == (404, "not_bridged")
    assert len(sim.gateway_calls("/sso")) == before
    assert not sim.gateway_calls("/logout") + sim.gateway_calls("/clear")


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(harness: Harness, sim: Simulator, method: str) -> None:
    """IBKR's API has four methods."""
    reply = await harness.request(method, "/portfolio/accounts")

    assert (reply.status, reply.headers["Allow"]) == (405, "GET, POST, PUT, DELETE")
    assert not [call for call in sim.gateway_calls() if call.method == method]


@pytest.mark.parametrize(
    "path",
    [
        "/portfolio/accounts",
        "/v1/api/portfolio/DU1234567/summary",
        "/iserver/secdef/search?symbol=AAPL",
        "/portfolio/DU1234567/positions",
        "/iserver/auth/status",
        "/v1/api/tickle",
        "/iserver/contract/1/unknown",
    ],
)
async def test_head_is_answered_like_get_without_the_body(harness: Harness, sim: Simulator, path: str) -> None:
    """Monitors and proxies send it; IBKR gets the GET, and the connection goes on with the next request."""
    whole = await harness.get(path)

    head = await harness.request("HEAD", path)

    names = ("Content-Type", "X-Bridge-Mode", "Cache-Control")
    assert (head.status, head.body) == (whole.status, b"")
    assert [head.headers.get(name) for name in names] == [whole.headers.get(name) for name in names]
    assert (await harness.get(path)).body[:1] == whole.body[:1]
    assert not [call for call in sim.gateway_calls() if call.method == "HEAD"]


async def test_head_of_a_large_response_has_no_body(harness: Harness, sim: Simulator) -> None:
    """A streamed response is not sent either, and nothing of it is left on the connection."""
    sim.faults.add("big", path="/trades")
    head = f"HEAD /iserver/account/trades HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\n\r\n"
    following = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

    received = await harness.send_raw(head.encode(), following.encode())

    first, _, rest = received.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert rest.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "path",
    [
        "/iserver/reauthenticate",
        "/iserver/marketdata/unsubscribeall",
        "/v1/api/iserver/marketdata/UnsubscribeAll",
        "/marketdata/265598/unsubscribe",
        "/iserver/marketdata/unsubscribe",
        "/portfolio/DU1234567/positions/invalidate",
        "/md/regsnapshot?conid=265598",
        "/iserver/account/DU1234567/orders",
    ],
)
async def test_head_of_a_call_with_an_effect_is_refused(harness: Harness, sim: Simulator, path: str) -> None:
    """HEAD changes nothing: no order, no subscription, and nothing that IBKR keeps in its cache."""
    name = path.partition("?")[0].rsplit("/", 1)[1]
    before = len(sim.gateway_calls(name))

    reply = await harness.request("HEAD", path)

    assert reply.status in (404, 405)  # 404 where the prefix is not open
    assert len(sim.gateway_calls(name)) == before


def test_every_get_that_is_no_plain_read_is_known_to_head() -> None:
    """A new row of the catalogue with an effect must not be sent by HEAD."""
    effects = {row.path for row in CATALOGUE if row.method == "GET" and not row.is_read}

    assert effects == {
        "/iserver/reauthenticate",
        "/iserver/marketdata/unsubscribeall",
        "/iserver/marketdata/{conid}/unsubscribe",
        "/md/regsnapshot",
    }


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"a": 1,\n "b":"\xc3\xa9"}', b"[" + b" " * 300_000 + b"]"])
async def test_bodies_are_sent_with_their_length(harness: Harness, sim: Simulator, method: str, body: bytes) -> None:
    """The Gateway loses chunked bodies, and IBKR answers 411 without a length."""
    await harness.request(method, "/iserver/secdef/search", body=body, headers={"Content-Type": "application/json"})

    call = sim.gateway_calls("/secdef/search")[-1]
    assert (call.method, call.body) == (method, body)
    assert {name.lower(): value for name, value in call.headers}["content-length"] == str(len(body))
    assert "transfer-encoding" not in {name.lower() for name, _ in call.headers}


async def test_a_chunked_body_of_a_caller_is_sent_with_a_length(harness: Harness, sim: Simulator) -> None:
    """Node sends streams in chunks; the bridge reads them completely first."""
    head = f"POST /iserver/secdef/search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Bridge-Key: {KEY}\r\n"
    request = head.encode() + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"sym\r\nc\r\nbol":"AAPL"}\r\n0\r\n\r\n'

    reply = await harness.send_raw(request)

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert sim.gateway_calls("/secdef/search")[-1].body == b'{"symbol":"AAPL"}'


async def test_a_body_above_the_limit_is_refused(harness: Harness, sim: Simulator) -> None:
    """Nothing is sent."""
    head = (
        f"POST /iserver/secdef/search HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nConnection: close\r\n"
    ).encode()
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"

    announced = await harness.send_raw(head + b"Content-Length: 1048577\r\n\r\n")
    unannounced = await harness.send_raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17)

    assert [reply.split()[1] for reply in (announced, unannounced)] == [b"413", b"413"]
    assert b"payload_too_large" in announced
    assert b"payload_too_large" in unannounced
    assert not sim.gateway_calls("/secdef/search")


async def test_only_a_few_headers_are_sent_to_ibkr(harness: Harness, sim: Simulator) -> None:
    """The Gateway would send all of them to IBKR, the bridge's key included."""
    headers = {
        "Accept": "text/x",
        "Cookie": "a=b",
        "Authorization": "Basic x",
        "X-Forwarded-For": "1.2.3.4",
        "Referer": "r",
    }

    await harness.get("/portfolio/accounts", headers=headers)

    sent = {name.lower(): value for name, value in sim.gateway_calls(ACCOUNTS)[-1].headers}
    assert set(sent) <= {"host", "accept", "user-agent", "cookie", "content-type", "connection"}
    assert sent["accept"] == "text/x"
    assert sent["user-agent"].startswith("ibkr-bridge/")
    assert "a=b" not in sent.get("cookie", "")


async def test_only_a_few_headers_are_sent_to_callers(harness: Harness, sim: Simulator) -> None:
    """Callers do not get cookies, session ids and headers of IBKR's edge."""
    ibkr_headers = {
        "Set-Cookie": "secret=1",
        "X-Response-Time": "3ms",
        "Server": "Apache",
        "Content-Language": "en",
        "Via": "x",
    }
    sim.faults.add("status", path=ACCOUNTS, times=1, status=200, body="{}", headers=ibkr_headers)

    reply = await harness.get("/portfolio/accounts", headers={"X-Request-ID": "my-id.1"})

    assert set(reply.headers) == {
        *("Content-Type", "Content-Length", "Content-Language", "Date", "Server", "Server-Timing", "Cache-Control"),
        *("X-Request-ID", "X-Bridge-Source", "X-Bridge-Mode", "X-Content-Type-Options", "Keep-Alive"),
    }
    assert (reply.headers["X-Request-ID"], reply.headers["X-Bridge-Source"]) == ("my-id.1", "gateway")
    assert (reply.headers["Server"], reply.headers["X-Bridge-Mode"]) == ("ibkr-bridge", "paper")
    assert (reply.headers["Cache-Control"], reply.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert {part.partition(";")[0] for part in reply.headers["Server-Timing"].split(", ")} == {"wait", "gateway"}


async def test_a_request_id_may_be_any_uuid(harness: Harness) -> None:
    """Web frameworks use UUIDs; this one begins like an account number."""
    name = "d6787281-1ed1-4e9f-8983-ad535c686355"

    reply = await harness.get("/health", headers={"X-Request-ID": name})

    assert reply.headers["X-Request-ID"] == name


@pytest.mark.parametrize(
    "request_id", ["", "x" * 65, "a b", "ä", "DU1234567", "full-key-for-tests-0123456789-abcdef", '"']
)
async def test_a_harmful_request_id_is_replaced(harness: Harness, request_id: str) -> None:
    """The id is in every log line."""
    reply = await harness.get("/health", headers={"X-Request-ID": request_id})

    assert reply.headers["X-Request-ID"] != request_id
    assert len(reply.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize("status", [200, 201, 202, 302, 400, 403, 404, 410, 423, 500, 502, 503])
async def test_a_response_is_unchanged_whatever_its_status(harness: Harness, sim: Simulator, status: int) -> None:
    """Status, body and content type are IBKR's."""
    body = '{"error":"something"}\n'
    sim.faults.add("status", path=ACCOUNTS, times=1, status=status, body=body, content_type="application/x; charset=x")

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.body.decode()) == (status, body)
    assert reply.headers["Content-Type"] == "application/x; charset=x"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_without_a_body_does_not_corrupt_the_next(
    harness: Harness, sim: Simulator, status: int
) -> None:
    """The Gateway sends a last chunk after it, which no client expects."""
    sim.faults.add("status", path=ACCOUNTS, times=1, status=status, body="")

    empty = await harness.get("/portfolio/accounts")
    following = [(await harness.get("/portfolio/accounts")).status for _ in range(5)]

    assert (empty.status, empty.body) == (status, b"")
    assert following == [200] * 5


async def test_many_cookies_do_not_exceed_the_limit_of_the_gateway(harness: Harness, sim: Simulator) -> None:
    """The Gateway answers 400 to more than 8 kB of headers, and the cookies survive restarts."""
    for number in range(12):
        cookie = {"Set-Cookie": f"c{number}={'x' * 900}; Path=/"}
        sim.faults.add("status", path="/subaccounts", times=1, status=200, body="[]", headers=cookie)
        await harness.get("/portfolio/subaccounts")

    reply = await harness.get("/portfolio/accounts")

    assert reply.status == 200
    assert 900 < len(sim.gateway_calls(ACCOUNTS)[-1].header("Cookie") or "") <= 4096


async def test_an_html_page_is_sent_on(harness: Harness, sim: Simulator) -> None:
    """IBKR's edge sends one after an internal error."""
    sim.faults.add("html-500", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")

    assert reply.status == 500
    assert reply.headers["Content-Type"].startswith("text/html")
    assert b"<html>" in reply.body


async def test_an_empty_503_of_a_read_is_sent_on(harness: Harness, sim: Simulator) -> None:
    """A read can be repeated without harm."""
    sim.faults.add("empty-503", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.body) == (503, b"")


async def test_a_compressed_response_stays_compressed(harness: Harness, sim: Simulator) -> None:
    """It may come although no caller requested it."""
    sim.faults.add("gzip", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")

    assert reply.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(reply.body))[0]["id"] == "DU1234567"


async def test_an_error_inside_a_200_is_sent_on(harness: Harness, sim: Simulator) -> None:
    """The caller reads it, and the keeper checks the session."""
    checks = len(sim.calls("/auth/status"))
    sim.faults.add("hidden-error", path=ACCOUNTS, times=1)

    reply = await harness.get("/portfolio/accounts")
    await sim.wait_for_calls("/auth/status", checks + 1)

    assert (reply.status, reply.json) == (200, {"error": "no session"})


async def test_a_large_response_is_streamed(harness: Harness, sim: Simulator) -> None:
    """Five megabytes are not held in memory."""
    sim.faults.add("big", path=ACCOUNTS, times=1, size=5_000_000)

    reply = await harness.get("/portfolio/accounts")

    assert len(reply.body) >= 5_000_000
    assert reply.headers["Transfer-Encoding"] == "chunked"
    json.loads(reply.body)


async def test_a_large_response_that_nobody_reads_frees_its_slot(harness: Harness, sim: Simulator) -> None:
    """If a caller disconnects, the Gateway sends on; the slot is free when it has finished."""
    sim.faults.add("big", path=ACCOUNTS, times=4, size=5_000_000)
    request = f"GET /portfolio/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\n\r\n".encode()
    for _ in range(4):
        assert (await harness.send_raw(request, until_closed=False)).startswith(b"HTTP/1.1 200")

    reply = await harness.get("/portfolio/accounts", headers={"X-Bridge-Wait": "5"})

    assert reply.status == 200


async def test_at_most_three_reads_are_inside_the_gateway_at_once(harness: Harness, sim: Simulator) -> None:
    """One of the four slots is reserved for orders; the keeper needs none."""
    sim.faults.add("delay", path="/portfolio", seconds=0.1)

    replies = await asyncio.gather(*(harness.get("/portfolio/accounts") for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert sim.max_calls_in_slots <= 4  # three reads and a check of the keeper


async def test_a_call_that_waits_too_long_is_busy(open_harness: OpenHarness, sim: Simulator) -> None:
    """Nothing is sent, and the response says when to retry."""
    harness = await open_harness(IBKR_BRIDGE_MAX_WAIT="0.05", IBKR_GATEWAY_TIMEOUT="1.5")
    sim.faults.add("silence", path="/portfolio", times=3)
    stuck = [asyncio.create_task(harness.get("/portfolio/accounts")) for _ in range(3)]
    await sim.wait_for_calls("/portfolio/accounts", 4)  # the first one is that of the preflight

    reply = await harness.get("/portfolio/subaccounts")

    assert (reply.status, reply.code) == (503, "busy")
    assert int(reply.headers["Retry-After"]) >= 1
    assert not sim.calls("/subaccounts")
    for task in stuck:
        assert (await task).code == "gateway_timeout"


@pytest.mark.parametrize("wait", ["-1", "x", "nan", "inf", ""])
async def test_a_wrong_wait_is_refused(harness: Harness, wait: str) -> None:
    """The bridge neither waits for ever nor ignores it."""
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


async def test_a_change_that_was_answered_to_nobody_is_published(harness: Harness, sim: Simulator) -> None:
    """Its caller cannot know that it happened, so the log says it."""
    body = b'{"id":"1","name":"mine"}'
    head = f"POST /iserver/watchlist HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nX-Request-ID: change-1\r\n"
    sim.faults.add("delay", path="/iserver/watchlist", times=1, seconds=0.3)
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await with_timeout(sim.wait_for_calls("/iserver/watchlist"))

    writer.close()
    published = await harness.wait_for_events(events.ChangeUnknown)

    reason = "the Gateway answered 200, but the caller had disconnected"
    assert published == [
        events.ChangeUnknown("change-1", "POST", "/iserver/watchlist", reason, profile=harness.bridge.profile.name)
    ]
