"""The checks of every request: keys, scopes, Host and Origin."""

from __future__ import annotations

import gzip

import pytest

from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import KEY, PREVIOUS_KEY, READONLY_KEY, Harness, Placement

SECOND_KEY_HEADER = (
    b"GET /portfolio/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"X-Bridge-Key: " + KEY.encode() + b"\r\nX-Bridge-Key: %s\r\n\r\n"
)


async def test_no_key_and_a_wrong_key_get_the_same_response(harness: Harness) -> None:
    """The response to a guess must not show whether a key was sent."""
    none = await harness.get("/portfolio/accounts", key=None)
    wrong = await harness.get("/portfolio/accounts", key="x" * 40)

    assert (none.status, none.code) == (wrong.status, wrong.code) == (401, "invalid_key")
    assert {**none.json, "request_id": ""} == {**wrong.json, "request_id": ""}


@pytest.mark.parametrize("key", ["", " ", KEY[:-1], KEY + "x", KEY.upper(), "schlüssel-mit-umlaut-0123456789-abcdef"])
async def test_a_similar_key_is_refused(harness: Harness, key: str) -> None:
    """A key that differs in one character is refused; so is one with characters outside ASCII."""
    assert (await harness.get("/portfolio/accounts", key=None, headers={"X-Bridge-Key": key})).status == 401


async def test_raw_bytes_as_a_key_are_refused(harness: Harness) -> None:
    """Bytes that are not UTF-8 are compared as they are."""
    head = b"GET /portfolio/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    request = head + b"X-Bridge-Key: \xff\xfe\x80\r\n\r\n"

    assert (await harness.send_raw(request)).startswith(b"HTTP/1.1 401 ")


async def test_a_bearer_token_is_accepted_without_the_key_header(harness: Harness) -> None:
    """Some HTTP libraries can only send Authorization."""
    reply = await harness.get("/portfolio/accounts", key=None, headers={"Authorization": f"Bearer {KEY}"})

    assert reply.status == 200


async def test_a_bearer_token_beside_the_key_header_is_ignored(harness: Harness) -> None:
    """Only one header decides."""
    right = await harness.get("/portfolio/accounts", key=KEY, headers={"Authorization": "Bearer something-else"})
    wrong = await harness.get("/portfolio/accounts", key="x" * 40, headers={"Authorization": f"Bearer {KEY}"})

    assert (right.status, wrong.status) == (200, 401)


async def test_two_key_headers_that_differ_are_refused(harness: Harness) -> None:
    """A proxy before the bridge may read the other header."""
    assert (await harness.send_raw(SECOND_KEY_HEADER % b"another")).startswith(b"HTTP/1.1 401 ")
    assert (await harness.send_raw(SECOND_KEY_HEADER % KEY.encode())).startswith(b"HTTP/1.1 200 ")


async def test_the_previous_key_is_accepted_while_keys_rotate(open_harness: OpenHarness) -> None:
    """No caller is refused while the app still has the old key."""
    harness = await open_harness(IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS_KEY)

    assert (await harness.get("/portfolio/accounts", key=PREVIOUS_KEY)).status == 200
    assert (await harness.post(Placement().target, Placement().body, key=PREVIOUS_KEY)).status == 200


async def test_the_reading_key_allows_only_reads(open_harness: OpenHarness, sim: Simulator) -> None:
    """The key of a dashboard cannot place orders."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    read = await harness.get("/portfolio/accounts", key=READONLY_KEY)
    order = await harness.post(Placement().target, Placement().body, key=READONLY_KEY)
    cancel = await harness.request("DELETE", "/iserver/account/DU1234567/order/1", key=READONLY_KEY)
    whatif = await harness.post(f"{Placement().target}/whatif", Placement().body, key=READONLY_KEY)

    assert (read.status, whatif.status) == (200, 200)
    assert [(reply.status, reply.code) for reply in (order, cancel)] == [(403, "insufficient_scope")] * 2
    assert not [call for call in sim.calls("/order") if call.method != "GET" and "whatif" not in call.target]


@pytest.mark.parametrize(
    "path",
    [
        "/iserver/account/DU1234567/orders/whatif",
        "/iserver/account/DU1234567/Order/whatif",
        "/iserver/account/DU1234567/orders",
        "/iserver/reply/abc",
        "/iserver/questions/suppress",
    ],
)
async def test_the_reading_key_does_not_reach_order_calls_by_get(
    open_harness: OpenHarness, sim: Simulator, path: str
) -> None:
    """IBKR may not look at the method. A preview beside the order lock would end a question that is open."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    reply = await harness.get(path, key=READONLY_KEY)

    assert (reply.status, reply.code) == (403, "insufficient_scope")
    assert not [call for call in sim.gateway_calls() if path in call.target]


@pytest.mark.parametrize("route", ["pause", "resume", "reconnect", "logout"])
async def test_the_reading_key_does_not_change_the_session(open_harness: OpenHarness, route: str) -> None:
    """These routes need the full key."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    assert (await harness.post(f"/gateway/{route}", key=READONLY_KEY)).code == "insufficient_scope"
    assert (await harness.get(f"/gateway/{route}")).code == "method_not_allowed"


@pytest.mark.parametrize("path", ["/iserver/auth/ssodh/init", "/iserver/reauthenticate"])
async def test_opening_the_session_needs_the_full_key(open_harness: OpenHarness, path: str) -> None:
    """It may displace another session of the user."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    assert (await harness.post(path, {}, key=READONLY_KEY)).code == "insufficient_scope"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:3000", "[::1]:8000", "127.0.0.1:9999"])
