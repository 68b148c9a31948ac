"""The client against a running bridge, as a Python program uses it."""

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
from tests.client.scripted_server import SleepClock, response, scripted_server
from tests.conftest import OpenHarness
from tests.harness import KEY, READONLY_KEY, Harness, Placement

ORDER = Placement()


async def run_with_client(harness: Harness, use: Callable[[BridgeClient], Any], key: str = KEY, **options: Any) -> Any:
    """Run `use` with a client of this bridge in another thread, and return its result."""

    def run() -> Any:
        clock = SleepClock()
        with BridgeClient(harness.bridge.url, key, clock=clock, sleep=clock.sleep, **options) as client:
            return use(client)

    return await asyncio.to_thread(run)


async def error_from(
    harness: Harness, use: Callable[[BridgeClient], Any], key: str = KEY, **options: Any
) -> ClientError:
    """The error that `use` raises."""
    with pytest.raises(ClientError) as caught:
        await run_with_client(harness, use, key, **options)
    return caught.value


async def test_reading_and_trading(harness: Harness, sim: Simulator) -> None:
    """Each method of the client once."""

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

    await run_with_client(harness, use)

    assert len(sim.calls(ORDER.target)) == 1


async def test_request_returns_the_response_as_it_came(harness: Harness) -> None:
    """With the facts from its headers."""
    reply = await run_with_client(
        harness, lambda client: client.request("get", "/portfolio/accounts", request_id="mine-1")
    )

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
        ("POST", ORDER.target, READONLY_KEY, AccessDenied, "insufficient_scope", 403),
        ("GET", "/nowhere", KEY, InvalidRequest, "not_bridged", 404),
        ("GET", "/trsrv/stocks", KEY, InvalidRequest, "not_bridged", 404),
        ("DELETE", "/gateway/status", KEY, InvalidRequest, "method_not_allowed", 405),
        ("GET", "/portfolio/../x", KEY, InvalidRequest, "bad_path", 400),
    ],
)
async def test_a_refusal_is_a_typed_error(
    open_harness: OpenHarness, method: str, path: str, key: str, kind: type[ClientError], code: str, status: int
) -> None:
    """The class says who has to act, the code why, the hint what to do; the id finds it in the log."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    error = await error_from(harness, lambda client: client.request(method, path, request_id="mine-2"), key)

    assert type(error) is kind
    assert (error.code, error.status, error.request_id, error.retryable) == (code, status, "mine-2", False)
    assert error.hint
    assert error.hint in str(error)
    assert "mine-2" in str(error)


async def test_the_error_of_a_lost_session_says_when_to_retry(harness: Harness, sim: Simulator) -> None:
    """`retry_after` is at least a second."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    error = await error_from(harness, lambda client: client.get("/portfolio/accounts"), repeats=0)
    authenticated = await run_with_client(harness, BridgeClient.authenticated)

    assert isinstance(error, TemporarilyUnavailable)
    assert (error.code, error.status, error.retryable) == ("session_unavailable", 503, True)
    assert error.retry_after is not None
    assert error.retry_after >= 1
    assert "sign in" in error.hint
    assert authenticated is False


