"""The client in front of a running bridge: what a Python program sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge import client as public
from ibkr_bridge import errors
from ibkr_bridge.client import (
    AccessDenied,
    BridgeClient,
    BridgeRefused,
    ClientError,
    GatewayError,
    IbkrError,
    InvalidRequest,
    NoResponse,
    OrderUnknown,
    Refused,
    Reply,
    SettingsError,
    TemporarilyUnavailable,
)
from ibkr_bridge.client.responses import FAMILY_BY_CODE
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.client.stranger import HandClock, answer, stranger
from tests.conftest import Open
from tests.harness import KEY, READING, Harness, Placed

ORDER = Placed()


async def used(harness: Harness, use: Callable[[BridgeClient], Any], key: str = KEY, **how: Any) -> Any:
    """What a program gets out of a client of this bridge, in a thread of its own."""

    def run() -> Any:
        clock = HandClock()
        with BridgeClient(harness.bridge.url, key, clock=clock, sleep=clock.sleep, **how) as client:
            return use(client)

    return await asyncio.to_thread(run)


async def refused(harness: Harness, use: Callable[[BridgeClient], Any], key: str = KEY, **how: Any) -> ClientError:
    """The error it gets."""
    with pytest.raises(ClientError) as told:
        await used(harness, use, key, **how)
    return told.value


async def test_reading_and_trading(harness: Harness, sim: Simulator) -> None:
    """The whole surface once."""

    def use(client: BridgeClient) -> None:
        assert client.health() == {"status": "ok", "bridge": "running"}
        assert client.authenticated()
        assert client.status()["state"] == "ready"
        assert client.get("/portfolio/accounts")[0]["id"] == "DU1234567"
        assert client.get("/v1/api/iserver/secdef/search", {"symbol": "AAPL"})[0]["conid"] == "265598"
        (placed,) = client.post(ORDER.target, ORDER.body)
        cancelled = client.delete(f"/iserver/account/DU1234567/order/{placed['order_id']}")
        assert placed["order_status"] == "Submitted"
        assert "error" in cancelled or cancelled["msg"] == "Request was submitted"

    await used(harness, use)

    assert len(sim.calls(ORDER.target)) == 1


async def test_an_answer_as_it_came(harness: Harness) -> None:
    """With what its headers tell."""
    reply = await used(harness, lambda client: client.request("get", "/portfolio/accounts", request_id="mine-1"))

    assert isinstance(reply, Reply)
    assert (reply.status, reply.source, reply.request_id) == (200, "gateway", "mine-1")
    assert reply.headers["x-bridge-mode"] == "paper"
    assert reply.json()[0]["id"] == "DU1234567"
    assert reply.text.startswith("[")
    assert "DU1234567" not in repr(reply)


@pytest.mark.parametrize(
    ("method", "path", "key", "kind", "code", "status"),
    [
        ("GET", "/portfolio/accounts", KEY[::-1], AccessDenied, "invalid_key", 401),
        ("POST", ORDER.target, READING, AccessDenied, "insufficient_scope", 403),
        ("GET", "/nowhere", KEY, InvalidRequest, "not_bridged", 404),
        ("GET", "/trsrv/stocks", KEY, InvalidRequest, "not_bridged", 404),
        ("DELETE", "/gateway/status", KEY, InvalidRequest, "method_not_allowed", 405),
        ("GET", "/portfolio/../x", KEY, InvalidRequest, "bad_path", 400),
    ],
)
async def test_a_refusal_is_a_typed_error(
    open_harness: Open, method: str, path: str, key: str, kind: type[ClientError], code: str, status: int
) -> None:
    """Its class says whose turn it is, its code why, its hint what to do, its id where to look."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)

    told = await refused(harness, lambda client: client.request(method, path, request_id="mine-2"), key)

    assert type(told) is kind
    assert (told.code, told.status, told.request_id, told.retryable) == (code, status, "mine-2", False)
    assert told.hint
    assert told.hint in str(told)
    assert "mine-2" in str(told)


async def test_a_session_that_is_lost_says_when_to_ask_again(harness: Harness, sim: Simulator) -> None:
    """And a read asks again by itself, within its time."""
    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)

    told = await refused(harness, lambda client: client.get("/portfolio/accounts"), repeats=0)
    authenticated = await used(harness, BridgeClient.authenticated)

    assert isinstance(told, TemporarilyUnavailable)
    assert (told.code, told.status, told.retryable) == ("session_unavailable", 503, True)
    assert told.retry_after is not None
    assert told.retry_after >= 1
    assert "sign in" in told.hint
    assert authenticated is False


