"""Tokens for web pages: who gets one, which routes it opens, when it ends, and that no log has it."""

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
from tests.conftest import OpenHarness
from tests.harness import KEY, READONLY_KEY, Harness, Placement, Reply, settings_for
from tests.unlimited import UNLIMITED

ROUTE = "/auth/token"
NEW = "new-key-for-tests-0123456789-abcdefg"
TOKEN_IN_QUERY_PATHS = [
    "/ws",
    "/v1/api/ws",
    "/stream/quotes",
    "/stream/orders/x",
    "/docs",
    "/docs/",
    "/docs/x",
    "/openapi.json",
]
WEBSOCKET_PATHS = TOKEN_IN_QUERY_PATHS[:2]
ACCESS_ERRORS = {"invalid_key", "host_not_allowed", "origin_not_allowed"}
PAGE_HEADERS = {"Origin": "http://localhost:3001"}


async def issue_token(harness: Harness, key: str = KEY, **members: object) -> str:
    """A token, requested as by the server of an app."""
    reply = await harness.post(ROUTE, members, key=key)
    assert reply.status == 200, reply.body
    return str(reply.json["token"])


def bearer(text: str) -> dict[str, str]:
    """The header with a token."""
    return {"Authorization": f"Bearer {text}"}


async def fetch(harness: Harness, target: str, headers: dict[str, str] | None = None, key: str | None = None) -> Reply:
    """Send a GET, without a key unless one is given."""
    return await harness.get(target, key=key, headers=headers)


async def is_admitted(harness: Harness, target: str, headers: dict[str, str] | None = None) -> bool:
    """Whether a request without a key passes the access checks, whatever its response is."""
    return (await fetch(harness, target, headers)).code not in ACCESS_ERRORS


@pytest.fixture
async def reading_harness(open_harness: OpenHarness) -> Harness:
    """A bridge with a read-only key."""
    return await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)


# -- issuing tokens


async def test_a_token_comes_with_its_expiry(harness: Harness) -> None:
    """An app needs it to request the next token in time."""
    reply = await harness.post(ROUTE)
    body = reply.json

    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert list(body) == ["token", "token_type", "expires_in", "expires", "scope"]
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 1800, "read")
    assert body["expires"].endswith("Z")
    assert (reply.headers["X-Bridge-Source"], reply.headers["Cache-Control"]) == ("bridge", "no-store")


async def test_the_expiry_is_that_of_the_clock(sim: Simulator, tmp_path: Path) -> None:
    """In UTC, to the second."""
    async with Harness(settings_for(sim.url, tmp_path), ManualClock()) as harness:
        body = (await harness.post(ROUTE, {"scope": "trade", "expires_in": 90})).json

    assert (body["expires"], body["expires_in"], body["scope"]) == ("2026-06-17T16:01:30Z", 90, "trade")


@pytest.mark.parametrize("body", [[], {"scope": "admin"}, {"expires_in": 86401}, {"expires_in": 0}, {"ttl": 9}, b"{"])
async def test_a_wrong_request_is_refused(harness: Harness, body: Any) -> None:
    """The hint says what to send."""
    reply = await harness.post(ROUTE, body)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert "send" in reply.json["hint"]


async def test_the_read_only_key_gets_read_only_tokens(reading_harness: Harness) -> None:
    """It gets no others."""
    trade_request = await reading_harness.post(ROUTE, {"scope": "trade"}, key=READONLY_KEY)
    text = await issue_token(reading_harness, READONLY_KEY)

    assert (trade_request.status, trade_request.code) == (403, "insufficient_scope")
    assert (await fetch(reading_harness, "/portfolio/accounts", bearer(text))).status == 200


@pytest.mark.parametrize("scope", ["read", "trade"])
async def test_a_token_cannot_issue_another_one(harness: Harness, scope: str) -> None:
    """Otherwise access would never end."""
    reply = await harness.post(ROUTE, key=None, headers=bearer(await issue_token(harness, scope=scope)))

    assert (reply.status, reply.code) == (403, "insufficient_scope")
    assert "key" in reply.json["hint"]


