"""Measure what the journal costs an order: placements in turns at a bridge with a journal and at bridges without one.

All bridges are in front of the same simulated Gateway and serve one caller each over one persistent connection, so that
other work of the machine slows all of them. The journal is written inside the workspace, which should be on a disk, as
it is in use.
"""

from __future__ import annotations

import http.client
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median

from bench.orders_plan import ACCOUNT
from bench.processes import NotStarted
from bench.programs import KEY_HEADERS, Command, Workspace, run_program, run_simulated_gateway

ON_DISK, IN_MEMORY, NO_JOURNAL = "on disk, as it is", "in memory", "none at all"
WARM_UP_REQUESTS = 100
LIMIT_MS = 1.0
"""What the disk may add to the p50 of a placement."""
TICKET = {"conid": 265598, "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": 187.0}


@dataclass(frozen=True)
class Cost:
    """The milliseconds of every placement, by journal."""

    times_ms: dict[str, list[float]]

    @property
    def added_ms(self) -> float:
        """What the disk adds to the p50."""
        return p50(self.times_ms[ON_DISK]) - p50(self.times_ms[IN_MEMORY])

    @property
    def is_within_limit(self) -> bool:
        """Whether the disk adds no more than `LIMIT_MS`."""
        return self.added_ms <= LIMIT_MS


def p50(figures: Sequence[float]) -> float:
    """The median."""
    return median(figures)


def p99(figures: Sequence[float]) -> float:
    """The smallest figure that 99 % of the figures do not exceed."""
    return sorted(figures)[math.ceil(len(figures) * 0.99) - 1]


def _python(*arguments: str) -> Command:
    return lambda _, __, ___: [sys.executable, "-m", *arguments]


COMMANDS = {
    ON_DISK: _python("bench.orders_fast_bridge"),
    IN_MEMORY: _python("bench.orders_unwritten", "memory"),
    NO_JOURNAL: _python("bench.orders_unwritten", "nothing"),
}


def measure_cost(workspace: Workspace, rounds: int) -> Cost:
    """Place one order at each bridge in every round.

    Raises:
        NotStarted: a bridge does not start, or an order is not placed.
    """
    with ExitStack() as stack:
        upstream = stack.enter_context(run_simulated_gateway(workspace))
        placers = {}
        for name, command in COMMANDS.items():
            program = stack.enter_context(run_program(name, command, workspace, upstream))
            address = program.url.removeprefix("http://").partition("/")[0]
            connection = stack.enter_context(closing(http.client.HTTPConnection(address, timeout=30)))
            placers[name] = _make_placer(connection)
        for _ in range(WARM_UP_REQUESTS):
            for place_order in placers.values():
                place_order()
        times_ms: dict[str, list[float]] = {name: [] for name in placers}
        for _ in range(rounds):
            for name, place_order in placers.items():
                times_ms[name].append(place_order())
    return Cost(times_ms)


def _make_placer(connection: http.client.HTTPConnection) -> Callable[[], float]:
    """Return a function that places the same order each time and returns the milliseconds it took."""
    body, headers = json.dumps({"orders": [TICKET]}), {**KEY_HEADERS, "Content-Type": "application/json"}

    def place_order() -> float:
        began = time.perf_counter()
        connection.request("POST", f"/iserver/account/{ACCOUNT}/orders", body, headers)
        response = connection.getresponse()
        response_body = response.read()
        elapsed_ms = (time.perf_counter() - began) * 1000
        if response.status != 200 or b"order_id" not in response_body:
            raise NotStarted(f"an order was not placed: {response.status} {response_body[:200]!r}")
        return elapsed_ms

    return place_order
