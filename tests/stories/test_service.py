"""Life as a service: restarts nobody notices, keys read again, a Gateway behind a Unix socket."""

from __future__ import annotations

import asyncio
import json
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
from tests.conftest import Open
from tests.harness import KEY, PATIENCE
from tests.process import Daemon, daemon

NEW_KEY = "the-key-after-this-one-0123456789abcdef"
SLOWLY = 0.2  # seconds a caller takes between connecting and asking


def listening() -> socket.socket:
    """A socket as systemd opens it."""
    opened = socket.socket()
    opened.bind(("127.0.0.1", 0))
    opened.listen(512)
    return opened


class Crowd:
    """Callers who ask again and again, each time on a connection of their own.

    Args:
        url: of the bridge.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[int] = []
        self._enough = False

    async def ask(self) -> None:
        """Until it is enough."""
        headers = {"X-Bridge-Key": KEY, "Connection": "close", "X-Bridge-Wait": "10"}
        async with aiohttp.ClientSession(headers=headers) as client:
            while not self._enough:
                for path in ("/health", "/portfolio/accounts"):
                    async with client.get(self.url + path) as reply:
                        await reply.read()
                        self.answers.append(reply.status)

    async def until_more(self, count: int) -> None:
        """Wait until so many more have been answered."""
        wanted = len(self.answers) + count
        async with asyncio.timeout(PATIENCE):
            while len(self.answers) < wanted:
                await asyncio.sleep(0)

    def end(self) -> None:
        """It is enough."""
        self._enough = True


async def test_a_restart_behind_systemds_socket_fails_no_call(sim: MarketStage, tmp_path: Path) -> None:
    """Who comes between two processes waits in the socket; who is inside is answered, and told to come anew."""
    with listening() as door:
        crowd = Crowd(f"http://127.0.0.1:{door.getsockname()[1]}")
        async with daemon(sim.url, tmp_path, heir_of=door) as first:
            callers = [asyncio.create_task(crowd.ask()) for _ in range(4)]
            await crowd.until_more(40)
            first.signal(signal.SIGTERM)
            status = await first.ended()
        async with daemon(sim.url, tmp_path, heir_of=door):
            await crowd.until_more(40)
            crowd.end()
            await asyncio.gather(*callers)

    assert status == 0
    assert set(crowd.answers) == {200}


async def test_who_is_inside_when_the_process_changes_is_answered(sim: MarketStage, tmp_path: Path) -> None:
    """On a kept connection too: one more answer, and a word that it was the last there."""
    with listening() as door:
        async with daemon(sim.url, tmp_path, heir_of=door) as running:
            sim.faults.add("delay", path="/portfolio/accounts", seconds=0.5, times=1)
            inside = asyncio.create_task(running.get("/portfolio/accounts"))
            async with asyncio.timeout(PATIENCE):
                while json.loads((await running.get("/gateway/status"))[1])["slots"]["taken"] < 1:
                    pass
            running.signal(signal.SIGTERM)
            await running.until("bridge.stopping")
            async with running.client.get(running.url + "/health") as kept:
                late = kept.status, kept.headers.get("Connection")
            answer = await inside
            status = await running.ended()

    assert (answer[0], late, status) == (200, (200, "close"), 0)


@pytest.mark.parametrize(
    ("env", "said"),
    [({"IBKR_BRIDGE_URL": "http://127.0.0.1:1"}, "ListenStream="), ({"LISTEN_FDS": "2"}, "one ListenStream=")],
)
async def test_a_socket_that_is_not_the_one_of_the_settings_is_refused(
    tmp_path: Path, env: dict[str, str], said: str
) -> None:
    """Two places that say different ports: the person is told which two."""
    with listening() as door, pytest.raises(json.JSONDecodeError) as caught:
        async with daemon("https://127.0.0.1:1", tmp_path, heir_of=door, **env):  # type: ignore[arg-type]  # strings, all of them
            pytest.fail("it listens")

    assert said in caught.value.doc


# -- keys read again


class Keys:
    """What `systemctl reload` hands over."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        (place / "env.began").write_text(f"IBKR_BRIDGE_KEY={KEY}\n")

    def write(self, text: str) -> None:
        """The settings file."""
        (self.place / "env").write_text(text)


async def reloaded(running: Daemon, event: str) -> dict[str, object]:
    """Have it read again, and what the log says of it."""
    running.signal(signal.SIGHUP)
    return await running.until(event)


