"""The programs that the bench compares and the upstreams they stand in front of, each with the command to start it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import ROOT, free_port, run_process, wait_until_answers

KEY = "a-key-that-opens-only-the-bench-0123456789"
KEY_HEADERS = {"X-Bridge-Key": KEY}
MEASURED_PATH = "/portfolio/accounts"
API = "/v1/api"
UPSTREAM = "the upstream itself"
PASSTHROUGH = "bare aiohttp pass-through"
FASTAPI = "FastAPI + httpx"
NGINX = "nginx"
BRIDGE = "the bridge"
CONSTANT = "aiohttp, a constant"


@dataclass(frozen=True)
class Workspace:
    """The scratch directory of one run, and the Python in which FastAPI and httpx are installed."""

    scratch: Path
    yardstick_python: Path

    def make_directory(self, name: str) -> Path:
        """Create a directory for one program, if it does not exist yet, and return its path."""
        path = self.scratch / name.replace(" ", "-")
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class RunningProgram:
    """A program that answers, ready to be measured; `url` is the page that the bench requests."""

    name: str
    url: str
    pid: int


Command = Callable[[Workspace, str, int], list[str]]
"""Makes the command line of a program from the workspace, the upstream's address and the port to listen on."""


def _passthrough(_: Workspace, __: str, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.passthrough", str(port)]


def _fastapi(workspace: Workspace, _: str, port: int) -> list[str]:
    return [str(workspace.yardstick_python), "-m", "uvicorn", "bench.fastapi_httpx:app", "--port", str(port)]


def _nginx(workspace: Workspace, upstream: str, port: int) -> list[str]:
    directory, address = workspace.make_directory(f"{NGINX}-{port}"), urlsplit(upstream)
    values = {"DIR": directory, "PORT": port, "KEY": KEY, "SCHEME": address.scheme, "UPSTREAM_PORT": address.port}
    text = (ROOT / "bench" / "nginx.conf").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    (directory / "nginx.conf").write_text(text)
    return [find_nginx() or NGINX, "-p", str(directory), "-c", "nginx.conf", "-e", "nginx-error.log"]


def _wide_bridge(_: Workspace, __: str, ___: int) -> list[str]:
    return [sys.executable, "-m", "bench.wide"]


def _bridge(_: Workspace, __: str, ___: int) -> list[str]:
    return [sys.executable, str(ROOT / "bridge.py")]


def _constant(_: Workspace, __: str, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.constant", str(port)]


YARDSTICKS: Mapping[str, Command] = {PASSTHROUGH: _passthrough, FASTAPI: _fastapi, NGINX: _nginx}
COMMANDS_FOR_FAST_UPSTREAM: Mapping[str, Command] = {**YARDSTICKS, BRIDGE: _wide_bridge}
COMMANDS_FOR_SIMULATED_GATEWAY: Mapping[str, Command] = {**YARDSTICKS, CONSTANT: _constant, BRIDGE: _bridge}


def find_nginx() -> str | None:
    """Return the path of nginx. Debian installs it in /usr/sbin, which is not in the PATH of most users."""
    return shutil.which(NGINX) or shutil.which(NGINX, path="/usr/sbin")


def build_environment(workspace: Workspace, upstream: str, port: int) -> dict[str, str]:
    """Return the environment variables of every program; each program reads those it knows."""
    return {
        "BENCH_UPSTREAM": upstream,
        "BENCH_KEY": KEY,
        "IBKR_BRIDGE_URL": f"http://127.0.0.1:{port}",
        "IBKR_BRIDGE_KEY": KEY,
        "IBKR_BRIDGE_LOG_FORMAT": "json",
        "IBKR_BRIDGE_STATE_DIR": str(workspace.make_directory(f"state-{port}")),
        "IBKR_GATEWAY_URL": upstream,
    }


@contextmanager
def run_program(name: str, command: Command, workspace: Workspace, upstream: str) -> Iterator[RunningProgram]:
    """Run one program in front of an upstream; the block begins when it answers."""
    port = free_port()
    log_file, env = workspace.scratch / f"{port}.log", build_environment(workspace, upstream, port)
    with run_process(command(workspace, upstream, port), env, log_file) as program:
        wait_until_answers(program, port, MEASURED_PATH, KEY_HEADERS)
        yield RunningProgram(name, f"http://127.0.0.1:{port}{MEASURED_PATH}", program.pid)


@contextmanager
def run_fast_upstream(workspace: Workspace) -> Iterator[str]:
    """Run the upstream that answers from memory (`canned.py`) and yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "bench.canned", str(port)]
    with run_process(command, {}, workspace.scratch / "canned.log") as program:
        wait_until_answers(program, port, API + MEASURED_PATH, {})
        yield f"http://127.0.0.1:{port}"


@contextmanager
def run_far_side(workspace: Workspace, record: Path) -> Iterator[str]:
    """Run the simulated Gateway with IBKR's limits and yield its address; it writes `record` when the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "bench.far_side", str(port), str(record)]
    with run_process(command, {}, workspace.scratch / "far.log"):
        yield f"https://127.0.0.1:{port}"


@contextmanager
def run_simulated_gateway(workspace: Workspace) -> Iterator[str]:
    """Run the simulated Gateway and yield its address.

    It may not listen yet: the program in front of it answers 200 only when the Gateway answers too.
    """
    port = free_port()
    command = [sys.executable, str(ROOT / "bridge.py"), "sim", "--gateway-port", str(port)]
    with run_process(command, {"XDG_RUNTIME_DIR": str(workspace.scratch)}, workspace.scratch / "sim.log"):
        yield f"https://127.0.0.1:{port}"