async def test_a_text_that_says_no_is_a_refusal_too(harness: Harness, sim: Simulator) -> None:
    """/readyz speaks to people."""
    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)

    told = await refused(harness, lambda client: client.get("/readyz"))

    assert isinstance(told, TemporarilyUnavailable)
    assert (told.code, told.status) == ("not_ready", 503)
    assert told.detail.startswith("signed_out: sign in")


async def test_the_guard_says_no(harness: Harness, sim: Simulator) -> None:
    """A person paused trading; nothing was sent."""
    await used(harness, lambda client: client.post("/gateway/pause"))
    told = await refused(harness, lambda client: client.post(ORDER.target, ORDER.body))

    assert isinstance(told, Refused)
    assert told.code == "trading_paused"
    assert not sim.calls(ORDER.target)


@pytest.mark.parametrize("fault", ["cut-before", "cut-in", "garble", "silence"])
async def test_an_order_without_an_answer_is_unknown_and_sent_once(
    harness: Harness, sim: Simulator, fault: str
) -> None:
    """By the bridge's word: its class is not the one of a read that failed."""
    sim.faults.add(fault, path=ORDER.target)

    told = await refused(harness, lambda client: client.post(ORDER.target, ORDER.body))

    assert type(told) is OrderUnknown
    assert (told.code, told.status, told.retryable) == ("order_unknown", 502, False)
    assert not isinstance(told, NoResponse)
    assert len(sim.gateway_calls(ORDER.target)) == 1


async def test_a_read_the_gateway_fails_is_asked_again(harness: Harness, sim: Simulator) -> None:
    """When the bridge says that it may be, and when."""
    sim.faults.add("silence", path="/portfolio/accounts", times=1)

    accounts = await used(harness, lambda client: client.get("/portfolio/accounts"))

    assert accounts[0]["id"] == "DU1234567"
    assert len(sim.gateway_calls("/portfolio/accounts")) >= 2


async def test_silence_is_trouble_of_the_gateway(harness: Harness, sim: Simulator) -> None:
    """Where nobody asks again it is told."""
    sim.faults.add("silence", path="/portfolio/accounts", times=1)

    told = await refused(harness, lambda client: client.get("/portfolio/accounts"), repeats=0)

    assert type(told) is GatewayError
    assert (told.code, told.status, told.retryable) == ("gateway_timeout", 504, True)


@pytest.mark.parametrize(
    ("status", "body"), [(400, '{"error":"no such thing"}'), (404, "<html>"), (500, ""), (302, ""), (404, "[1]")]
)
async def test_ibkrs_own_no_comes_unchanged(harness: Harness, sim: Simulator, status: int, body: str) -> None:
    """A class of its own, with status and body; IBKR's words stand in the message."""
    sim.faults.add("status", path="/portfolio/accounts", status=status, body=body)

    told = await refused(harness, lambda client: client.get("/portfolio/accounts"))

    assert type(told) is IbkrError
    assert (told.code, told.status, told.body.decode(), told.retryable) == ("ibkr_error", status, body, False)
    assert ("no such thing" in str(told)) is ("no such thing" in body)


async def test_a_large_answer_comes_whole(harness: Harness, sim: Simulator) -> None:
    """Five megabytes, as they come."""
    sim.faults.add("big", path="/portfolio/accounts", size=5_000_000)

    reply = await used(harness, lambda client: client.request("GET", "/portfolio/accounts"))

    assert len(reply.body) >= 5_000_000


async def test_a_large_answer_that_breaks_off_is_no_answer(harness: Harness, sim: Simulator) -> None:
    """Half of it is never taken for all; it is asked for again."""
    sim.faults.add("big", path="/portfolio/accounts", size=5_000_000, times=1)
    sim.faults.add("cut-in", path="/portfolio/accounts", times=1)

    reply = await used(harness, lambda client: client.request("GET", "/portfolio/accounts"))

    assert reply.json()
    assert len(sim.gateway_calls("/portfolio/accounts")) >= 2


async def test_it_may_be_shared_between_threads(harness: Harness) -> None:
    """Each gets its own answer."""

    def use(client: BridgeClient) -> list[Any]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: client.request("GET", "/health", request_id=f"n-{n}").request_id, range(64)))

    assert await used(harness, use) == [f"n-{n}" for n in range(64)]