async def test_a_key_is_changed_without_a_restart(sim: MarketStage, tmp_path: Path) -> None:
    """New and old at first, then the new one alone; the log level too, and no key in the log."""
    keys = Keys(tmp_path / "reload")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(keys.place)) as running:
        keys.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\nIBKR_BRIDGE_KEY_PREVIOUS={KEY}\n")
        first = await reloaded(running, "bridge.reloaded")
        both = [(await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (KEY, NEW_KEY)]
        keys.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\nIBKR_BRIDGE_LOG_LEVEL=warning\n")
        running.signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while (await running.get("/portfolio/accounts"))[0] != 401:
                pass
        new = (await running.get("/portfolio/accounts", **{"X-Bridge-Key": NEW_KEY}))[0]
        running.signal(signal.SIGTERM)
        await running.ended()

    assert first["keys"] == "<KeyRing full, previous>"
    assert (both, new) == ([200, 200], 200)
    assert "bridge.stopping" not in [line["event"] for line in running.lines]
    assert NEW_KEY not in json.dumps(running.lines)


async def test_a_key_handed_over_as_a_credential_is_read_again(sim: MarketStage, tmp_path: Path) -> None:
    """`LoadCredential=` is loaded at the start alone."""
    keys = Keys(tmp_path / "reload")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(keys.place)) as running:
        (keys.place / "IBKR_BRIDGE_KEY").write_text(NEW_KEY + "\n")
        await reloaded(running, "bridge.reloaded")

        found = [(await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (KEY, NEW_KEY)]

    assert found == [401, 200]


async def test_settings_that_cannot_be_used_change_nothing(sim: MarketStage, tmp_path: Path) -> None:
    """The log says what is wrong, and not with which words."""
    keys = Keys(tmp_path / "reload")
    keys.write("IBKR_BRIDGE_KEY=short-and-secret\n")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(keys.place)) as running:
        line = await reloaded(running, "bridge.reload_refused")

        status, _ = await running.get("/portfolio/accounts")

    assert status == 200
    assert "IBKR_BRIDGE_KEY" in str(line["problems"])
    assert "short-and-secret" not in json.dumps(running.lines)


async def test_a_key_that_came_another_way_stays(sim: MarketStage, tmp_path: Path) -> None:
    """From a drop-in of the unit, say: it stood in no settings file, so none takes it away."""
    keys = Keys(tmp_path / "reload")
    keys.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\n")
    other = NEW_KEY[::-1]
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(keys.place), IBKR_BRIDGE_READONLY_KEY=other) as running:
        await reloaded(running, "bridge.reloaded")

        found = [(await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (NEW_KEY, other)]

    assert found == [200, 200]


async def test_a_reload_disturbs_nobody_inside(sim: MarketStage, tmp_path: Path) -> None:
    """A call that is out when the key it came with is taken away still gets its answer."""
    keys = Keys(tmp_path / "reload")
    keys.write(f"IBKR_BRIDGE_KEY={NEW_KEY}\n")
    async with daemon(sim.url, tmp_path, RELOAD_DIRECTORY=str(keys.place)) as running:
        sim.faults.add("delay", path="/portfolio/accounts", seconds=0.5, times=1)
        inside = asyncio.create_task(running.get("/portfolio/accounts"))
        async with asyncio.timeout(PATIENCE):
            while json.loads((await running.get("/gateway/status"))[1])["slots"]["taken"] < 1:
                pass
        await reloaded(running, "bridge.reloaded")

        answer = await inside

    assert answer[0] == 200


async def test_without_systemd_the_dotenv_file_is_read_again(sim: MarketStage, tmp_path: Path) -> None:
    """SIGHUP, as daemons have it; what the environment says still goes first."""
    (tmp_path / ".env").write_text(f"IBKR_BRIDGE_READONLY_KEY={NEW_KEY}\n")
    async with daemon(sim.url, tmp_path) as running:
        other = NEW_KEY[::-1]
        (tmp_path / ".env").write_text(f"IBKR_BRIDGE_READONLY_KEY={other}\n")
        await reloaded(running, "bridge.reloaded")

        found = [
            (await running.get("/portfolio/accounts", **{"X-Bridge-Key": key}))[0] for key in (NEW_KEY, other, KEY)
        ]

    assert found == [401, 200, 200]


# -- a Gateway behind a Unix socket


async def test_a_gateway_is_reached_through_a_unix_socket(open_harness: Open, sim: Simulator, tmp_path: Path) -> None:
    """As a bridge without a network of its own has it: a proxy in front of the Gateway, TLS all the way."""
    port = int(sim.url.rpartition(":")[2])

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copied(reader, back), copied(there, writer))

    path = tmp_path / "gateway.sock"
    async with await asyncio.start_unix_server(pass_on, path):
        harness = await open_harness(gateway="https://127.0.0.1:1", IBKR_GATEWAY_SOCKET=str(path))
        reply = await harness.get("/portfolio/accounts")
        await harness.wait_for_events(events.FeedUp)
        await harness.finish()

    assert (reply.status, harness.bridge.profile.keeper.session.state) == (200, SessionState.READY)


async def copied(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    """Bytes from here to there until either ends."""
    try:
        while chunk := await source.read(65536):
            to.write(chunk)
            await to.drain()
    except ConnectionError:
        pass
    finally:
        to.close()


async def test_who_was_let_in_is_answered_however_slowly_they_speak(open_harness: Open) -> None:
    """Between connecting and asking a busy caller takes a moment, in which the bridge may be told to stop."""
    harness = await open_harness()
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    await harness.get("/health")  # by now that connection has been let in too

    ending = asyncio.create_task(harness.finish())
    await asyncio.sleep(SLOWLY)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert await ending == 0


async def test_who_says_nothing_holds_no_end_up(open_harness: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection opened in advance."""
    monkeypatch.setattr(connection, "PENDING_HEADS_TIMEOUT_S", SLOWLY)
    harness = await open_harness()
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    await harness.get("/health")

    unfinished = await asyncio.wait_for(harness.finish(), connection.HEAD_TIMEOUT_S)
    writer.close()

    assert unfinished == 0
