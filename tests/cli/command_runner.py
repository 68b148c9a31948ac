"""Run the commands as a person does: real processes, in an environment that has none of this machine's settings."""

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
from tests.cli.command_server import CommandServer

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = ROOT / "bridge.py"
KEY = "a-key-for-the-command-line-tests-0123456789"
TIMEOUT_S = 20.0  # real time after which a test fails; only something broken takes so long
COMMAND_SERVER = CommandServer()
EXIT_OK, EXIT_FAILURE, EXIT_OUTPUT_FAILED, EXIT_MISCONFIGURED = 0, 1, 74, 78


class Place:
    """A working directory and an environment.

    It has an empty `.env`, so that the one of this checkout is not read, and its own folder for control sockets.
    """

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        (home / "run").mkdir(exist_ok=True)
        self.dotenv = home / ".env"
        if not self.dotenv.exists():
            self.write_dotenv("")
        self.env = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(home),  # the folder of a demo that is killed stays behind
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
        if any(name.startswith("PYTHON") for name in env):  # only a new Python reads these
            return self.run_by(sys.executable, BRIDGE, *words, **env)
        status, output, errors = COMMAND_SERVER.run(words, self.home, {**self.env, **env}, TIMEOUT_S)
        return subprocess.CompletedProcess(words, status, output, errors)

    def both(self, *words: str, **env: str) -> Iterator[subprocess.CompletedProcess[str]]:
        """Run a command twice at the same time: for people, and with `--json` for programs."""
        with ThreadPoolExecutor(2) as pool:
            return pool.map(lambda more: self.run(*words, *more, **env), ((), ("--json",)))

    def run_by(self, python: str, bridge: Path, /, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with the given Python and the given copy of `bridge.py`."""
        return subprocess.run(
            [python, str(bridge), *words],
            cwd=self.home,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    @contextmanager
    def running(self, *words: str, **env: str) -> Iterator[Running]:
        """Start a command that runs until a signal ends it."""
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
    """A running command; its output is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        streams = (process.stdout, process.stderr)
        self._readers = [threading.Thread(target=self._read, args=(stream,)) for stream in streams if stream]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterable[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the output matches; earlier output counts too."""
        while (match := re.search(pattern, self.output)) is None:
            line = self._lines.get(timeout=TIMEOUT_S)
            assert line is not None or self.process.poll() is None, f"it ended, and its output was only:\n{self.output}"
            self.output += line or ""
        return match

    def read_output(self) -> str:
        """All output so far."""
        while not self._lines.empty():
            self.output += self._lines.get() or ""
        return self.output

    def send_signal(self, signum: signal.Signals) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(signum)
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends and return the exit status. `output` is complete then."""
        status = self.process.wait(TIMEOUT_S)
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        self.read_output()
        return status

    def close(self) -> None:
        """End it, in whatever state it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Demo:
    """A running demo: its addresses, its key, and the control socket of its simulator."""

    def __init__(self, place: Place, running: Running, key: str | None = None) -> None:
        self.running = running
        self._controls = place.home / "run"
        self.gateway = running.wait_for(r"simulated Gateway listens at (https://127\.0\.0\.1:\d+):")[1]
        self.url = running.wait_for(r"The bridge listens at (http://127\.0\.0\.1:\d+)\.")[1]
        running.wait_for("trigger --help")
        match = re.search(r"export IBKR_BRIDGE_KEY=(\S+)", running.output)
        self.key = key or (match[1] if match else "")

    def control(self, method: str, target: str, **members: object) -> None:
        """Send its simulator a command, as `trigger` does, and make the bridge check the session at once."""
        self._send_command(method, target, **members)
        self.post("/gateway/reconnect")

    def _send_command(self, method: str, target: str, **members: object) -> None:
        assert self.running.process.poll() is None, f"the demo has ended:\n{self.running.read_output()}"
        (control,) = self._controls.rglob(f"{self.port}.sock")
        asyncio.run(send(control, method, target, members or None))

    def reset(self) -> None:
        """End all faults and sign in."""
        self._send_command("DELETE", "/faults")
        if not self.get("/gateway/status").json()["authenticated"]:
            self.control("POST", "/login")

    @property
    def port(self) -> str:
        """The port of its bridge."""
        return self.url.rpartition(":")[2]

    def get(self, path: str) -> requests.Response:
        """Send its bridge a GET."""
        return self._request("GET", path)

    def post(self, path: str, body: object = None) -> requests.Response:
        """Send its bridge a POST; after `/gateway/reconnect` the session has been checked again."""
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: object = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between us and loopback
            headers = {"X-Bridge-Key": self.key}
            return session.request(method, f"{self.url}{path}", headers=headers, json=body, timeout=TIMEOUT_S)

    @property
    def env(self) -> dict[str, str]:
        """The environment with which commands find it."""
        return {"IBKR_BRIDGE_URL": self.url, "IBKR_BRIDGE_KEY": self.key, "IBKR_GATEWAY_URL": self.gateway}


def free_port() -> int:
    """A port on which nobody listens. It is given to no other test."""
    return processes.free_port()


@contextmanager
def demo(place: Place, *words: str, **env: str) -> Iterator[Demo]:
    """A demo on free ports."""
    settings = {"IBKR_BRIDGE_URL": "http://127.0.0.1:0", **env}
    with place.running("demo", *words, **settings) as running:
        yield Demo(place, running, settings.get("IBKR_BRIDGE_KEY"))
