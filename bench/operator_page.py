"""`python -m bench.operator_page`, which `make bench-operator` runs: what the surfaces for the operator cost.

Each request is counted for `/metrics` and for the page, also while nobody looks. That cost is measured by itself and
compared with the time that a request takes under full load. Then an idle bridge is watched, and one with an open page.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench import wrk
from bench.about import describe_machine, print_progress
from bench.programs import (
    BRIDGE,
    COMMANDS_FOR_SIMULATED_GATEWAY,
    KEY_HEADERS,
    RunningProgram,
    Workspace,
    run_program,
    run_simulated_gateway,
)
from bench.report import Target, table, target_row
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.events import RequestServed
from ibkr_bridge.observe.request_counts import RequestCounts
from ibkr_bridge.server.recent_requests import RecentRequests
from ibkr_bridge.server.request_samples import RequestSamples
from ibkr_bridge.server.request_target import read_target

CLIENTS, LOAD_S = 20, 3.0
REPEATS, ROUNDS = 20_000, 7
METRICS_READS = 100
SETTLE_S = 5.0  # until what the start has begun has ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save. Returns 0, also if a target is not met."""
    parser = argparse.ArgumentParser(
        prog="make bench-operator", description="Measure what the operator's surfaces cost."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a bridge is watched (default: 60)")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("operator_page.md"))
    args = parser.parse_args(arguments)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-bench-") as scratch:
        (Path(scratch) / ".env").touch(mode=0o600)
        targets = tuple(measure(Workspace(Path(scratch), Path(sys.executable)), args.seconds))
    text = "\n\n".join(
        (
            "# What the surfaces for the operator cost",
            "Written by `make bench-operator`.",
            table(("", ""), machine),
            table(("target", "limit", "measured", "met"), map(target_row, targets)),
        )
    )
    print(text)
    args.results.write_text(text + "\n")
    return 0


def measure(workspace: Workspace, seconds: float) -> Iterator[Target]:
    """All figures, one after the other."""
    print_progress("counting requests")
    counting_us = measure_counting_us()
    command = COMMANDS_FOR_SIMULATED_GATEWAY[BRIDGE]
    with run_simulated_gateway(workspace) as upstream, run_program(BRIDGE, command, workspace, upstream) as bridge:
        time.sleep(SETTLE_S)
        print_progress("watching an idle bridge")
        idle = watch(bridge.pid, seconds)
        print_progress("watching a bridge with an open page")
        with open_page(bridge):
            looked_at = watch(bridge.pid, seconds / 2)
        print_progress("loading it")
        load = wrk.run_load(bridge.url, KEY_HEADERS, clients=CLIENTS, seconds=LOAD_S)
        metrics_ms = statistics.median(read_ms(bridge, "/metrics") for _ in range(METRICS_READS))
    yield Target("counting, % of the time of a cached request at full load", 1.0, counting_us * load.per_second / 1e4)
    yield Target("GET /metrics, p50, ms", 5.0, metrics_ms)
    yield Target("idle: processor time, % of a core", 0.3, idle[0])
    yield Target("idle: wake-ups a second", 5.0, idle[1])
    yield Target("with one open page: processor time, % of a core", 5.0, looked_at[0])


def measure_counting_us() -> float:
    """Microseconds for each request: the median of some rounds."""
    clock = SystemClock()
    counts, samples, recent = RequestCounts(), RequestSamples(clock), RecentRequests(clock)
    target = read_target("/portfolio/accounts")
    served = RequestServed("id", "full", "GET", "/portfolio/accounts", 200, 0.3, "cache", profile="main")

    def count() -> None:
        counts.on_event(served)
        samples.on_event(served)
        recent.add(served, target, None, (b"", b""))

    return statistics.median(_time_us(count) for _ in range(ROUNDS))


def _time_us(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return (time.perf_counter() - began) / REPEATS * 1e6


def watch(pid: int, seconds: float) -> tuple[float, float]:
    """Percent of a core, and wake-ups a second, of a process with all its threads."""
    before, began = _usage(pid), time.monotonic()
    time.sleep(seconds)
    after, lasted = _usage(pid), time.monotonic() - began
    return 100 * (after[0] - before[0]) / lasted, (after[1] - before[1]) / lasted


def _usage(pid: int) -> tuple[float, int]:
    """Seconds of processor time, and how often a thread began to wait (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    switches = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        line = next(each for each in status.read_text().splitlines() if each.startswith("voluntary_ctxt_switches"))
        switches += int(line.split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), switches


def read_ms(bridge: RunningProgram, path: str) -> float:
    """Milliseconds of one GET."""
    connection = http.client.HTTPConnection(str(urlsplit(bridge.url).netloc), timeout=10)
    began = time.perf_counter()
    connection.request("GET", path, headers=KEY_HEADERS)
    response = connection.getresponse()
    response.read()
    took = (time.perf_counter() - began) * 1000
    connection.close()
    if response.status != 200:
        raise wrk.InvalidMeasurement(f"{path} was answered {response.status}")
    return took


@contextmanager
def open_page(bridge: RunningProgram) -> Iterator[None]:
    """Hold a page open, and read what it is sent."""
    address = str(urlsplit(bridge.url).netloc)
    token = _post(address, "/auth/token", {"audience": "page"}, KEY_HEADERS)["token"]
    connection = http.client.HTTPConnection(address)
    connection.request("POST", "/page/session", headers={"Authorization": f"Bearer {token}"})
    entered = connection.getresponse()
    entered.read()
    cookie = str(entered.headers["Set-Cookie"]).partition(";")[0]
    connection.request("GET", "/page/events", headers={"Cookie": cookie})
    response = connection.getresponse()
    if response.status != 200:
        raise wrk.InvalidMeasurement(f"the page was answered {response.status}")
    reader = threading.Thread(target=_read_all, args=(response,), daemon=True)
    reader.start()
    yield
    connection.close()


def _read_all(response: http.client.HTTPResponse) -> None:
    try:
        while response.readline():
            pass
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return  # the page was closed


def _post(address: str, path: str, body: object, headers: dict[str, str]) -> dict[str, str]:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("POST", path, json.dumps(body), {**headers, "Content-Type": "application/json"})
    answer: dict[str, str] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


if __name__ == "__main__":
    sys.exit(main())
