"""Tokens for pages, through real sockets: who gets one, where it opens, and that it is seen nowhere else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as quick
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from ibkr_bridge.api.routes import own_routes
from ibkr_bridge.events import RequestServed, TokenIssued
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.server.credentials import extract
from ibkr_bridge.server.request_target import read_target
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import ManualClock
from tests.conftest import Open
from tests.harness import KEY, READING, Harness, Placed, Reply, settings_for
from tests.unlimited import UNLIMITED

ROUTE = "/auth/token"
NEW = "new-key-for-tests-0123456789-abcdefg"
FOR_PAGES = ["/ws", "/v1/api/ws", "/stream/quotes", "/stream/orders/x", "/docs", "/docs/", "/docs/x", "/openapi.json"]
SOCKETS = FOR_PAGES[:2]
NO_ENTRY = {"invalid_key", "host_not_allowed", "origin_not_allowed"}
PAGE = {"Origin": "http://localhost:3001"}


async def token(harness: Harness, key: str = KEY, **asked: object) -> str:
    """A token, as an app's server asks for one."""
    reply = await harness.post(ROUTE, asked, key=key)
    assert reply.status == 200, reply.body
    return str(reply.json["token"])


def bearer(text: str) -> dict[str, str]:
    """A header with it."""
    return {"Authorization": f"Bearer {text}"}


async def fetch(harness: Harness, target: str, headers: dict[str, str] | None = None, key: str | None = None) -> Reply:
    """A GET without the key, as a page sends it."""
    return await harness.get(target, key=key, headers=headers)


async def entered(harness: Harness, target: str, headers: dict[str, str] | None = None) -> bool:
    """Whether a request without a key was let in, whatever became of it there."""
    return (await fetch(harness, target, headers)).code not in NO_ENTRY


@pytest.fixture
async def reading_harness(open_harness: Open) -> Harness:
    """A bridge with a key that reads."""
    return await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)


# -- asking for one


async def test_a_token_is_told_with_its_end(harness: Harness) -> None:
    """Everything an app needs to hand it on and to ask again in time."""
    reply = await harness.post(ROUTE)
    told = reply.json

    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert list(told) == ["token", "token_type", "expires_in", "expires", "scope"]
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("Bearer", 1800, "read")
    assert told["expires"].endswith("Z")
    assert (reply.headers["X-Bridge-Source"], reply.headers["Cache-Control"]) == ("bridge", "no-store")


async def test_the_end_is_the_clocks(sim: Simulator, tmp_path: Path) -> None:
    """UTC, to the second."""
    async with Harness(settings_for(sim.url, tmp_path), ManualClock()) as harness:
        told = (await harness.post(ROUTE, {"scope": "trade", "expires_in": 90})).json

    assert (told["expires"], told["expires_in"], told["scope"]) == ("2026-06-17T16:01:30Z", 90, "trade")


@pytest.mark.parametrize("body", [[], {"scope": "admin"}, {"expires_in": 86401}, {"expires_in": 0}, {"ttl": 9}, b"{"])
async def test_what_cannot_be_asked_for_is_a_bad_request(harness: Harness, body: Any) -> None:
    """With what can."""
    reply = await harness.post(ROUTE, body)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert "send" in reply.json["hint"]


async def test_a_key_that_reads_gets_tokens_that_read(reading_harness: Harness) -> None:
    """And no others."""
    wide = await reading_harness.post(ROUTE, {"scope": "trade"}, key=READING)
    text = await token(reading_harness, READING)

    assert (wide.status, wide.code) == (403, "insufficient_scope")
    assert (await fetch(reading_harness, "/portfolio/accounts", bearer(text))).status == 200


@pytest.mark.parametrize("scope", ["read", "trade"])
async def test_a_token_cannot_ask_for_another(harness: Harness, scope: str) -> None:
    """It would never end."""
    reply = await harness.post(ROUTE, key=None, headers=bearer(await token(harness, scope=scope)))

    assert (reply.status, reply.code) == (403, "insufficient_scope")
    assert "key" in reply.json["hint"]


