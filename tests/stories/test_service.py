"""The bridge as a service: restarts without a failed call, keys that are reloaded, a Gateway behind a Unix socket."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from ibkr_bridge import events
from ibkr_bridge.server import connection
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import KEY, TEST_TIMEOUT_S
from tests.process import Daemon, daemon

NEW_KEY = "the-key-after-this-one-0123456789abcdef"
UNIT = Path(__file__).resolve().parents[2] / "deploy/systemd/ibkr-bridge.service"
HEAD_DELAY_S = 0.2  # between connecting and sending the request


def open_listening_socket() -> socket.socket:
    """A socket as systemd opens it."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    return sock


class Callers:
    """Callers that send requests until they are stopped, each request on a new connection.

    Args:
        url: the address of the bridge.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: list[int] = []
        self._is_stopped = False

    async def run_loop(self) -> None:
        """Send requests until `stop`; several tasks may do so."""
        headers = {"X-Bridge-Key": KEY, "Connection": "close", "X-Bridge-Wait": "10"}
        async with aiohttp.ClientSession(headers=headers) as client:
            while not self._is_stopped:
                for path in ("/health", "/portfolio/accounts"):
                    async with client.get(self.url + path) as response:
                        await response.read()
                        self.statuses.append(response.status)

    async def wait_for_responses(self, count: int) -> None:
        """Wait until so many more responses have come."""
        total = len(self.statuses) + count
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while len(self.statuses) < total:
                await asyncio.sleep(0)

    def stop(self) -> None:
        """Send no more requests."""
        self._is_stopped = True


async def test_a_restart_behind_systemds_socket_fails_no_call(sim: MarketStage, tmp_path: Path) -> None:
    """New connections wait in the socket between two processes; calls in flight are answered."""
    with open_listening_socket() as sock:
        callers = Callers(f"http://127.0.0.1:{sock.getsockname()[1]}")
        async with daemon(sim.url, tmp_path, handover_from=sock) as first:
            tasks = [asyncio.create_task(callers.run_loop()) for _ in range(4)]
            await callers.wait_for_responses(40)
            first.signal(signal.SIGTERM)
            status = await first.wait_until_ended()
        async with daemon(sim.url, tmp_path, handover_from=sock):
            await callers.wait_for_responses(40)
            callers.stop()
            await asyncio.gather(*tasks)

    assert status == 0
    assert set(callers.statuses) == {200}


async def test_a_call_in_flight_when_the_process_changes_is_answered(sim: MarketStage, tmp_path: Path) -> None:
    """A persistent connection gets one more response, which says that the connection is closed after it."""
    with open_listening_socket() as sock:
        async with daemon(sim.url, tmp_path, handover_from=sock) as running:
            sim.faults.add("delay", path="/portfolio/accounts", seconds=0.5, times=1)
            in_flight = asyncio.create_task(running.get("/portfolio/accounts"))
            async with asyncio.timeout(TEST_TIMEOUT_S):
                while json.loads((await running.get("/gateway/status"))[1])["slots"]["taken"] < 1:
                    pass
            running.signal(signal.SIGTERM)
            await running.wait_for_event("bridge.stopping")
            async with running.client.get(running.url + "/health") as response:
                last = response.status, response.headers.get("Connection")
            status, _ = await in_flight
            exit_status = await running.wait_until_ended()

    assert (status, last, exit_status) == (200, (200, "close"), 0)


@pytest.mark.parametrize(
    ("env", "problem"),
    [({"IBKR_BRIDGE_URL": "http://127.0.0.1:1"}, "ListenStream="), ({"LISTEN_FDS": "2"}, "one ListenStream=")],
)
async def test_a_socket_that_is_not_the_one_of_the_settings_is_refused(
    tmp_path: Path, env: dict[str, str], problem: str
) -> None:
    """If two settings name different ports, the error names both settings."""
    with open_listening_socket() as sock, pytest.raises(json.JSONDecodeError) as caught:
        async with daemon("https://127.0.0.1:1", tmp_path, handover_from=sock, **env):  # type: ignore[arg-type]  # strings, all of them
            pytest.fail("it listens")

    assert problem in caught.value.doc


# -- keys that are reloaded


class SettingsDirectory:
    """The directory of settings that `systemctl reload` passes to the bridge."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        (path / "env.began").write_text(f"IBKR_BRIDGE_KEY={KEY}\n")

    def write(self, text: str) -> None:
        """Write the settings file."""
        (self.path / "env").write_text(text)


async def reload(running: Daemon, event: str) -> dict[str, object]:
    """Reload the settings and return the log line of the event."""
    running.signal(signal.SIGHUP)
    return await running.wait_for_event(event)