async def test_without_a_key_there_is_no_token(harness: Harness) -> None:
    """The access checks are those of every route."""
    none = await harness.post(ROUTE, key=None)
    wrong = await harness.post(ROUTE, key="x" * 40)
    page = await harness.post(ROUTE, headers=PAGE_HEADERS)

    assert [reply.code for reply in (none, wrong, page)] == ["invalid_key", "invalid_key", "origin_not_allowed"]


async def test_other_methods_are_refused(harness: Harness) -> None:
    """An image on a web page could send a GET."""
    reply = await harness.get(ROUTE)

    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


# -- routes that it opens


async def test_a_token_in_the_header_opens_every_keyed_route(harness: Harness) -> None:
    """The bridge's own and IBKR's."""
    headers = bearer(await issue_token(harness))

    replies = [await fetch(harness, path, headers) for path in ("/portfolio/accounts", "/orders", "/gateway/status")]

    assert [reply.status for reply in replies] == [200] * 3
    served = [event for event in harness.events_seen if isinstance(event, RequestServed)][-3:]
    assert {event.key for event in served} == {"read-only token"}


async def test_a_read_only_token_changes_nothing(harness: Harness, sim: Simulator) -> None:
    """A thief of the token cannot trade."""
    headers = bearer(await issue_token(harness))

    order = await harness.post(Placement().target, Placement().body, key=None, headers=headers)
    pause = await harness.post("/gateway/pause", key=None, headers=headers)

    assert [(reply.status, reply.code) for reply in (order, pause)] == [(403, "insufficient_scope")] * 2
    assert "trade" in order.json["hint"]
    assert not [call for call in sim.calls("/orders") if call.method == "POST"]


async def test_orders_of_a_token_belong_to_the_key_that_issued_it(harness: Harness) -> None:
    """So the same order, sent once with the token and once with the key, is one order."""
    headers = {**bearer(await issue_token(harness, scope="trade")), "Idempotency-Key": "mine"}

    first = await harness.post(Placement().target, Placement().body, key=None, headers=headers)
    again = await harness.post(Placement().target, Placement().body, headers={"Idempotency-Key": "mine"})

    assert (first.status, again.status) == (200, 200)
    assert first.headers["X-Bridge-Order"] == again.headers["X-Bridge-Order"]


async def test_a_pause_set_with_a_token_says_so(harness: Harness) -> None:
    """The status shows who set the pause."""
    reply = await harness.post("/gateway/pause", key=None, headers=bearer(await issue_token(harness, scope="trade")))

    assert reply.json["by"] == "full token"


@pytest.mark.parametrize("path", TOKEN_IN_QUERY_PATHS)
async def test_pages_may_send_it_in_the_query(harness: Harness, path: str) -> None:
    """WebSocket and EventSource of a browser cannot send a header."""
    text = await issue_token(harness)

    assert await is_admitted(harness, f"{path}?token={text}")
    assert await is_admitted(harness, f"{path}?a=b&%74oken={quote(text)}&token={text}")
    assert (await fetch(harness, path)).code == "invalid_key"


@pytest.mark.parametrize(
    "path",
    [
        *("/orders", "/gateway/status", "/portfolio/accounts", "/v1/api/portfolio/accounts", "/stream", "/docsx"),
        *("/ws/x", "/v1/api/stream/quotes", "/openapi.json/x", "/nowhere", "/v1/ws"),
    ],
)
async def test_in_the_query_of_other_paths_it_is_ignored(harness: Harness, sim: Simulator, path: str) -> None:
    """URLs are kept in histories and logs, so a header is required if one can be sent."""
    reply = await fetch(harness, f"{path}?token={await issue_token(harness)}")

    assert (reply.status, reply.code) == (401, "invalid_key")
    assert not [call for call in sim.calls() if "token" in call.target]


async def test_a_token_in_a_query_issues_no_token(harness: Harness) -> None:
    """The route needs a key."""
    text = await issue_token(harness, scope="trade")

    assert (await harness.post(f"{ROUTE}?token={text}", key=None)).code == "invalid_key"