async def test_an_error_status_with_a_text_is_a_refusal(harness: Harness, sim: Simulator) -> None:
    """/readyz sends a text for people."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    error = await error_from(harness, lambda client: client.get("/readyz"))

    assert isinstance(error, TemporarilyUnavailable)
    assert (error.code, error.status) == ("not_ready", 503)
    assert error.detail.startswith("signed_out: nobody is signed in")


async def test_a_trading_pause_refuses_an_order(harness: Harness, sim: Simulator) -> None:
    """Nothing is sent to IBKR."""
    await run_with_client(harness, lambda client: client.post("/gateway/pause"))
    error = await error_from(harness, lambda client: client.post(ORDER.target, ORDER.body))

    assert isinstance(error, Refused)
    assert error.code == "trading_paused"
    assert not sim.calls(ORDER.target)


@pytest.mark.parametrize("fault", ["cut-before", "cut-in", "garble", "silence"])
@pytest.mark.unanswered
async def test_an_order_without_a_response_is_unknown_and_sent_once(
    harness: Harness, sim: Simulator, fault: str
) -> None:
    """The bridge says so; the class differs from that of a failed read."""
    sim.faults.add(fault, path=ORDER.target)

    error = await error_from(harness, lambda client: client.post(ORDER.target, ORDER.body))

    assert type(error) is OrderUnknown
    assert (error.code, error.status, error.retryable) == ("order_unknown", 502, False)
    assert not isinstance(error, NoResponse)
    assert error.order_id == error.headers["X-Bridge-Order"]
    assert len(sim.gateway_calls(ORDER.target)) == 1


@pytest.mark.unanswered
async def test_a_read_that_the_gateway_fails_is_repeated(harness: Harness, sim: Simulator) -> None:
    """The bridge says that it may be repeated, and when."""
    sim.faults.add("silence", path="/portfolio/accounts", times=1)

    accounts = await run_with_client(harness, lambda client: client.get("/portfolio/accounts"))

    assert accounts[0]["id"] == "DU1234567"
    assert len(sim.gateway_calls("/portfolio/accounts")) >= 2


@pytest.mark.unanswered
async def test_a_silent_gateway_is_a_gateway_error(harness: Harness, sim: Simulator) -> None:
    """It is raised if the client does not repeat."""
    sim.faults.add("silence", path="/portfolio/accounts", times=1)

    error = await error_from(harness, lambda client: client.get("/portfolio/accounts"), repeats=0)

    assert type(error) is GatewayError
    assert (error.code, error.status, error.retryable) == ("gateway_timeout", 504, True)


@pytest.mark.parametrize(
    ("status", "body"), [(400, '{"error":"no such thing"}'), (404, "<html>"), (500, ""), (302, ""), (404, "[1]")]
)
async def test_an_error_response_of_ibkr_comes_unchanged(
    harness: Harness, sim: Simulator, status: int, body: str
) -> None:
    """It has its own class, with status and body; the message quotes IBKR's error text."""
    sim.faults.add("status", path="/portfolio/accounts", status=status, body=body)

    error = await error_from(harness, lambda client: client.get("/portfolio/accounts"))

    assert type(error) is IbkrError
    assert (error.code, error.status, error.body.decode(), error.retryable) == ("ibkr_error", status, body, False)
    assert ("no such thing" in str(error)) is ("no such thing" in body)


async def test_a_large_response_comes_complete(harness: Harness, sim: Simulator) -> None:
    """Five megabytes."""
    sim.faults.add("big", path="/portfolio/accounts", size=5_000_000)

    reply = await run_with_client(harness, lambda client: client.request("GET", "/portfolio/accounts"))

    assert len(reply.body) >= 5_000_000


async def test_a_truncated_large_response_is_not_accepted(harness: Harness, sim: Simulator) -> None:
    """The read is repeated."""
    sim.faults.add("big", path="/portfolio/accounts", size=5_000_000, times=1)
    sim.faults.add("cut-in", path="/portfolio/accounts", times=1)

    reply = await run_with_client(harness, lambda client: client.request("GET", "/portfolio/accounts"))

    assert reply.json()
    assert len(sim.gateway_calls("/portfolio/accounts")) >= 2


async def test_it_may_be_shared_between_threads(harness: Harness) -> None:
    """Each thread gets its own response."""

    def use(client: BridgeClient) -> list[Any]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: client.request("GET", "/health", request_id=f"n-{n}").request_id, range(64)))

    assert await run_with_client(harness, use) == [f"n-{n}" for n in range(64)]