async def test_without_a_key_there_is_no_token(harness: Harness) -> None:
    """The door is the same."""
    none = await harness.post(ROUTE, key=None)
    wrong = await harness.post(ROUTE, key="x" * 40)
    page = await harness.post(ROUTE, headers=PAGE)

    assert [reply.code for reply in (none, wrong, page)] == ["invalid_key", "invalid_key", "origin_not_allowed"]


async def test_other_methods_are_refused(harness: Harness) -> None:
    """A GET would be sent by an image on a page."""
    reply = await harness.get(ROUTE)

    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


# -- where it opens


async def test_a_token_opens_every_keyed_route_in_the_header(harness: Harness) -> None:
    """Our own and IBKR's."""
    headers = bearer(await token(harness))

    replies = [await fetch(harness, path, headers) for path in ("/portfolio/accounts", "/orders", "/gateway/status")]

    assert [reply.status for reply in replies] == [200] * 3
    served = [event for event in harness.events_seen if isinstance(event, RequestServed)][-3:]
    assert {event.key for event in served} == {"read-only token"}


async def test_a_token_that_reads_does_nothing_else(harness: Harness, sim: Simulator) -> None:
    """Whoever takes it from a page moves no money."""
    headers = bearer(await token(harness))

    order = await harness.post(Placed().target, Placed().body, key=None, headers=headers)
    pause = await harness.post("/gateway/pause", key=None, headers=headers)

    assert [(reply.status, reply.code) for reply in (order, pause)] == [(403, "insufficient_scope")] * 2
    assert "trade" in order.json["hint"]
    assert not [call for call in sim.calls("/orders") if call.method == "POST"]


async def test_orders_of_a_token_belong_to_the_key_that_asked_for_it(harness: Harness) -> None:
    """So the same order, sent once with each, is one order."""
    headers = {**bearer(await token(harness, scope="trade")), "Idempotency-Key": "mine"}

    first = await harness.post(Placed().target, Placed().body, key=None, headers=headers)
    again = await harness.post(Placed().target, Placed().body, headers={"Idempotency-Key": "mine"})

    assert (first.status, again.status) == (200, 200)
    assert first.headers["X-Bridge-Order"] == again.headers["X-Bridge-Order"]


async def test_a_pause_says_that_a_token_made_it(harness: Harness) -> None:
    """Whoever wonders why nothing is placed reads it in the status."""
    reply = await harness.post("/gateway/pause", key=None, headers=bearer(await token(harness, scope="trade")))

    assert reply.json["by"] == "full token"


@pytest.mark.parametrize("path", FOR_PAGES)
async def test_pages_may_show_it_in_the_query(harness: Harness, path: str) -> None:
    """Neither a WebSocket nor an EventSource of a browser sends a header."""
    text = await token(harness)

    assert await entered(harness, f"{path}?token={text}")
    assert await entered(harness, f"{path}?a=b&%74oken={quote(text)}&token={text}")
    assert (await fetch(harness, path)).code == "invalid_key"


@pytest.mark.parametrize(
    "path",
    [
        *("/orders", "/gateway/status", "/portfolio/accounts", "/v1/api/portfolio/accounts", "/stream", "/docsx"),
        *("/ws/x", "/v1/api/stream/quotes", "/openapi.json/x", "/", "/nowhere", "/v1/ws"),
    ],
)
async def test_in_other_queries_it_opens_nothing(harness: Harness, sim: Simulator, path: str) -> None:
    """An address is kept in histories and logs; where a header can be sent it has to be."""
    reply = await fetch(harness, f"{path}?token={await token(harness)}")

    assert (reply.status, reply.code) == (401, "invalid_key")
    assert not [call for call in sim.calls() if "token" in call.target]


async def test_it_opens_no_other_method_of_those_paths_by_query(harness: Harness) -> None:
    """A token in the query is still the one that asks: no further token, nothing beyond its scope."""
    text = await token(harness, scope="trade")

    assert (await harness.post(f"{ROUTE}?token={text}", key=None)).code == "invalid_key"


