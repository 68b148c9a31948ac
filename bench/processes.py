"""Run programs in processes of their own on free ports of loopback, wait until they answer, and read their memory."""

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
START_TIMEOUT_S = 20.0  # the slowest program takes two seconds
STOP_TIMEOUT_S = 15.0  # then the program is killed
POLL_INTERVAL_S = 0.005


class NotStarted(Exception):
    """A program ended early, or did not answer in time; the message names it."""


def free_port() -> int:
    """Return a port of loopback on which nobody listens.

    It lies below the range from which the system serves a bind to port 0, so no other program gets it by chance before
    the caller listens there. The system's random generator chooses it: two programs that seed `random` with the same
    number would otherwise choose the same port.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.SystemRandom().sample(range(low // 2, low), low // 2):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise NotStarted("no port is free")


@contextmanager
def run_process(command: Sequence[str], env: Mapping[str, str], log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; what it prints goes to `log_file`, as it goes to the journal under systemd.

    The program starts in the directory of that file. It gets no environment but `env` and two paths, so that the
    settings of the user do not influence the figures.
    """
    full_env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}
    with log_file.open("wb") as out:
        program = subprocess.Popen(command, cwd=log_file.parent, env=full_env, stdout=out, stderr=out)  # noqa: S603  # no shell
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def wait_until_answers(program: subprocess.Popen[bytes], port: int, target: str, headers: Mapping[str, str]) -> None:
    """Send the same GET over plain HTTP until its status is 200.

    Raises:
        NotStarted: the program ended, or did not answer in time.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while fetch_status(port, target, headers) != 200:
        if program.poll() is not None or time.monotonic() > deadline:
            raise NotStarted(f"{program.args!r} does not answer {target}")
        time.sleep(POLL_INTERVAL_S)


def fetch_status(port: int, target: str, headers: Mapping[str, str]) -> int:
    """Return the status of one response; 0 if there is no response."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", target, headers=dict(headers))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0


def rss_mib(pid: int, *, is_peak: bool = False) -> float:
    """Return the resident memory of a process in MiB, now or at its peak."""
    field = "VmHWM:" if is_peak else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