async def test_reads_share_a_connection(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """A change opens a new one, since an idle one may be closing at that moment."""
    caplog.set_level("DEBUG", "urllib3")

    def use(client: BridgeClient) -> list[int]:
        client.get("/health")
        client.get("/portfolio/accounts")
        reads = caplog.text.count("Starting new HTTP connection")
        client.post(ORDER.target, ORDER.body)
        client.get("/iserver/accounts")
        return [reads, caplog.text.count("Starting new HTTP connection")]

    assert await run_with_client(harness, use) == [1, 2]


UNUSUAL_TARGET = "/iserver/secdef/search?symbol='A|B'{};[C]^`<D>\"&a=b+c%20%c3%A9%25"


async def test_a_path_reaches_ibkr_byte_for_byte(harness: Harness, sim: Simulator) -> None:
    """The bridge accepts what the client sends, and passes it on."""
    error = await error_from(harness, lambda client: client.get(UNUSUAL_TARGET))
    with pytest.raises(ValueError, match="longer than"):
        await run_with_client(harness, lambda client: client.get("/portfolio/" + "x" * 4000))

    assert "No symbol found" in error.detail
    assert [call.target for call in sim.calls("/secdef/search")] == [f"/v1/api{UNUSUAL_TARGET}"]


@pytest.mark.parametrize("status", [200, 201, 203, 204, 205, 206, 304, 400, 503])
@pytest.mark.parametrize("body", ["", "[1]", "x" * 300_000])
async def test_the_bridge_declares_the_length_of_each_response(
    harness: Harness, sim: Simulator, status: int, body: str
) -> None:
    """The client accepts no other: small responses, large ones, and those that may have no body."""
    sim.faults.add("status", path="/portfolio/accounts", status=status, body=body)

    def use(client: BridgeClient) -> tuple[int | None, bytes]:
        try:
            reply = client.request("GET", "/portfolio/accounts")
        except IbkrError as exc:
            return exc.status, exc.body
        return reply.status, reply.body

    assert await run_with_client(harness, use) == (status, b"" if status in (204, 304) else body.encode())


async def test_a_reused_connection_has_the_deadline_of_its_new_call(harness: Harness) -> None:
    """Not that of the call before."""
    clock = SleepClock()

    def use() -> Any:
        with BridgeClient(harness.bridge.url, KEY, clock=clock, sleep=clock.sleep, repeats=0) as client:
            client.get("/health")
            clock.now += 10_000
            return client.get("/health")

    assert (await asyncio.to_thread(use))["status"] == "ok"


async def test_a_response_to_head_has_no_body(harness: Harness) -> None:
    """Open routes and reads accept HEAD; the refusal of the others has no body either."""
    reply = await run_with_client(harness, lambda client: client.request("HEAD", "/health"))
    read = await run_with_client(harness, lambda client: client.request("HEAD", "/portfolio/accounts"))
    error = await error_from(harness, lambda client: client.request("HEAD", "/gateway/status"))

    assert (reply.status, reply.body) == (read.status, read.body) == (200, b"")
    assert (type(error), error.status, error.code) == (BridgeRefused, 405, "refused")
    assert error.detail == "the bridge answered 405"


def test_health_returns_the_body_while_the_bridge_shuts_down() -> None:
    """A 503 of `/health` is no error."""
    shutting_down = response("503 Service Unavailable", b'{"status":"stopping","bridge":"draining"}')
    with scripted_server(shutting_down) as server, BridgeClient(server.url, KEY) as client:
        assert client.health() == {"status": "stopping", "bridge": "draining"}


@pytest.mark.parametrize("body", [b"[]", b"null", b'"ok"', b""])
def test_a_status_must_be_an_object(body: bytes) -> None:
    """A program that expects an object must not get a list."""
    with scripted_server(response("200 OK", body)) as server, BridgeClient(server.url, KEY) as client:
        for method in (client.health, client.status, client.authenticated):
            with pytest.raises(NoResponse):
                method()


def test_every_refusal_of_the_bridge_has_its_class() -> None:
    """The table is built from the error tree; `order_unknown` alone has the class `OrderUnknown`."""
    leaves = {leaf.code for leaf in errors.error_classes()}

    assert set(FAMILY_BY_CODE) == leaves
    assert [code for code, kind in FAMILY_BY_CODE.items() if kind is OrderUnknown] == ["order_unknown"]
    assert {kind.__name__ for kind in FAMILY_BY_CODE.values()} == {
        *(root.__name__ for root in errors.BridgeError.__subclasses__()),
        "OrderUnknown",
    }


def test_an_unknown_code_is_a_refusal() -> None:
    """The bridge may be newer than its client."""
    newer = response("418 Teapot", b'{"code":"brewing","detail":"tea","hint":"wait"}')
    with (
        scripted_server(newer) as server,
        BridgeClient(server.url, KEY) as client,
        pytest.raises(BridgeRefused) as caught,
    ):
        client.get("/portfolio/accounts")

    assert (type(caught.value), caught.value.code, caught.value.hint) == (BridgeRefused, "brewing", "wait")


def test_all_error_classes_are_exported() -> None:
    """An `except` may name any of them."""
    error_classes = [kind for kind in vars(public).values() if isinstance(kind, type) and issubclass(kind, ClientError)]

    assert {kind.__name__ for kind in error_classes} <= set(public.__all__)
    assert {kind.__name__ for kind in FAMILY_BY_CODE.values()} <= set(public.__all__)


# -- settings


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A function that writes the `.env` of the working directory; the environment has no settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "KEY", "READONLY_KEY", "MAX_WAIT", "ALLOW_REMOTE"):
        monkeypatch.delenv(f"IBKR_BRIDGE_{name}", raising=False)

    def write(*lines: str) -> Path:
        path = tmp_path / ".env"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def key_sent(**options: Any) -> str:
    """The key that a client sends with the current settings."""
    with scripted_server(response("200 OK", b"{}")) as server:
        with BridgeClient(server.url, **options) as client:
            client.get("/health")
        (head,) = server.requests
    return head.partition(b"X-Bridge-Key: ")[2].partition(b"\r\n")[0].decode()


