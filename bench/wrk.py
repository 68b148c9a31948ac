"""Make load with Debian's wrk, which needs less than one core for it, and read the report that wrk prints."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
FAILURES = re.compile(r"Non-2xx or 3xx responses: \d+|Socket errors: .*")
REQUESTS_PER_SECOND = r"Requests/sec:\s+([\d.]+)"
REQUESTS = r"(\d+) requests in"


class InvalidMeasurement(Exception):
    """Some requests got no response or another status than 2xx, so the figures mean nothing."""


@dataclass(frozen=True)
class Load:
    """The figures of one load."""

    p50_ms: float
    p99_ms: float
    per_second: float
    requests: int


def run_load(url: str, headers: Mapping[str, str], *, clients: int, seconds: float) -> Load:
    """Send requests over `clients` connections as fast as the program answers.

    Raises:
        InvalidMeasurement: a response was missing or had another status than 2xx.
    """
    command = _build_command(url, headers, clients, seconds)
    return parse_report(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  # no shell


@dataclass(frozen=True)
class ResponseCounts:
    """The responses to the clients that requested one of several URLs."""

    good: int
    refused: int
    """Responses with another status than 200."""


def run_mixed_load(
    urls: Sequence[str], headers: Mapping[str, str], *, clients: int, seconds: float
) -> list[ResponseCounts]:
    """Request several URLs at the same time; the clients are divided among them, and each requests one URL.

    Raises:
        InvalidMeasurement: a response was missing.
    """
    client_counts = [clients // len(urls) + (number < clients % len(urls)) for number in range(len(urls))]
    commands = [_build_command(url, headers, count, seconds) for url, count in zip(urls, client_counts, strict=True)]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]  # noqa: S603
    return [count_responses(program.communicate()[0]) for program in programs]


def count_responses(report: str) -> ResponseCounts:
    """Return the good and the refused responses in a report of wrk.

    Raises:
        InvalidMeasurement: a response was missing.
    """
    if socket_errors := re.search(r"Socket errors: .*", report):
        raise InvalidMeasurement(socket_errors.group())
    refused_line = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    refused = int(refused_line[1]) if refused_line else 0
    return ResponseCounts(int(_parse_number(REQUESTS, report)) - refused, refused)


def _build_command(url: str, headers: Mapping[str, str], clients: int, seconds: float) -> list[str]:
    header_options = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return ["wrk", "--latency", "--timeout", "15s", "-t1", f"-c{clients}", f"-d{seconds:g}s", *header_options, url]


def parse_report(report: str) -> Load:
    """Return the figures in a report of wrk.

    Raises:
        InvalidMeasurement: a response was missing or had another status than 2xx, or the report has no figures.
    """
    if failures := FAILURES.search(report):
        raise InvalidMeasurement(failures.group())
    try:
        per_second, requests = _parse_number(REQUESTS_PER_SECOND, report), int(_parse_number(REQUESTS, report))
        return Load(_parse_ms("50%", report), _parse_ms("99%", report), per_second, requests)
    except TypeError as exc:
        raise InvalidMeasurement(f"wrk reported no figures:\n{report}") from exc


def _parse_number(pattern: str, report: str) -> float:
    return float(re.search(pattern, report)[1])  # type: ignore[index]  # `parse_report` catches the TypeError


def _parse_ms(share: str, report: str) -> float:
    match = re.search(rf"^\s+{share}\s+([\d.]+)(us|ms|s)$", report, re.MULTILINE)
    return float(match[1]) * UNIT_MS[match[2]]  # type: ignore[index]  # `parse_report` catches the TypeError