@pytest.mark.parametrize("key", [KEY, READING])
async def test_a_key_in_the_query_opens_nothing(reading_harness: Harness, key: str) -> None:
    """Only what is soon over may stand in an address."""
    assert (await fetch(reading_harness, f"/stream/quotes?token={key}")).code == "invalid_key"


async def test_the_header_counts_before_the_query(harness: Harness) -> None:
    """One place decides, right or wrong."""
    query = f"/stream/quotes?token={await token(harness)}"

    wrong = [
        await fetch(harness, query, {"X-Bridge-Key": "x" * 40}),
        await fetch(harness, query, {"X-Bridge-Key": ""}),
        await fetch(harness, query, {"Authorization": "Bearer x"}),
        await fetch(harness, query, {"Authorization": "Basic eDp5"}),
    ]
    right = await fetch(harness, "/stream/quotes?token=x", key=KEY)

    assert [reply.code for reply in wrong] == ["invalid_key"] * 4
    assert right.code != "invalid_key"


async def test_tokens_that_differ_are_refused(harness: Harness) -> None:
    """Programs on the way could pick different ones."""
    one, two = await token(harness), await token(harness)

    codes = [(await fetch(harness, f"/ws?token={one}&token={other}")).code for other in (two, "", one)]

    assert codes[:2] == ["invalid_key", "invalid_key"]
    assert codes[2] != "invalid_key"


async def test_a_token_is_no_key(harness: Harness) -> None:
    """In the key's own header it is a wrong one."""
    assert (await harness.get("/orders", key=await token(harness))).code == "invalid_key"


async def test_every_bad_token_gets_the_answer_of_a_wrong_key(harness: Harness) -> None:
    """Guessing teaches nothing."""
    good = await token(harness)
    head, claims, sign = good.split(".")
    bad = ["", "x", f"{head}.{claims}.", f"{head}.{claims}.{sign[::-1]}", f"eyJhbGciOiJub25lIn0.{claims}.", good + "="]

    replies = [await fetch(harness, "/orders", bearer(text)) for text in bad]
    replies += [await fetch(harness, f"/ws?token={text}") for text in bad]
    replies.append(await fetch(harness, "/orders", key="x" * 40))

    assert {reply.status for reply in replies} == {401}
    assert len({json.dumps({**reply.json, "request_id": ""}) for reply in replies}) == 1
    assert all("WWW-Authenticate" in reply.headers for reply in replies)


# -- when it ends


async def test_a_token_ends_by_the_clock(sim: Simulator, tmp_path: Path) -> None:
    """In the header and in the query."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        text = await token(harness, expires_in=60)
        clock.advance(59.5)
        before = [
            (await fetch(harness, "/orders", bearer(text))).code,
            (await fetch(harness, f"/ws?token={text}")).code,
        ]
        clock.advance(1)
        after = [(await fetch(harness, "/orders", bearer(text))).code, (await fetch(harness, f"/ws?token={text}")).code]

    assert "invalid_key" not in before
    assert after == ["invalid_key"] * 2


async def test_another_full_key_ends_every_token(reading_harness: Harness, sim: Simulator, tmp_path: Path) -> None:
    """A reload is enough, while the old key is still let in."""
    harness = reading_harness
    texts = [await token(harness), await token(harness, READING)]
    rotated = {"IBKR_BRIDGE_KEY": NEW, "IBKR_BRIDGE_KEY_PREVIOUS": KEY, "IBKR_BRIDGE_READONLY_KEY": READING}

    harness.bridge.reload(lambda: settings_for(sim.url, tmp_path / "state", **rotated))

    assert [(await fetch(harness, "/orders", bearer(text))).code for text in texts] == ["invalid_key"] * 2
    assert [(await harness.get("/orders", key=key)).status for key in (NEW, KEY, READING)] == [200] * 3
    assert (await fetch(harness, "/orders", bearer(await token(harness, KEY)))).status == 200


async def test_a_restart_ends_no_token(sim: Simulator, tmp_path: Path) -> None:
    """A page goes on with the token it has."""
    settings = settings_for(sim.url, tmp_path)
    async with Harness(settings) as harness:
        text = await token(harness)
    async with Harness(settings) as harness:
        assert (await fetch(harness, "/orders", bearer(text))).status == 200


async def test_the_bytes_of_a_token_are_not_answered_from_memory(sim: Simulator, tmp_path: Path) -> None:
    """They would be, after its end: known heads are not looked at again."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock, options=ProfileOptions(UNLIMITED.limits)) as harness:
        await harness.wait_until(SessionState.READY)
        text = await token(harness, expires_in=1)
        lines = ("GET /portfolio/DU1234567/meta HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {text}", "", "")
        head = "\r\n".join(lines).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
        firsts = []
        for _ in range(3):
            writer.write(head)
            firsts.append(await _status(reader))
        clock.advance(2)
        writer.write(head)
        after = await _status(reader)
        writer.close()

    assert (firsts, after) == ([200] * 3, 401)


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of one reply, read to its end."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.split("\r\n") if line.startswith("Content-Length"))
        await reader.readexactly(int(length.partition(": ")[2]))
    return int(head.split()[1])


