"""What the journal costs an order: one placement after the other, by turns at a bridge with it and at bridges without.

All of them stand before the same simulated Gateway and answer one caller on one kept connection, so that whatever else
the machine does, it does to all. The journal is written where `place` is: it should be a disk, as in earnest.
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
from bench.programs import WITH_KEY, Command, Place, simulated_gateway, started

WITH, MEMORY, NOTHING = "on disk, as it is", "in memory", "none at all"
WARM = 100  # placements nobody counts
LIMIT_MS = 1.0
"""What the journal may add to the p50 of a placement."""
TICKET = {"conid": 265598, "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": 187.0}


@dataclass(frozen=True)
class Cost:
    """Milliseconds of every placement, by journal."""

    took_ms: dict[str, list[float]]

    @property
    def added_ms(self) -> float:
        """What the disk adds to the p50."""
        return p50(self.took_ms[WITH]) - p50(self.took_ms[MEMORY])

    @property
    def is_within(self) -> bool:
        """Whether that is little enough."""
        return self.added_ms <= LIMIT_MS


def p50(took: Sequence[float]) -> float:
    """The middle one."""
    return median(took)


def p99(took: Sequence[float]) -> float:
    """The one that 99 of a hundred do not exceed."""
    return sorted(took)[math.ceil(len(took) * 0.99) - 1]


def _bridge(*program: str) -> Command:
    return lambda _, __, ___: [sys.executable, "-m", *program]


COMMANDS = {
    WITH: _bridge("bench.orders_hasty"),
    MEMORY: _bridge("bench.orders_unwritten", "memory"),
    NOTHING: _bridge("bench.orders_unwritten", "nothing"),
}


def measured(place: Place, rounds: int) -> Cost:
    """So many placements at each, by turns.

    Raises:
        NotStarted: one of them does not work.
    """
    with ExitStack() as doors:
        upstream = doors.enter_context(simulated_gateway(place))
        placing = {}
        for name, command in COMMANDS.items():
            subject = doors.enter_context(started(name, command, place, upstream))
            address = subject.url.removeprefix("http://").partition("/")[0]
            talk = doors.enter_context(closing(http.client.HTTPConnection(address, timeout=30)))
            placing[name] = _placer(talk)
        for _ in range(WARM):
            for place_one in placing.values():
                place_one()
        took: dict[str, list[float]] = {name: [] for name in placing}
        for _ in range(rounds):
            for name, place_one in placing.items():
                took[name].append(place_one())
    return Cost(took)


def _placer(talk: http.client.HTTPConnection) -> Callable[[], float]:
    """Places an order like those before, and says how many milliseconds that took."""
    body, headers = json.dumps({"orders": [TICKET]}), {**WITH_KEY, "Content-Type": "application/json"}

    def place() -> float:
        began = time.perf_counter()
        talk.request("POST", f"/iserver/account/{ACCOUNT}/orders", body, headers)
        answer = talk.getresponse()
        told = answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != 200 or b"order_id" not in told:
            raise NotStarted(f"an order was not placed: {answer.status} {told[:200]!r}")
        return took

    return place
