"""The greedy clients: fifty request what a dashboard shows, as fast as they can, while an order is placed each second.

The simulated Gateway applies IBKR's limits and records what reaches it, by its own clock. So the bench does not depend
on what the bridge says about the limits.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import wrk
from bench.counting import busiest
from bench.programs import BRIDGE, COMMANDS_FOR_SIMULATED_GATEWAY, KEY_HEADERS, Workspace, run_far_side, run_program
from ibkr_bridge.sim.market.pacing import GLOBAL, LIMITS

CLIENTS = 50
ACCOUNT = "DU1234567"
READS = (
    *("/portfolio/accounts", f"/portfolio/{ACCOUNT}/summary", f"/portfolio/{ACCOUNT}/ledger"),
    *("/iserver/account/orders", "/iserver/account/trades"),
    "/iserver/marketdata/snapshot?conids=265598,8314&fields=31,84,86",
)
ORDER = {"conid": 265598, "orderType": "MKT", "side": "BUY", "quantity": 1, "tif": "DAY"}
WAIT = re.compile(r"wait;dur=([\d.]+)")


@dataclass(frozen=True)
class WindowCount:
    """One of IBKR's limits, and the most calls that reached the Gateway in any window of its length."""

    limit: str
    calls: int
    seconds: float
    busiest: int


@dataclass
class GreedyResult:
    """What the clients received, and what reached the simulated Gateway."""

    seconds: float
    good: int = 0
    """Responses with status 200 to the fifty clients."""
    refused: int = 0
    """Requests that the bridge refused with a `Retry-After`."""
    upstream: int = 0
    """Calls that reached IBKR, the Gateway's own included."""
    refused_by_ibkr: int = 0
    in_penalty_box: bool = False
    windows: list[WindowCount] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)
    """How long each order waited for admission."""
    orders_failed: int = 0

    @property
    def exceeded(self) -> int:
        """The number of windows that held more calls than IBKR allows."""
        return sum(window.busiest > window.calls for window in self.windows)


def measure_greedy_clients(workspace: Workspace, seconds: float) -> GreedyResult:
    """Run the clients for so many seconds."""
    record, result = workspace.scratch / "record.json", GreedyResult(seconds)
    command = COMMANDS_FOR_SIMULATED_GATEWAY[BRIDGE]
    with run_far_side(workspace, record) as upstream, run_program(BRIDGE, command, workspace, upstream) as bridge:
        url = bridge.url.removesuffix(READS[0])
        with _place_orders(url, result):
            urls = [url + path for path in READS]
            for counts in wrk.run_mixed_load(urls, KEY_HEADERS, clients=CLIENTS, seconds=seconds):
                result.good, result.refused = result.good + counts.good, result.refused + counts.refused
    add_upstream_counts(json.loads(record.read_text()), result)
    return result


@contextmanager
def _place_orders(url: str, result: GreedyResult) -> Iterator[None]:
    """Place an order each second over one more connection, until the block ends."""
    stop = threading.Event()

    def run_loop() -> None:
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
            while not stop.wait(1.0):
                _place_order(connection, result)

    thread = threading.Thread(target=run_loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _place_order(connection: http.client.HTTPConnection, result: GreedyResult) -> None:
    headers, body = {**KEY_HEADERS, "Content-Type": "application/json"}, json.dumps({"orders": [ORDER]})
    connection.request("POST", f"/iserver/account/{ACCOUNT}/orders", body, headers)
    response = connection.getresponse()
    response.read()
    wait = WAIT.search(response.headers.get("Server-Timing", ""))
    if response.status != 200 or wait is None:
        result.orders_failed += 1
    else:
        result.waits_ms.append(float(wait[1]))


def add_upstream_counts(record: Mapping[str, Any], result: GreedyResult) -> None:
    """Add what the Gateway recorded (see `far_side.py`) to the result."""
    calls: Mapping[str, list[float]] = record["calls"]
    result.upstream = sum(map(len, calls.values()))
    result.refused_by_ibkr, result.in_penalty_box = record["refused"], record["in_penalty_box"]
    for limit in (GLOBAL, *LIMITS):
        times = [at for path, path_times in calls.items() if re.fullmatch(limit.pattern, path) for at in path_times]
        if times:
            name = "everything" if limit is GLOBAL else limit.pattern
            result.windows.append(WindowCount(name, limit.calls, limit.seconds, busiest(times, limit.seconds)))
