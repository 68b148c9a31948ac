"""What is compared: the upstreams, and the programs in front of them, each with the command that starts it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import ROOT, free_port, process, until_answers

KEY = "a-key-that-opens-only-the-bench-0123456789"
WITH_KEY = {"X-Bridge-Key": KEY}
ASKED = "/portfolio/accounts"
API = "/v1/api"
UPSTREAM = "the upstream itself"
PASSTHROUGH = "bare aiohttp pass-through"
FASTAPI = "FastAPI + httpx"
NGINX = "nginx"
BRIDGE = "the bridge"
CONSTANT = "aiohttp, a constant"


@dataclass(frozen=True)
class Place:
    """Where the bench runs: its scratch directory, and the Python that has the yardsticks' packages."""

    scratch: Path
    yardsticks: Path

    def made(self, name: str) -> Path:
        """A directory of its own for one program."""
        path = self.scratch / name.replace(" ", "-")
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Subject:
    """A running program, ready to be loaded."""

    name: str
    url: str
    pid: int


Command = Callable[[Place, str, int], list[str]]
"""How a program is started: the place, the upstream's address, the port it is to listen on."""


def _passthrough(_: Place, __: str, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.passthrough", str(port)]


def _fastapi(place: Place, _: str, port: int) -> list[str]:
    return [str(place.yardsticks), "-m", "uvicorn", "bench.fastapi_httpx:app", "--port", str(port)]


def _nginx(place: Place, upstream: str, port: int) -> list[str]:
    scratch, address = place.made(f"{NGINX}-{port}"), urlsplit(upstream)
    told = {"DIR": scratch, "PORT": port, "KEY": KEY, "SCHEME": address.scheme, "UPSTREAM_PORT": address.port}
    text = (ROOT / "bench" / "nginx.conf").read_text()
    for name, value in told.items():
        text = text.replace(f"@{name}@", str(value))
    (scratch / "nginx.conf").write_text(text)
    return [nginx() or NGINX, "-p", str(scratch), "-c", "nginx.conf", "-e", "nginx-error.log"]


def _wide_bridge(_: Place, __: str, ___: int) -> list[str]:
    return [sys.executable, "-m", "bench.wide"]


def _bridge(_: Place, __: str, ___: int) -> list[str]:
    return [sys.executable, str(ROOT / "bridge.py")]


def _constant(_: Place, __: str, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.constant", str(port)]


YARDSTICKS: Mapping[str, Command] = {PASSTHROUGH: _passthrough, FASTAPI: _fastapi, NGINX: _nginx}
AT_FAST_UPSTREAM: Mapping[str, Command] = {**YARDSTICKS, BRIDGE: _wide_bridge}
AT_SIMULATED_GATEWAY: Mapping[str, Command] = {**YARDSTICKS, CONSTANT: _constant, BRIDGE: _bridge}


def nginx() -> str | None:
    """Where Debian puts it; most people's PATH does not go there."""
    return shutil.which(NGINX) or shutil.which(NGINX, path="/usr/sbin")


def environment(place: Place, upstream: str, port: int) -> dict[str, str]:
    """What every program is told; each reads its own part."""
    return {
        "BENCH_UPSTREAM": upstream,
        "BENCH_KEY": KEY,
        "IBKR_BRIDGE_URL": f"http://127.0.0.1:{port}",
        "IBKR_BRIDGE_KEY": KEY,
        "IBKR_BRIDGE_LOG_FORMAT": "json",
        "IBKR_BRIDGE_STATE_DIR": str(place.made(f"state-{port}")),
        "IBKR_GATEWAY_URL": upstream,
    }


@contextmanager
def started(name: str, command: Command, place: Place, upstream: str) -> Iterator[Subject]:
    """One program in front of an upstream, once it answers."""
    port = free_port()
    said, env = place.scratch / f"{port}.log", environment(place, upstream, port)
    with process(command(place, upstream, port), env, said) as running:
        until_answers(running, port, ASKED, WITH_KEY)
        yield Subject(name, f"http://127.0.0.1:{port}{ASKED}", running.pid)


@contextmanager
def fast_upstream(place: Place) -> Iterator[str]:
    """The canned upstream; its address."""
    port = free_port()
    with process([sys.executable, "-m", "bench.canned", str(port)], {}, place.scratch / "canned.log") as running:
        until_answers(running, port, API + ASKED, {})
        yield f"http://127.0.0.1:{port}"


@contextmanager
def far_side(place: Place, book: Path) -> Iterator[str]:
    """The simulated Gateway with IBKR's limits; its address. Its book is there once it has ended."""
    port = free_port()
    command = [sys.executable, "-m", "bench.far_side", str(port), str(book)]
    with process(command, {}, place.scratch / "far.log"):
        yield f"https://127.0.0.1:{port}"


@contextmanager
def simulated_gateway(place: Place) -> Iterator[str]:
    """The simulated Gateway; its address. Who needs it waits for an answer of it anyway."""
    port = free_port()
    command = [sys.executable, str(ROOT / "bridge.py"), "sim", "--gateway-port", str(port)]
    with process(command, {"XDG_RUNTIME_DIR": str(place.scratch)}, place.scratch / "sim.log"):
        yield f"https://127.0.0.1:{port}"
