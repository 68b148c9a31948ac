"""The load: Debian's wrk, which one core of its own never fills, and how its report is read."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
SPOILED = re.compile(r"Non-2xx or 3xx responses: \d+|Socket errors: .*")


class Spoiled(Exception):
    """Some of the answers were not good, so the figures mean nothing."""


@dataclass(frozen=True)
class Load:
    """What one load met."""

    p50_ms: float
    p99_ms: float
    per_second: float
    requests: int


def load(url: str, headers: Mapping[str, str], *, clients: int, seconds: float) -> Load:
    """Ask as fast as `clients` connections can.

    Raises:
        Spoiled: an answer was missing or not good.
    """
    command = _command(url, headers, clients, seconds)
    return read(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  # no shell


@dataclass(frozen=True)
class Served:
    """What one of a crowd's groups met."""

    good: int
    refused: int
    """Answers of another status than 200."""


def crowd(urls: Sequence[str], headers: Mapping[str, str], *, clients: int, seconds: float) -> list[Served]:
    """Ask for several things at once, the clients spread over them, each with one.

    Raises:
        Spoiled: an answer was missing.
    """
    each = [clients // len(urls) + (number < clients % len(urls)) for number in range(len(urls))]
    commands = [_command(url, headers, count, seconds) for url, count in zip(urls, each, strict=True)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]  # noqa: S603
    return [served(process.communicate()[0]) for process in running]


def served(report: str) -> Served:
    """Good and refused answers of wrk's report.

    Raises:
        Spoiled: some were missing.
    """
    if missing := re.search(r"Socket errors: .*", report):
        raise Spoiled(missing.group())
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    bad = int(refused[1]) if refused else 0
    return Served(int(_number(REQUESTS, report)) - bad, bad)


def _command(url: str, headers: Mapping[str, str], clients: int, seconds: float) -> list[str]:
    told = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return ["wrk", "--latency", "--timeout", "15s", "-t1", f"-c{clients}", f"-d{seconds:g}s", *told, url]


def read(report: str) -> Load:
    """The figures of wrk's report.

    Raises:
        Spoiled: it tells of answers that were missing or not good, or of none at all.
    """
    spoiled = SPOILED.search(report)
    if spoiled:
        raise Spoiled(spoiled.group())
    try:
        return Load(_ms("50%", report), _ms("99%", report), _number(PER_SECOND, report), int(_number(REQUESTS, report)))
    except TypeError as exc:
        raise Spoiled(f"wrk reported no figures:\n{report}") from exc


PER_SECOND = r"Requests/sec:\s+([\d.]+)"
REQUESTS = r"(\d+) requests in"


def _number(pattern: str, report: str) -> float:
    return float(re.search(pattern, report)[1])  # type: ignore[index]  # `read` tells what is missing


def _ms(share: str, report: str) -> float:
    found = re.search(rf"^\s+{share}\s+([\d.]+)(us|ms|s)$", report, re.MULTILINE)
    return float(found[1]) * UNIT_MS[found[2]]  # type: ignore[index]  # likewise