# -- pages


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3001", "https://localhost", "http://127.0.0.1:3000", "http://[::1]:9", "HTTP://LOCALHOST"],
)
async def test_a_page_of_the_app_opens_the_socket_with_a_token(harness: Harness, path: str, origin: str) -> None:
    """By its query, or by a header where a page's program can send one."""
    text = await token(harness)

    assert await entered(harness, f"{path}?token={text}", {"Origin": origin})
    assert await entered(harness, path, {"Origin": origin, **bearer(text)})


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "file://", "http://localhost.evil.example", "http://evil.example:3001"),
        *("ftp://localhost", "http://localhost@evil.example", "http://evil.example#localhost", "localhost", "http://"),
        *("http://localhost/", "http://localhost:3001 http://evil.example", "http://10.0.0.1:3001"),
    ],
)
async def test_other_pages_do_not_and_learn_nothing_of_the_token(harness: Harness, origin: str) -> None:
    """Right or wrong, it is the same refusal."""
    right = await fetch(harness, f"/ws?token={await token(harness)}", {"Origin": origin})
    wrong = await fetch(harness, "/ws?token=x", {"Origin": origin})

    assert [(reply.status, reply.code) for reply in (right, wrong)] == [(403, "origin_not_allowed")] * 2
    assert right.json["detail"] == wrong.json["detail"]
    assert not [name for name in right.headers if name.lower().startswith("access-control")]


async def test_a_listed_name_serves_pages_too(open_harness: Open) -> None:
    """The app in a container is known by its name."""
    harness = await open_harness(IBKR_BRIDGE_ALLOWED_HOSTS="app")
    text = await token(harness)

    assert await entered(harness, f"/ws?token={text}", {"Origin": "http://app:3000"})
    assert not await entered(harness, f"/ws?token={text}", {"Origin": "http://other:3000"})


@pytest.mark.parametrize("path", ["/orders", "/portfolio/accounts", "/stream/quotes", "/docs", "/health", "/ws/x"])
async def test_a_page_opens_nothing_but_the_socket(harness: Harness, path: str) -> None:
    """Anything else is the server's to ask for; no CORS, ever."""
    text = await token(harness)

    replies = [await fetch(harness, f"{path}?token={text}", PAGE), await fetch(harness, path, {**PAGE, **bearer(text)})]

    assert [reply.code for reply in replies] == ["origin_not_allowed"] * 2


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_page_with_a_key_is_refused_everywhere(harness: Harness, path: str) -> None:
    """A key has no business in a browser, so nobody is helped to put it there."""
    text = await token(harness)
    replies = [
        await fetch(harness, path, PAGE, key=KEY),
        await fetch(harness, f"{path}?token={text}", PAGE, key=KEY),
        await fetch(harness, path, {**PAGE, **bearer(KEY)}),
        await fetch(harness, path, PAGE),
    ]

    assert [reply.code for reply in replies] == ["origin_not_allowed"] * 4