async def test_a_key_is_changed_without_a_restart(sim: MarketStage, tmp_path: Path) -> None:
    """First both keys are valid, then the new one only. The log level changes too, and no key is logged."""
    directory = SettingsDirectory(tmp_path / "reload")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(directory.path)) as running:
        directory.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\nIBKR_BRIDGE_KEY_PREVIOUS={KEY}\n")
        first = await reload(running, "bridge.reloaded")
        both = [(await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (KEY, NEW_KEY)]
        directory.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\nIBKR_BRIDGE_LOG_LEVEL=warning\n")
        running.signal(signal.SIGHUP)
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while (await running.get("/portfolio/accounts"))[0] != 401:
                pass
        new = (await running.get("/portfolio/accounts", **{"X-Bridge-Key": NEW_KEY}))[0]
        running.signal(signal.SIGTERM)
        await running.wait_until_ended()

    assert first["keys"] == "<KeyRing full, previous>"
    assert (both, new) == ([200, 200], 200)
    assert "bridge.stopping" not in [line["event"] for line in running.lines]
    assert NEW_KEY not in json.dumps(running.lines)


async def test_the_lines_of_requests_are_switched_off_without_a_restart(sim: MarketStage, tmp_path: Path) -> None:
    """An app that sends a hundred reads a second fills the journal; its errors are still written."""
    directory = SettingsDirectory(tmp_path / "reload")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(directory.path)) as running:
        await running.get("/portfolio/accounts")
        await running.wait_for_event("request")
        directory.write(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_BRIDGE_ACCESS_LOG=errors\n")
        await reload(running, "bridge.reloaded")
        before = len(running.lines)
        await running.get("/portfolio/accounts")
        await running.get("/no/such/path")
        running.signal(signal.SIGTERM)
        await running.wait_until_ended()

    assert [line["status"] for line in running.lines[before:] if line["event"] == "request"] == [404]


async def test_a_key_passed_as_a_credential_is_reloaded(sim: MarketStage, tmp_path: Path) -> None:
    """systemd itself loads `LoadCredential=` at the start only."""
    directory = SettingsDirectory(tmp_path / "reload")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(directory.path)) as running:
        (directory.path / "IBKR_BRIDGE_KEY").write_text(NEW_KEY + "\n")
        await reload(running, "bridge.reloaded")

        statuses = [(await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (KEY, NEW_KEY)]

    assert statuses == [401, 200]


async def test_settings_that_cannot_be_used_change_nothing(sim: MarketStage, tmp_path: Path) -> None:
    """The log names the wrong setting, but not its value."""
    directory = SettingsDirectory(tmp_path / "reload")
    directory.write("IBKR_BRIDGE_KEY=short-and-secret\n")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(directory.path)) as running:
        line = await reload(running, "bridge.reload_refused")

        status, _ = await running.get("/portfolio/accounts")

    assert status == 200
    assert "IBKR_BRIDGE_KEY" in str(line["problems"])
    assert "short-and-secret" not in json.dumps(running.lines)


async def test_a_key_that_is_in_no_settings_file_stays(sim: MarketStage, tmp_path: Path) -> None:
    """It came, for example, from a drop-in of the unit; so a settings file without it does not remove it."""
    directory = SettingsDirectory(tmp_path / "reload")
    directory.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\n")
    other = NEW_KEY[::-1]
    async with daemon(
        sim.url, tmp_path, RELOAD_DIRECTORY=str(directory.path), IBKR_BRIDGE_READONLY_KEY=other
    ) as running:
        await reload(running, "bridge.reloaded")

        statuses = [(await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (NEW_KEY, other)]

    assert statuses == [200, 200]


@pytest.mark.parametrize(
    ("previous_key", "expected"), [(f"IBKR_BRIDGE_KEY_PREVIOUS={KEY}\n", 200), ("", 401)], ids=["kept", "removed"]
)
async def test_a_reload_disturbs_no_call_in_flight_whose_key_is_kept(
    sim: MarketStage, tmp_path: Path, previous_key: str, expected: int
) -> None:
    """A key that is removed opens nothing any more: its read in flight brings nothing."""
    directory = SettingsDirectory(tmp_path / "reload")
    directory.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\n{previous_key}")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(directory.path)) as running:
        sim.faults.add("delay", path="/portfolio/accounts", seconds=0.5, times=1)
        in_flight = asyncio.create_task(running.get("/portfolio/accounts"))
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while json.loads((await running.get("/gateway/status"))[1])["slots"]["taken"] < 1:
                pass
        await reload(running, "bridge.reloaded")

        status, _ = await in_flight

    assert status == expected


@pytest.mark.parametrize("is_service", [True, False])
async def test_a_setting_that_a_reload_does_not_apply_is_named(
    sim: MarketStage, tmp_path: Path, is_service: bool
) -> None:
    """In the log, in the status and by the command that prints it."""
    directory = SettingsDirectory(tmp_path / "reload")
    where = str(directory.path) if is_service else ""
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=where) as running:
        text = f"IBKR_BRIDGE_KEY={KEY}\nIBKR_READ_ONLY=yes\nIBKR_ALLOWED_ACCOUNTS=DU77777\n"
        directory.write(text)
        (tmp_path / ".env").write_text("" if is_service else text)
        line = await reload(running, "bridge.restart_needed")
        status = json.loads((await running.get("/gateway/status"))[1])

    assert line["settings"] == "IBKR_READ_ONLY, IBKR_ALLOWED_ACCOUNTS"
    assert status["restart_needed"] == ["IBKR_READ_ONLY", "IBKR_ALLOWED_ACCOUNTS"]
    assert status["read_only"] is False


