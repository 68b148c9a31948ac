"""Programs in processes of their own, on free ports of loopback: started, waited for, measured, ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STARTS_WITHIN = 20.0  # seconds; the slowest takes two
ENDS_WITHIN = 15.0  # seconds, then it is killed
LOOK_EVERY = 0.005  # seconds


class NotStarted(Exception):
    """A program ended early, or did not answer in time; what it said is told."""


def free_port() -> int:
    """A port of loopback that nobody listens on, and that nobody is given who asks for any port.

    Whoever is given one takes its time to listen there. The system's own generator draws it: two programs that seed
    `random` alike would draw the same one.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.SystemRandom().sample(range(low // 2, low), low // 2):
        with socket.socket() as door, contextlib.suppress(OSError):
            door.bind(("127.0.0.1", port))
            return port
    raise NotStarted("no port is free")


@contextmanager
def process(command: Sequence[str], env: Mapping[str, str], said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program at work; what it prints goes to a file, as under systemd it goes to the journal.

    It starts beside that file with an environment of its own, so that nobody's settings get into the figures.
    """
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}
    with said.open("wb") as out:
        started = subprocess.Popen(command, cwd=said.parent, env=clean, stdout=out, stderr=out)  # noqa: S603  # no shell
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def until_answers(started: subprocess.Popen[bytes], port: int, target: str, headers: Mapping[str, str]) -> None:
    """Ask over plain HTTP until the answer is 200.

    Raises:
        NotStarted: it ended, or time is up.
    """
    until = time.monotonic() + STARTS_WITHIN
    while status(port, target, headers) != 200:
        if started.poll() is not None or time.monotonic() > until:
            raise NotStarted(f"{started.args!r} does not answer {target}")
        time.sleep(LOOK_EVERY)


def status(port: int, target: str, headers: Mapping[str, str]) -> int:
    """The status of one call's answer; 0 where there is none."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", target, headers=dict(headers))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0


def rss_mib(pid: int, *, most: bool = False) -> float:
    """Resident memory, MiB; `most`: the most it ever was."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:" if most else "VmRSS:")) / 1024
