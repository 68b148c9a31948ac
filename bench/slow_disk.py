"""`python -m bench.slow_disk`, which `make bench-slow-disk` runs: measure what a slow disk does beside orders.

One bridge, whose journal takes two seconds for each commit (`orders_slow_disk.py`), runs in front of the simulated
Gateway. One client requests /health all the time and one reads a stream of quotes: first without orders, then while
orders are placed one after the other. The exit status is 1 if /health takes too long.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.about import describe_machine, print_progress
from bench.orders_cost import TICKET, WARM_UP_REQUESTS, p50, p99
from bench.orders_plan import ACCOUNT
from bench.orders_slow_disk import COMMIT_S
from bench.processes import NotStarted
from bench.programs import KEY_HEADERS, Workspace, run_program, run_simulated_gateway
from bench.report import table

PHASE_S = 12.0
HEALTH_INTERVAL_S = 0.005
LIMIT_MS = 50.0
"""The limit for the p99 of /health while orders wait for the disk."""
QUOTES = f"/stream/quotes?conids={TICKET['conid']}&fields=31,84,86"
WITHOUT_ORDERS, WITH_ORDERS = "without orders", f"with orders, {COMMIT_S:g} s for each commit"


@dataclass
class PhaseFigures:
    """The milliseconds measured in one phase."""

    health_ms: list[float] = field(default_factory=list)
    stream_gaps_ms: list[float] = field(default_factory=list)
    """Between two lines of the stream."""
    orders_ms: list[float] = field(default_factory=list)


def main() -> int:
    """Measure and print; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-slow-disk-") as scratch:
        workspace = Workspace(Path(scratch), Path(sys.executable))
        (workspace.scratch / ".env").touch(mode=0o600)  # without it the bridge would read the one of the checkout
        try:
            phases = measure_phases(workspace)
        except NotStarted as exc:
            print(f"The bench ended early: {exc}", file=sys.stderr)
            return 1
    rows = (_phase_row(name, figures) for name, figures in phases.items())
    print("\n\n".join((table(("", ""), describe_machine()), table(COLUMNS, rows))))
    return 0 if p99(phases[WITH_ORDERS].health_ms) <= LIMIT_MS else 1


def measure_phases(workspace: Workspace) -> dict[str, PhaseFigures]:
    """Measure both phases, one after the other."""
    with run_simulated_gateway(workspace) as upstream:
        command = [sys.executable, "-m", "bench.orders_slow_disk"]
        with run_program("slow disk", lambda *_: command, workspace, upstream) as program:
            address = program.url.removeprefix("http://").partition("/")[0]
            print_progress(WITHOUT_ORDERS)
            without_orders = _measure_phase(address, [])
            print_progress(WITH_ORDERS)
            return {WITHOUT_ORDERS: without_orders, WITH_ORDERS: _measure_phase(address, [_place_order])}


Client = Callable[[str, PhaseFigures], None]


def _measure_phase(address: str, more_clients: list[Client]) -> PhaseFigures:
    figures, stop = PhaseFigures(), threading.Event()
    clients = [_read_quotes, *more_clients]
    with _run_in_threads(clients, address, figures, stop), closing(_connect(address)) as connection:
        for _ in range(WARM_UP_REQUESTS):
            _measure_request(connection, "GET", "/health")
        deadline = time.monotonic() + PHASE_S
        while time.monotonic() < deadline:
            figures.health_ms.append(_measure_request(connection, "GET", "/health"))
            time.sleep(HEALTH_INTERVAL_S)
    return figures


@contextmanager
def _run_in_threads(
    clients: list[Client], address: str, figures: PhaseFigures, stop: threading.Event
) -> Iterator[None]:
    def run_loop(client: Client) -> None:
        while not stop.is_set():
            client(address, figures)

    threads = [threading.Thread(target=run_loop, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(4 * COMMIT_S)


def _place_order(address: str, figures: PhaseFigures) -> None:
    with closing(_connect(address)) as connection:
        body = json.dumps({"orders": [TICKET]})
        figures.orders_ms.append(_measure_request(connection, "POST", f"/iserver/account/{ACCOUNT}/orders", body))


def _read_quotes(address: str, figures: PhaseFigures) -> None:
    """Read the stream for two seconds."""
    with closing(_connect(address)) as connection:
        connection.request("GET", QUOTES, headers=KEY_HEADERS)
        response = connection.getresponse()
        began = previous = time.monotonic()
        while previous < began + COMMIT_S and response.readline():
            now = time.monotonic()
            figures.stream_gaps_ms.append((now - previous) * 1000)
            previous = now


def _connect(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address, timeout=30)


def _measure_request(
    connection: http.client.HTTPConnection, method: str, target: str, body: str | None = None
) -> float:
    """Return the milliseconds that a request took.

    Raises:
        NotStarted: the status is not 200.
    """
    began = time.perf_counter()
    connection.request(method, target, body, {**KEY_HEADERS, "Content-Type": "application/json"})
    response = connection.getresponse()
    response_body = response.read()
    if response.status != 200:
        raise NotStarted(f"{target} answered {response.status} {response_body[:200]!r}")
    return (time.perf_counter() - began) * 1000


COLUMNS = "", "requests of /health", "p50", "p99", "max", "max gap in the stream", "orders", "p50 of an order"


def _phase_row(name: str, figures: PhaseFigures) -> tuple[str, ...]:
    health_ms, orders_ms = figures.health_ms, figures.orders_ms
    return (
        name,
        f"{len(health_ms):,}",
        *(f"{ms:.1f} ms" for ms in (p50(health_ms), p99(health_ms), max(health_ms))),
        f"{max(figures.stream_gaps_ms, default=0.0):.0f} ms",
        f"{len(orders_ms)}",
        f"{p50(orders_ms):.0f} ms" if orders_ms else "–",
    )


if __name__ == "__main__":
    sys.exit(main())