async def test_without_systemd_the_dotenv_file_is_reloaded(sim: MarketStage, tmp_path: Path) -> None:
    """SIGHUP reloads it; the environment still has priority over the file."""
    (tmp_path / ".env").write_text(f"IBKR_BRIDGE_READONLY_KEY={NEW_KEY}\n")
    async with daemon(sim.url, tmp_path) as running:
        other = NEW_KEY[::-1]
        (tmp_path / ".env").write_text(f"IBKR_BRIDGE_READONLY_KEY={other}\n")
        await reload(running, "bridge.reloaded")

        statuses = [
            (await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (NEW_KEY, other, KEY)
        ]

    assert statuses == [401, 200, 200]


# -- a Gateway behind a Unix socket


async def test_a_gateway_is_reached_through_a_unix_socket(
    open_harness: OpenHarness, sim: Simulator, tmp_path: Path
) -> None:
    """A bridge without a network reaches the Gateway through a proxy; TLS ends at the Gateway."""
    port = int(sim.url.rpartition(":")[2])

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gateway_reader, gateway_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy_bytes(reader, gateway_writer), copy_bytes(gateway_reader, writer))

    path = tmp_path / "gateway.sock"
    async with await asyncio.start_unix_server(forward, path):
        harness = await open_harness(gateway="https://127.0.0.1:1", IBKR_GATEWAY_SOCKET=str(path))
        reply = await harness.get("/portfolio/accounts")
        await harness.wait_for_events(events.FeedUp)
        await harness.finish()

    assert (reply.status, harness.bridge.profile.keeper.session.state) == (200, SessionState.READY)


async def copy_bytes(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy bytes until one side ends."""
    try:
        while chunk := await source.read(65536):
            target.write(chunk)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()


async def test_many_profiles_need_no_more_threads_than_the_unit_allows(sim: MarketStage, tmp_path: Path) -> None:
    """Each journal is written on a thread; systemd refuses a thread too many, and then no order could be sent."""
    rows = [f'[profile.user{number}]\ngateway_url = "https://127.0.0.1:{number + 1}"' for number in range(40)]
    profiles = tmp_path / "profiles.toml"
    profiles.write_text("\n".join(rows))
    (limit,) = re.findall(r"^TasksMax=(\d+)$", UNIT.read_text(), re.MULTILINE)

    async with daemon(sim.url, tmp_path, IBKR_BRIDGE_PROFILES=str(profiles)) as bridge:
        threads = list(Path(f"/proc/{bridge.process.pid}/task").iterdir())
        journals = list(tmp_path.glob("user*.orders.db"))

    assert len(journals) == 40
    assert len(threads) <= int(limit) / 2


async def test_a_connection_that_was_accepted_is_served_although_its_request_comes_late(
    open_harness: OpenHarness,
) -> None:
    """A busy caller needs a moment between connecting and sending, in which the bridge may be told to stop."""
    harness = await open_harness()
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    await harness.get("/health")  # by now that connection has been accepted too

    ending = asyncio.create_task(harness.finish())
    await asyncio.sleep(HEAD_DELAY_S)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    response = await reader.read()
    writer.close()

    assert response.startswith(b"HTTP/1.1 200 OK")
    assert await ending == 0


async def test_a_connection_without_a_request_does_not_delay_the_end(
    open_harness: OpenHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some clients open a connection in advance."""
    monkeypatch.setattr(connection, "PENDING_HEADS_TIMEOUT_S", HEAD_DELAY_S)
    harness = await open_harness()
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    await harness.get("/health")

    unfinished = await asyncio.wait_for(harness.finish(), connection.HEAD_TIMEOUT_S)
    writer.close()

    assert unfinished == 0