@pytest.mark.parametrize("key", [KEY, READONLY_KEY])
async def test_a_key_in_the_query_is_refused(reading_harness: Harness, key: str) -> None:
    """Only a secret that expires soon may be in a URL."""
    assert (await fetch(reading_harness, f"/stream/quotes?token={key}")).code == "invalid_key"


async def test_the_header_takes_precedence_over_the_query(harness: Harness) -> None:
    """A wrong header is refused although the query has a valid token."""
    query = f"/stream/quotes?token={await issue_token(harness)}"

    wrong = [
        await fetch(harness, query, {"X-Bridge-Key": "x" * 40}),
        await fetch(harness, query, {"X-Bridge-Key": ""}),
        await fetch(harness, query, {"Authorization": "Bearer x"}),
        await fetch(harness, query, {"Authorization": "Basic eDp5"}),
    ]
    right = await fetch(harness, "/stream/quotes?token=x", key=KEY)

    assert [reply.code for reply in wrong] == ["invalid_key"] * 4
    assert right.code != "invalid_key"


async def test_two_different_tokens_are_refused(harness: Harness) -> None:
    """A proxy on the way could check the other one."""
    one, two = await issue_token(harness), await issue_token(harness)

    codes = [(await fetch(harness, f"/ws?token={one}&token={other}")).code for other in (two, "", one)]

    assert codes[:2] == ["invalid_key", "invalid_key"]
    assert codes[2] != "invalid_key"


async def test_a_token_is_not_accepted_as_a_key(harness: Harness) -> None:
    """In the header of the key it is a wrong key."""
    assert (await harness.get("/orders", key=await issue_token(harness))).code == "invalid_key"


async def test_every_wrong_token_gets_the_error_of_a_wrong_key(harness: Harness) -> None:
    """The error does not help an attacker who guesses."""
    good = await issue_token(harness)
    head, claims, sign = good.split(".")
    bad = ["", "x", f"{head}.{claims}.", f"{head}.{claims}.{sign[::-1]}", f"eyJhbGciOiJub25lIn0.{claims}.", good + "="]

    replies = [await fetch(harness, "/orders", bearer(text)) for text in bad]
    replies += [await fetch(harness, f"/ws?token={text}") for text in bad]
    replies.append(await fetch(harness, "/orders", key="x" * 40))

    assert {reply.status for reply in replies} == {401}
    assert len({json.dumps({**reply.json, "request_id": ""}) for reply in replies}) == 1
    assert all("WWW-Authenticate" in reply.headers for reply in replies)


# -- when it ends


async def test_a_token_expires(sim: Simulator, tmp_path: Path) -> None:
    """In the header and in the query."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        text = await issue_token(harness, expires_in=60)
        clock.advance(59.5)
        before = [
            (await fetch(harness, "/orders", bearer(text))).code,
            (await fetch(harness, f"/ws?token={text}")).code,
        ]
        clock.advance(1)
        after = [(await fetch(harness, "/orders", bearer(text))).code, (await fetch(harness, f"/ws?token={text}")).code]

    assert "invalid_key" not in before
    assert after == ["invalid_key"] * 2


async def test_a_new_full_key_ends_every_token(reading_harness: Harness, sim: Simulator, tmp_path: Path) -> None:
    """A reload is enough, even while the previous key is still accepted."""
    harness = reading_harness
    texts = [await issue_token(harness), await issue_token(harness, READONLY_KEY)]
    rotated = {"IBKR_BRIDGE_KEY": NEW, "IBKR_BRIDGE_KEY_PREVIOUS": KEY, "IBKR_BRIDGE_READONLY_KEY": READONLY_KEY}

    harness.bridge.reload(lambda: settings_for(sim.url, tmp_path / "state", **rotated))

    assert [(await fetch(harness, "/orders", bearer(text))).code for text in texts] == ["invalid_key"] * 2
    assert [(await harness.get("/orders", key=key)).status for key in (NEW, KEY, READONLY_KEY)] == [200] * 3
    assert (await fetch(harness, "/orders", bearer(await issue_token(harness, KEY)))).status == 200


async def test_a_restart_ends_no_token(sim: Simulator, tmp_path: Path) -> None:
    """A page can use its token after the restart."""
    settings = settings_for(sim.url, tmp_path)
    async with Harness(settings) as harness:
        text = await issue_token(harness)
    async with Harness(settings) as harness:
        assert (await fetch(harness, "/orders", bearer(text))).status == 200


async def test_a_repeated_request_is_refused_when_its_token_has_expired(sim: Simulator, tmp_path: Path) -> None:
    """Each request on a persistent connection is checked, even if its bytes equal an earlier one."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock, options=ProfileOptions(UNLIMITED.limits)) as harness:
        await harness.wait_until(SessionState.READY)
        text = await issue_token(harness, expires_in=1)
        lines = ("GET /portfolio/DU1234567/meta HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {text}", "", "")
        head = "\r\n".join(lines).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
        before = []
        for _ in range(3):
            writer.write(head)
            before.append(await _status(reader))
        clock.advance(2)
        writer.write(head)
        after = await _status(reader)
        writer.close()

    assert (before, after) == ([200] * 3, 401)


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one response to its end. Returns its status."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.split("\r\n") if line.startswith("Content-Length"))
        await reader.readexactly(int(length.partition(": ")[2]))
    return int(head.split()[1])