async def test_reads_share_a_connection(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """A change has one of its own: a kept one may be closing at that very moment."""
    caplog.set_level("DEBUG", "urllib3")

    def use(client: BridgeClient) -> list[int]:
        client.get("/health")
        client.get("/portfolio/accounts")
        reads = caplog.text.count("Starting new HTTP connection")
        client.post(ORDER.target, ORDER.body)
        client.get("/iserver/accounts")
        return [reads, caplog.text.count("Starting new HTTP connection")]

    assert await used(harness, use) == [1, 2]


ODD = "/iserver/secdef/search?symbol='A|B'{};[C]^`<D>\"&a=b+c%20%c3%A9%25"


async def test_a_path_reaches_ibkr_byte_for_byte(harness: Harness, sim: Simulator) -> None:
    """The bridge takes what the client lets out, and passes it on."""
    told = await refused(harness, lambda client: client.get(ODD))
    with pytest.raises(ValueError, match="longer than"):
        await used(harness, lambda client: client.get("/portfolio/" + "x" * 4000))

    assert "No symbol found" in told.detail
    assert [call.target for call in sim.calls("/secdef/search")] == [f"/v1/api{ODD}"]


@pytest.mark.parametrize("status", [200, 201, 203, 204, 205, 206, 304, 400, 503])
@pytest.mark.parametrize("body", ["", "[1]", "x" * 300_000])
async def test_the_bridge_says_where_each_of_its_answers_ends(
    harness: Harness, sim: Simulator, status: int, body: str
) -> None:
    """The client takes no other; small answers and large ones, and those that may have no body."""
    sim.faults.add("status", path="/portfolio/accounts", status=status, body=body)

    def use(client: BridgeClient) -> tuple[int | None, bytes]:
        try:
            reply = client.request("GET", "/portfolio/accounts")
        except IbkrError as no:
            return no.status, no.body
        return reply.status, reply.body

    assert await used(harness, use) == (status, b"" if status in (204, 304) else body.encode())


async def test_a_kept_connection_has_the_time_of_the_next_call(harness: Harness) -> None:
    """Not what was left of the last one's."""
    clock = HandClock()

    def use() -> Any:
        with BridgeClient(harness.bridge.url, KEY, clock=clock, sleep=clock.sleep, repeats=0) as client:
            client.get("/health")
            clock.now += 10_000
            return client.get("/health")

    assert (await asyncio.to_thread(use))["status"] == "ok"


async def test_head_is_answered_without_a_body(harness: Harness) -> None:
    """Where the bridge takes it; elsewhere its refusal has no words either."""
    reply = await used(harness, lambda client: client.request("HEAD", "/health"))
    told = await refused(harness, lambda client: client.request("HEAD", "/portfolio/accounts"))

    assert (reply.status, reply.body) == (200, b"")
    assert (type(told), told.status, told.code) == (BridgeRefused, 405, "refused")
    assert told.detail == "the bridge answered 405"


def test_a_bridge_that_ends_still_tells_its_health() -> None:
    """503 is an answer here, not an error."""
    ending = answer("503 Service Unavailable", b'{"status":"stopping","bridge":"draining"}')
    with stranger(ending) as there, BridgeClient(there.url, KEY) as client:
        assert client.health() == {"status": "stopping", "bridge": "draining"}


@pytest.mark.parametrize("body", [b"[]", b"null", b'"ok"', b""])
def test_a_status_that_is_no_object_is_none(body: bytes) -> None:
    """A program must not fall over a list where it expects an object."""
    with stranger(answer("200 OK", body)) as there, BridgeClient(there.url, KEY) as client:
        for ask in (client.health, client.status, client.authenticated):
            with pytest.raises(NoResponse):
                ask()


def test_every_refusal_of_the_bridge_has_its_class() -> None:
    """A new code finds its family by itself, and only an unknown order is an unknown order."""
    leaves = {leaf.code for leaf in errors.error_classes()}

    assert set(FAMILY_BY_CODE) == leaves
    assert [code for code, kind in FAMILY_BY_CODE.items() if kind is OrderUnknown] == ["order_unknown"]
    assert {kind.__name__ for kind in FAMILY_BY_CODE.values()} == {
        *(root.__name__ for root in errors.BridgeError.__subclasses__()),
        "OrderUnknown",
    }


def test_a_code_nobody_knows_yet_is_still_a_refusal() -> None:
    """The bridge may be newer than its client."""
    newer = answer("418 Teapot", b'{"code":"brewing","detail":"tea","hint":"wait"}')
    with stranger(newer) as there, BridgeClient(there.url, KEY) as client, pytest.raises(BridgeRefused) as told:
        client.get("/portfolio/accounts")

    assert (type(told.value), told.value.code, told.value.hint) == (BridgeRefused, "brewing", "wait")


def test_what_a_program_needs_is_found_in_one_place() -> None:
    """Every class an `except` may name."""
    families = [kind for kind in vars(public).values() if isinstance(kind, type) and issubclass(kind, ClientError)]

    assert {kind.__name__ for kind in families} <= set(public.__all__)
    assert {kind.__name__ for kind in FAMILY_BY_CODE.values()} <= set(public.__all__)


# -- the settings it reads


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A working directory with a `.env`, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "KEY", "READONLY_KEY", "MAX_WAIT", "ALLOW_REMOTE"):
        monkeypatch.delenv(f"IBKR_BRIDGE_{name}", raising=False)

    def write(*lines: str) -> Path:
        path = tmp_path / ".env"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def key_sent(**how: Any) -> str:
    """The key a client of these settings sends."""
    with stranger(answer("200 OK", b"{}")) as there:
        with BridgeClient(there.url, **how) as client:
            client.get("/health")
        (head,) = there.asked
    return head.partition(b"X-Bridge-Key: ")[2].partition(b"\r\n")[0].decode()