async def test_loopback_names_are_accepted_with_any_port(harness: Harness, host: str) -> None:
    """A tunnel may change the port."""
    assert (await harness.get("/health", key=None, headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "a b",
            "",
        ),
        *("127.0.0.1:8000:1", "localhost:1:2", "127.0.0.1:0:0:0", "[::1]:8000:1", "[::1]x:8000", "127.0.0.1:80²"),
        *("[127.0.0.1:8000]:1", "127.0.0.1:123456", "evil.example:127.0.0.1"),
    ],
)
async def test_other_names_are_refused(harness: Harness, host: str) -> None:
    """A page whose name resolves to the bridge (DNS rebinding) is refused, even for /health."""
    reply = await harness.get("/health", key=None, headers={"Host": host})

    assert (reply.status, reply.code) == (403, "host_not_allowed")


async def test_a_name_in_the_settings_is_accepted(open_harness: OpenHarness) -> None:
    """Containers call each other by name."""
    harness = await open_harness(IBKR_BRIDGE_ALLOWED_HOSTS="bridge,other:8000,my_app_bridge_1")
    names = ("bridge:8000", "bridge", "my_app_bridge_1:8000", "other", "other:8000", "other:8000:1", "bridge:1:2")

    statuses = [(await harness.get("/health", headers={"Host": name})).status for name in names]

    assert statuses == [200, 200, 200, 403, 200, 403, 403]


async def test_the_bridges_own_address_has_one_port(harness: Harness) -> None:
    """The address with its port is a listed name; a second port behind it makes another name of it."""
    own = harness.bridge.url.removeprefix("http://")

    statuses = [(await harness.get("/health", headers={"Host": name})).status for name in (own, f"{own}:1")]

    assert statuses == [200, 403]


async def test_no_host_at_all_is_a_bad_request(harness: Harness) -> None:
    """HTTP/1.1 requires one."""
    reply = await harness.send_raw(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")

    assert reply.split()[1] == b"400"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3001", "http://127.0.0.1:1"])
async def test_a_page_of_another_origin_is_refused_without_cors_headers(harness: Harness, origin: str) -> None:
    """The key does not make such a request acceptable."""
    reply = await harness.get("/health", headers={"Origin": origin})

    assert (reply.status, reply.code) == (403, "origin_not_allowed")
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_a_preflight_of_a_page_is_refused(harness: Harness) -> None:
    """The bridge never sends CORS headers."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}

    assert (await harness.request("OPTIONS", "/portfolio/accounts", key=None, headers=headers)).status == 403


async def test_the_bridges_own_origin_is_accepted(harness: Harness) -> None:
    """The bridge's own page may send requests to it."""
    headers = {"Origin": f"http://127.0.0.1:{harness.port}", "Host": f"127.0.0.1:{harness.port}"}

    assert (await harness.get("/health", headers=headers)).status == 200


def packed_request(path: bytes, key: bytes, headers: bytes, body: bytes) -> bytes:
    """A POST whose body has a content coding."""
    credential = b"X-Bridge-Key: " + key + b"\r\n" if key else b""
    head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s%s" % (path, credential, headers)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "GZip", "identity, gzip", "made-up"])
async def test_a_packed_body_is_refused(harness: Harness, sim: Simulator, coding: str) -> None:
    """The bridge does not unpack bodies. The error names the coding that is accepted."""
    raw = packed_request(b"/iserver/secdef/search", KEY.encode(), f"Content-Encoding: {coding}\r\n".encode(), b"PK")

    reply = await harness.send_raw(raw)

    assert reply.startswith(b"HTTP/1.1 415 ")
    assert b'"code": "unsupported_media_type"' in reply
    assert b"\r\nAccept-Encoding: identity\r\n" in reply
    assert sim.calls("/iserver/secdef/search") == []


@pytest.mark.parametrize("headers", [b"", b"Content-Encoding: identity\r\n", b"Content-Encoding: Identity \r\n"])
async def test_a_body_that_is_not_packed_passes(harness: Harness, headers: bytes) -> None:
    """`identity` means that the body has no coding."""
    headers += b"Content-Type: application/json\r\n"
    raw = packed_request(b"/iserver/secdef/search", KEY.encode(), headers, b'{"symbol":"AAPL"}')

    assert (await harness.send_raw(raw)).startswith(b"HTTP/1.1 200 ")


async def test_a_packed_body_of_a_caller_without_a_key_is_not_unpacked(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If bodies were unpacked before the check of the key, a few small requests would stop the event loop."""
    unpacked: list[object] = []
    monkeypatch.setattr("aiohttp.http_parser.DeflateBuffer.feed_data", lambda *args: unpacked.append(args))
    monkeypatch.setattr("aiohttp.http_parser.DeflateBuffer.__init__", lambda *args, **_: unpacked.append(args))
    body = gzip.compress(bytes(16 * 1024 * 1024))

    for path in (b"/iserver/secdef/search", b"/health", b"/auth/token", b"/no/such/path"):
        replies = [
            await harness.send_raw(packed_request(path, b"", b"Content-Encoding: %s\r\n" % coding, body))
            for coding in (b"gzip", b"deflate", b"identity, br")
        ]
        assert not any(reply.startswith(b"HTTP/1.1 200 ") for reply in replies)

    assert unpacked == []


async def test_a_content_coding_without_a_body_is_ignored(harness: Harness) -> None:
    """Some clients send their default headers with every call."""
    assert (await harness.get("/portfolio/accounts", headers={"Content-Encoding": "gzip"})).status == 200