# -- pages


@pytest.mark.parametrize("path", WEBSOCKET_PATHS)
@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3001", "https://localhost", "http://127.0.0.1:3000", "http://[::1]:9", "HTTP://LOCALHOST"],
)
async def test_a_page_of_the_app_opens_the_websocket_with_a_token(harness: Harness, path: str, origin: str) -> None:
    """In the query, or in a header if the page can send one."""
    text = await issue_token(harness)

    assert await is_admitted(harness, f"{path}?token={text}", {"Origin": origin})
    assert await is_admitted(harness, path, {"Origin": origin, **bearer(text)})


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "file://", "http://localhost.evil.example", "http://evil.example:3001"),
        *("ftp://localhost", "http://localhost@evil.example", "http://evil.example#localhost", "localhost", "http://"),
        *("http://localhost/", "http://localhost:3001 http://evil.example", "http://10.0.0.1:3001"),
    ],
)
async def test_other_pages_are_refused_with_any_token(harness: Harness, origin: str) -> None:
    """The error is the same for a valid and a wrong token."""
    right = await fetch(harness, f"/ws?token={await issue_token(harness)}", {"Origin": origin})
    wrong = await fetch(harness, "/ws?token=x", {"Origin": origin})

    assert [(reply.status, reply.code) for reply in (right, wrong)] == [(403, "origin_not_allowed")] * 2
    assert right.json["detail"] == wrong.json["detail"]
    assert not [name for name in right.headers if name.lower().startswith("access-control")]


async def test_a_page_of_an_allowed_host_is_accepted(open_harness: OpenHarness) -> None:
    """An app in a container has its own host name."""
    harness = await open_harness(IBKR_BRIDGE_ALLOWED_HOSTS="app")
    text = await issue_token(harness)

    assert await is_admitted(harness, f"/ws?token={text}", {"Origin": "http://app:3000"})
    assert not await is_admitted(harness, f"/ws?token={text}", {"Origin": "http://other:3000"})


@pytest.mark.parametrize("path", ["/orders", "/portfolio/accounts", "/stream/quotes", "/docs", "/health", "/ws/x"])
async def test_a_page_opens_only_the_websocket(harness: Harness, path: str) -> None:
    """All else is for the server of the app. There is no CORS."""
    text = await issue_token(harness)

    replies = [
        await fetch(harness, f"{path}?token={text}", PAGE_HEADERS),
        await fetch(harness, path, {**PAGE_HEADERS, **bearer(text)}),
    ]

    assert [reply.code for reply in replies] == ["origin_not_allowed"] * 2


@pytest.mark.parametrize("path", WEBSOCKET_PATHS)
async def test_a_page_with_a_key_is_refused(harness: Harness, path: str) -> None:
    """A key must not be in a browser."""
    text = await issue_token(harness)
    replies = [
        await fetch(harness, path, PAGE_HEADERS, key=KEY),
        await fetch(harness, f"{path}?token={text}", PAGE_HEADERS, key=KEY),
        await fetch(harness, path, {**PAGE_HEADERS, **bearer(KEY)}),
        await fetch(harness, path, PAGE_HEADERS),
    ]

    assert [reply.code for reply in replies] == ["origin_not_allowed"] * 4