def test_two_lines_are_enough(at: Callable[..., Path]) -> None:
    """An app's `.env` has these two."""
    at("IBKR_BRIDGE_URL=http://127.0.0.1:8123", f"IBKR_BRIDGE_KEY={KEY}")

    with BridgeClient() as client:
        assert client.url == "http://127.0.0.1:8123"
        assert repr(client) == "<BridgeClient http://127.0.0.1:8123>"


def test_errors_in_settings_of_the_daemon_do_not_matter(at: Callable[..., Path]) -> None:
    """The file may belong to an app that has its own settings, or be incomplete."""
    wrong = ("IBKR_TRADING_MODE=real", "IBKR_GATEWAY_URL=nonsense", "IBKR_BRIDGE_KYE=x", "IBKR_GATEWAY_TIMEOUT=soon")
    at("IBKR_BRIDGE_URL=http://127.0.0.1:8123", "this is not a setting", *wrong, f"IBKR_BRIDGE_KEY={KEY}")

    with BridgeClient() as client:
        assert client.url == "http://127.0.0.1:8123"


def test_the_key_is_searched_in_the_daemons_order(
    at: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Argument, environment, `.env`, secret file; the full key before the read-only one."""
    (tmp_path / "key").write_text(f"{'f' * 40}\n")
    at("IBKR_BRIDGE_KEY=", f"IBKR_BRIDGE_READONLY_KEY={READONLY_KEY}")
    assert key_sent() == READONLY_KEY
    at(f"IBKR_BRIDGE_KEY_FILE={tmp_path / 'key'}", f"IBKR_BRIDGE_READONLY_KEY={READONLY_KEY}")
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
def test_a_wrong_address_or_key_is_reported(at: Callable[..., Path], lines: tuple[str, ...], names: list[str]) -> None:
    """With the daemon's messages, all at once, and without the key."""
    at(*lines)

    with pytest.raises(SettingsError) as caught:
        BridgeClient()

    assert [problem.name for problem in caught.value.problems] == names
    assert "canary" not in str(caught.value)


def test_a_key_leaves_this_machine_only_if_a_setting_allows_it(at: Callable[..., Path]) -> None:
    """It would travel unencrypted."""
    at("IBKR_BRIDGE_URL=http://192.0.2.7:8000", f"IBKR_BRIDGE_KEY={KEY}", "IBKR_BRIDGE_ALLOW_REMOTE=yes")

    with BridgeClient() as client:
        assert client.url == "http://192.0.2.7:8000"
