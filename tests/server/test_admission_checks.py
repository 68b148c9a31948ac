"""Who comes in: keys, scopes, Host and Origin."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import Open
from tests.harness import KEY, PREVIOUS, READING, House, Placed

SECOND_KEY_HEADER = (
    b"GET /portfolio/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"X-Bridge-Key: " + KEY.encode() + b"\r\nX-Bridge-Key: %s\r\n\r\n"
)


async def test_no_key_and_a_wrong_key_get_the_same_answer(house: House) -> None:
    """Guessing teaches nothing."""
    none = await house.get("/portfolio/accounts", key=None)
    wrong = await house.get("/portfolio/accounts", key="x" * 40)

    assert (none.status, none.code) == (wrong.status, wrong.code) == (401, "invalid_key")
    assert {**none.json, "request_id": ""} == {**wrong.json, "request_id": ""}


@pytest.mark.parametrize("key", ["", " ", KEY[:-1], KEY + "x", KEY.upper(), "schlüssel-mit-umlaut-0123456789-abcdef"])
async def test_almost_the_key_is_wrong(house: House, key: str) -> None:
    """A key outside ASCII is wrong, not a crash."""
    assert (await house.get("/portfolio/accounts", key=None, headers={"X-Bridge-Key": key})).status == 401


async def test_raw_bytes_as_a_key_are_wrong_not_a_crash(house: House) -> None:
    """Bytes that are no UTF-8 reach the comparison as they are."""
    head = b"GET /portfolio/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    request = head + b"X-Bridge-Key: \xff\xfe\x80\r\n\r\n"

    assert (await house.raw(request)).startswith(b"HTTP/1.1 401 ")


async def test_a_bearer_token_opens_where_the_header_is_absent(house: House) -> None:
    """Some HTTP libraries only know Authorization."""
    reply = await house.get("/portfolio/accounts", key=None, headers={"Authorization": f"Bearer {KEY}"})

    assert reply.status == 200


async def test_a_bearer_token_does_not_count_beside_the_header(house: House) -> None:
    """One place decides, so that nobody has to guess which."""
    right = await house.get("/portfolio/accounts", key=KEY, headers={"Authorization": "Bearer something-else"})
    wrong = await house.get("/portfolio/accounts", key="x" * 40, headers={"Authorization": f"Bearer {KEY}"})

    assert (right.status, wrong.status) == (200, 401)


async def test_two_key_headers_that_differ_are_refused(house: House) -> None:
    """Programs on the way may pick different ones."""
    assert (await house.raw(SECOND_KEY_HEADER % b"another")).startswith(b"HTTP/1.1 401 ")
    assert (await house.raw(SECOND_KEY_HEADER % KEY.encode())).startswith(b"HTTP/1.1 200 ")


async def test_the_previous_key_opens_while_keys_rotate(open_house: Open) -> None:
    """No caller is locked out in between."""
    house = await open_house(IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS)

    assert (await house.get("/portfolio/accounts", key=PREVIOUS)).status == 200
    assert (await house.post(Placed().target, Placed().body, key=PREVIOUS)).status == 200


async def test_the_reading_key_reads_and_nothing_more(open_house: Open, sim: Simulator) -> None:
    """A dashboard's key moves no money."""
    house = await open_house(IBKR_BRIDGE_READONLY_KEY=READING)

    read = await house.get("/portfolio/accounts", key=READING)
    order = await house.post(Placed().target, Placed().body, key=READING)
    cancel = await house.request("DELETE", "/iserver/account/DU1234567/order/1", key=READING)
    whatif = await house.post(f"{Placed().target}/whatif", Placed().body, key=READING)

    assert (read.status, whatif.status) == (200, 200)
    assert [(reply.status, reply.code) for reply in (order, cancel)] == [(403, "insufficient_scope")] * 2
    assert not [call for call in sim.calls("/order") if call.method != "GET" and "whatif" not in call.target]


@pytest.mark.parametrize("route", ["pause", "resume", "reconnect", "logout"])
async def test_the_reading_key_does_not_touch_the_session(open_house: Open, route: str) -> None:
    """These are for the owner."""
    house = await open_house(IBKR_BRIDGE_READONLY_KEY=READING)

    assert (await house.post(f"/gateway/{route}", key=READING)).code == "insufficient_scope"
    assert (await house.get(f"/gateway/{route}")).code == "method_not_allowed"


@pytest.mark.parametrize("path", ["/iserver/auth/ssodh/init", "/iserver/reauthenticate"])
async def test_opening_the_session_needs_the_full_key(open_house: Open, path: str) -> None:
    """It may displace another session of the user."""
    house = await open_house(IBKR_BRIDGE_READONLY_KEY=READING)

    assert (await house.post(path, {}, key=READING)).code == "insufficient_scope"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:3000", "[::1]:8000", "127.0.0.1:9999"])
async def test_loopback_names_are_ours_with_any_port(house: House, host: str) -> None:
    """A tunnel changes the port a caller sees."""
    assert (await house.get("/health", key=None, headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "a b", ""],
)
async def test_other_names_are_refused(house: House, host: str) -> None:
    """A page whose name resolves to us (DNS rebinding) gets nothing, not even health."""
    reply = await house.get("/health", key=None, headers={"Host": host})

    assert (reply.status, reply.code) == (403, "host_not_allowed")


async def test_a_listed_name_is_ours(open_house: Open) -> None:
    """Containers call each other by name."""
    house = await open_house(IBKR_BRIDGE_ALLOWED_HOSTS="bridge,other:8000")

    answers = [
        (await house.get("/health", headers={"Host": name})).status for name in ("bridge:8000", "bridge", "other")
    ]

    assert answers == [200, 200, 403]


async def test_no_host_at_all_is_a_bad_request(house: House) -> None:
    """HTTP/1.1 asks for one."""
    reply = await house.raw(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")

    assert reply.split()[1] == b"400"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3001", "http://127.0.0.1:1"])
async def test_a_foreign_page_is_refused_and_told_nothing_by_cors(house: House, origin: str) -> None:
    """Even with the key: a browser has no business here."""
    reply = await house.get("/health", headers={"Origin": origin})

    assert (reply.status, reply.code) == (403, "origin_not_allowed")
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_a_preflight_of_a_page_is_refused(house: House) -> None:
    """No CORS, ever."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}

    assert (await house.request("OPTIONS", "/portfolio/accounts", key=None, headers=headers)).status == 403


async def test_our_own_origin_passes(house: House) -> None:
    """The bridge's own page may ask the bridge."""
    headers = {"Origin": f"http://127.0.0.1:{house.port}", "Host": f"127.0.0.1:{house.port}"}

    assert (await house.get("/health", headers=headers)).status == 200
