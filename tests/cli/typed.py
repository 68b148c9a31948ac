"""Commands as a person types them: real processes in an environment of their own, far from this machine's settings."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests

from bench import processes
from ibkr_bridge.sim.control import send

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = ROOT / "bridge.py"
KEY = "a-key-for-the-command-line-tests-0123456789"
PATIENCE = 20.0  # seconds of real time after which a test gives up; nothing waits so long unless it is broken
GOOD, BAD, UNTOLD, MISCONFIGURED = 0, 1, 74, 78


class Place:
    """A working directory and an environment.

    It has an empty `.env`, so that the one of this checkout is not read, and a folder of its own for control sockets.
    """

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        (home / "run").mkdir(exist_ok=True)
        self.dotenv = home / ".env"
        if not self.dotenv.exists():
            self.write_dotenv("")
        self.env = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(home),  # a demo that is killed leaves its folder behind
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "IBKR_BRIDGE_STATE_DIR": str(home / "state"),
            **env,
        }

    def write_dotenv(self, text: str) -> None:
        """Put settings into the `.env` file, readable by its owner alone."""
        self.dotenv.write_text(text)
        self.dotenv.chmod(0o600)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with the Python of these tests."""
        return self.run_by(sys.executable, BRIDGE, *words, **env)

    def both(self, *words: str, **env: str) -> Iterator[subprocess.CompletedProcess[str]]:
        """Run a command twice at the same time: for people, and with `--json` for programs."""
        with ThreadPoolExecutor(2) as pool:
            return pool.map(lambda more: self.run(*words, *more, **env), ((), ("--json",)))

    def run_by(self, python: str, bridge: Path, /, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with a Python and a copy of the program of the test's own."""
        return subprocess.run(
            [python, str(bridge), *words],
            cwd=self.home,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def running(self, *words: str, **env: str) -> Iterator[Running]:
        """Start a command that goes on until it is told to stop."""
        command = [sys.executable, str(BRIDGE), *words]
        process = subprocess.Popen(
            command,
            cwd=self.home,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started = Running(process)
        try:
            yield started
        finally:
            started.close()


class Running:
    """A command at work; what it says is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        streams = (process.stdout, process.stderr)
        self._readers = [threading.Thread(target=self._read, args=(stream,)) for stream in streams if stream]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterable[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until it has said something; what was said before counts too."""
        while (found := re.search(pattern, self.said)) is None:
            line = self._lines.get(timeout=PATIENCE)
            assert line is not None or self.process.poll() is None, f"it ended and said only:\n{self.said}"
            self.said += line or ""
        return found

    def all_said(self) -> str:
        """Everything it has said so far."""
        while not self._lines.empty():
            self.said += self._lines.get() or ""
        return self.said

    def told(self, signum: signal.Signals) -> int:
        """Send a signal; its exit status."""
        self.process.send_signal(signum)
        return self.ended()

    def ended(self) -> int:
        """Wait until it ends; its exit status. All it said stands in `said`."""
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        self.all_said()
        return status

    def close(self) -> None:
        """End it, however it stands."""
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Demo:
    """A running demo: where its halves listen, its key, and the strings of its simulator."""

    def __init__(self, place: Place, running: Running, key: str | None = None) -> None:
        self.running = running
        self._controls = place.home / "run"
        self.gateway = running.until(r"simulated Gateway listens at (https://127\.0\.0\.1:\d+):")[1]
        self.url = running.until(r"The bridge listens at (http://127\.0\.0\.1:\d+)\.")[1]
        running.until("trigger --help")
        shown = re.search(r"export IBKR_BRIDGE_KEY=(\S+)", running.said)
        self.key = key or (shown[1] if shown else "")

    def pull(self, method: str, target: str, **told: object) -> None:
        """Tell its simulator something, as `trigger` does, and let its bridge look at once."""
        self._tell(method, target, **told)
        self.post("/gateway/reconnect")

    def _tell(self, method: str, target: str, **told: object) -> None:
        assert self.running.process.poll() is None, f"the demo has ended:\n{self.running.all_said()}"
        (control,) = self._controls.rglob(f"{self.port}.sock")
        asyncio.run(send(control, method, target, told or None))

    def mend(self) -> None:
        """All is well again, and somebody is signed in."""
        self._tell("DELETE", "/faults")
        if not self.get("/gateway/status").json()["authenticated"]:
            self.pull("POST", "/login")

    @property
    def port(self) -> str:
        """The bridge's."""
        return self.url.rpartition(":")[2]

    def get(self, path: str) -> requests.Response:
        """Ask its bridge."""
        return self._ask("GET", path)

    def post(self, path: str) -> requests.Response:
        """Tell its bridge; after `/gateway/reconnect` the session has been looked at anew."""
        return self._ask("POST", path)

    def _ask(self, method: str, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between us and loopback
            return session.request(method, f"{self.url}{path}", headers={"X-Bridge-Key": self.key}, timeout=PATIENCE)

    @property
    def env(self) -> dict[str, str]:
        """What commands need to find it."""
        return {"IBKR_BRIDGE_URL": self.url, "IBKR_BRIDGE_KEY": self.key, "IBKR_GATEWAY_URL": self.gateway}


def free_port() -> int:
    """A port nobody listens on, nor is given meanwhile."""
    return processes.free_port()


@contextmanager
def demo(place: Place, *words: str, **env: str) -> Iterator[Demo]:
    """A demo on free ports."""
    told = {"IBKR_BRIDGE_URL": "http://127.0.0.1:0", **env}
    with place.running("demo", *words, **told) as running:
        yield Demo(place, running, told.get("IBKR_BRIDGE_KEY"))