async def test_a_wrong_token_of_an_allowed_page_is_an_invalid_key(harness: Harness) -> None:
    """The developer of the page sees what is wrong."""
    head, claims, sign = (await issue_token(harness)).split(".")

    reply = await fetch(harness, f"/ws?token={head}.{claims}.{sign[::-1]}", PAGE_HEADERS)

    assert reply.code == "invalid_key"


async def test_two_origins_are_both_checked(harness: Harness) -> None:
    """An allowed origin does not make the other one allowed."""
    text = await issue_token(harness)
    lines = (
        f"GET /ws?token={text} HTTP/1.1",
        *("Host: 127.0.0.1", "Connection: close", "Origin: http://localhost:3001", "Origin: http://evil.example"),
        *("", ""),
    )

    assert (await harness.send_raw("\r\n".join(lines).encode())).startswith(b"HTTP/1.1 403 ")


# -- logs


async def test_no_log_line_and_no_error_has_a_token(harness: Harness) -> None:
    """Wherever the caller put it."""
    text = await issue_token(harness, scope="trade")
    replies = [
        *[
            await fetch(harness, f"{path}?token={text}")
            for path in (*TOKEN_IN_QUERY_PATHS, "/orders", "/nowhere", f"/x/{text}")
        ],
        await fetch(harness, f"/orders/{text}", bearer(text)),
        await fetch(harness, f"/iserver/{text}", bearer(text)),
        await fetch(harness, f"/orders?state={text}", bearer(text)),
        await fetch(harness, "/orders", {**bearer(text), "X-Request-ID": text[:64]}),
        await fetch(harness, f"/orders?token={text}%", key=KEY),
        await harness.post(ROUTE, {"scope": text}),
        await harness.post(ROUTE, {text: 1}),
    ]
    await harness.send_raw(f"GET /ws?token={text} HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n".encode())

    output = harness.written.getvalue() + "".join(f"{reply.headers} {reply.body!r}" for reply in replies)
    assert text not in output
    assert text.rpartition(".")[2] not in output
    assert "token=" not in harness.written.getvalue()


async def test_issuing_a_token_is_logged(harness: Harness) -> None:
    """With the key, the scope, the expiry and a name of the token, but without the token."""
    await issue_token(harness, scope="trade", expires_in=60)

    event = next(event for event in harness.events_seen if isinstance(event, TokenIssued))

    assert (event.key, event.scope, len(event.token)) == ("full", "trade", 16)
    assert event.expires.endswith("Z")
    assert '"token.issued"' in harness.written.getvalue()


async def test_with_a_key_in_the_header_token_is_a_parameter_of_ibkr(harness: Harness, sim: Simulator) -> None:
    """Some calls of IBKR have a parameter of this name."""
    reply = await harness.get("/portfolio/accounts?token=7")

    assert reply.status == 200
    assert [call.target for call in sim.calls("/portfolio/accounts") if "token=7" in call.target]


# -- parsing


@quick(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["X-Bridge-Key", "Authorization", "Cookie"]), st.text()), max_size=3),
    st.sampled_from(["/ws", "/stream/x", "/orders", "/docs"]),
    st.lists(st.sampled_from(["token", "=", "&", ";", "+", "%74", "%ff", "%00", "x"])),
)
def test_any_headers_and_queries_are_parsed_without_a_crash(
    headers: list[tuple[str, str]], path: str, query: list[str]
) -> None:
    """A header takes precedence; a token in the query counts only on paths that allow it."""
    target = read_target(f"{path}?{''.join(query)}")

    credential = extract(CIMultiDictProxy(CIMultiDict(headers)), target, own_routes())

    if credential is not None and not credential.may_be_key:
        assert path != "/orders"
        assert not {name for name, _ in headers} & {"X-Bridge-Key", "Authorization"}