async def test_a_wrong_token_of_our_own_page_is_a_wrong_token(harness: Harness) -> None:
    """Whoever builds the page sees what is wrong."""
    head, claims, sign = (await token(harness)).split(".")

    reply = await fetch(harness, f"/ws?token={head}.{claims}.{sign[::-1]}", PAGE)

    assert reply.code == "invalid_key"


async def test_two_origins_are_both_looked_at(harness: Harness) -> None:
    """One that is known does not cover for the other."""
    text = await token(harness)
    lines = (
        f"GET /ws?token={text} HTTP/1.1",
        *("Host: 127.0.0.1", "Connection: close", "Origin: http://localhost:3001", "Origin: http://evil.example"),
        *("", ""),
    )

    assert (await harness.send_raw("\r\n".join(lines).encode())).startswith(b"HTTP/1.1 403 ")


# -- where it is seen


async def test_no_token_stands_in_a_log_line_or_a_refusal(harness: Harness) -> None:
    """Wherever it was put, rightly or wrongly."""
    text = await token(harness, scope="trade")
    replies = [
        *[await fetch(harness, f"{path}?token={text}") for path in (*FOR_PAGES, "/orders", "/nowhere", f"/x/{text}")],
        await fetch(harness, f"/orders/{text}", bearer(text)),
        await fetch(harness, f"/iserver/{text}", bearer(text)),
        await fetch(harness, f"/orders?state={text}", bearer(text)),
        await fetch(harness, "/orders", {**bearer(text), "X-Request-ID": text[:64]}),
        await fetch(harness, f"/orders?token={text}%", key=KEY),
        await harness.post(ROUTE, {"scope": text}),
        await harness.post(ROUTE, {text: 1}),
    ]
    await harness.send_raw(f"GET /ws?token={text} HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n".encode())

    seen = harness.written.getvalue() + "".join(f"{reply.headers} {reply.body!r}" for reply in replies)
    assert text not in seen
    assert text.rpartition(".")[2] not in seen
    assert "token=" not in harness.written.getvalue()


async def test_the_log_says_that_one_was_given_out(harness: Harness) -> None:
    """By whom it was asked for, for what, how long, and under which name; never the token."""
    await token(harness, scope="trade", expires_in=60)

    event = next(event for event in harness.events_seen if isinstance(event, TokenIssued))

    assert (event.key, event.scope, len(event.token)) == ("full", "trade", 16)
    assert event.expires.endswith("Z")
    assert '"token.issued"' in harness.written.getvalue()


async def test_a_token_beside_a_key_is_a_parameter_like_any_other(harness: Harness, sim: Simulator) -> None:
    """IBKR has such a name in some calls; with a key in the header it is none of ours."""
    reply = await harness.get("/portfolio/accounts?token=7")

    assert reply.status == 200
    assert [call.target for call in sim.calls("/portfolio/accounts") if "token=7" in call.target]


# -- reading a request


@quick(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["X-Bridge-Key", "Authorization", "Cookie"]), st.text()), max_size=3),
    st.sampled_from(["/ws", "/stream/x", "/orders", "/docs"]),
    st.lists(st.sampled_from(["token", "=", "&", ";", "+", "%74", "%ff", "%00", "x"])),
)
def test_whatever_is_shown_it_is_read_without_a_crash(
    headers: list[tuple[str, str]], path: str, query: list[str]
) -> None:
    """A header decides alone; a query shows a token only where it may."""
    target = read_target(f"{path}?{''.join(query)}")

    found = extract(CIMultiDictProxy(CIMultiDict(headers)), target, own_routes())

    if found is not None and not found.may_be_key:
        assert path != "/orders"
        assert not {name for name, _ in headers} & {"X-Bridge-Key", "Authorization"}
