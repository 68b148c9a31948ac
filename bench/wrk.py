"""The load: Debian's wrk, which one core of its own never fills, and how its report is read."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
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
    told = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "--latency", "-t1", f"-c{clients}", f"-d{seconds:g}s", *told, url]
    return read(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  # no shell


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