def test_two_lines_are_enough(at: Callable[..., Path]) -> None:
    """As an app's `.env` has them."""
    at("IBKR_BRIDGE_URL=http://127.0.0.1:8123", f"IBKR_BRIDGE_KEY={KEY}")

    with BridgeClient() as client:
        assert client.url == "http://127.0.0.1:8123"
        assert repr(client) == "<BridgeClient http://127.0.0.1:8123>"


def test_what_is_wrong_for_the_daemon_alone_does_not_matter(at: Callable[..., Path]) -> None:
    """The file may belong to an app with settings of its own, or be half finished."""
    wrong = ("IBKR_TRADING_MODE=real", "IBKR_GATEWAY_URL=nonsense", "IBKR_BRIDGE_KYE=x", "IBKR_GATEWAY_TIMEOUT=soon")
    at("IBKR_BRIDGE_URL=http://127.0.0.1:8123", "this is no line", *wrong, f"IBKR_BRIDGE_KEY={KEY}")

    with BridgeClient() as client:
        assert client.url == "http://127.0.0.1:8123"


def test_the_keys_are_looked_for_in_the_daemons_order(
    at: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given, environment, `.env`, file; the full one before the read-only one."""
    (tmp_path / "key").write_text(f"{'f' * 40}\n")
    at("IBKR_BRIDGE_KEY=", f"IBKR_BRIDGE_READONLY_KEY={READING}")
    assert key_sent() == READING
    at(f"IBKR_BRIDGE_KEY_FILE={tmp_path / 'key'}", f"IBKR_BRIDGE_READONLY_KEY={READING}")
    assert key_sent() == "f" * 40
    at(f"IBKR_BRIDGE_KEY={'d' * 40}")
    assert key_sent() == "d" * 40
    monkeypatch.setenv("IBKR_BRIDGE_KEY", "e" * 40)
    assert key_sent() == "e" * 40
    assert key_sent(key=KEY) == KEY


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ((), ["IBKR_BRIDGE_KEY"]),
        (("IBKR_BRIDGE_KEY=short-canary",), ["IBKR_BRIDGE_KEY"]),
        (("IBKR_BRIDGE_KEY=REPLACE_WITH_REAL_KEY",), ["IBKR_BRIDGE_KEY"]),
        (("IBKR_BRIDGE_KEY_FILE=/nowhere/key",), ["IBKR_BRIDGE_KEY_FILE", "IBKR_BRIDGE_KEY"]),
        (("IBKR_BRIDGE_READONLY_KEY=short-canary",), ["IBKR_BRIDGE_READONLY_KEY"]),
        (("IBKR_BRIDGE_URL=ftp://x", f"IBKR_BRIDGE_KEY={KEY}"), ["IBKR_BRIDGE_URL"]),
        (("IBKR_BRIDGE_URL=http://192.0.2.7:8000", f"IBKR_BRIDGE_KEY={KEY}"), ["IBKR_BRIDGE_URL"]),
        (("IBKR_BRIDGE_URL=http://127.0.0.1:x", "IBKR_BRIDGE_KEY=short"), ["IBKR_BRIDGE_URL", "IBKR_BRIDGE_KEY"]),
    ],
)
def test_what_it_cannot_do_without_is_said(at: Callable[..., Path], lines: tuple[str, ...], names: list[str]) -> None:
    """In the daemon's words, all at once, and never a key."""
    at(*lines)

    with pytest.raises(SettingsError) as told:
        BridgeClient()

    assert [problem.name for problem in told.value.problems] == names
    assert "canary" not in str(told.value)


def test_a_key_leaves_this_machine_only_where_somebody_said_so(at: Callable[..., Path]) -> None:
    """It would travel in the clear."""
    at("IBKR_BRIDGE_URL=http://192.0.2.7:8000", f"IBKR_BRIDGE_KEY={KEY}", "IBKR_BRIDGE_ALLOW_REMOTE=yes")

    with BridgeClient() as client:
        assert client.url == "http://192.0.2.7:8000"
