"""A greedy minute: fifty clients at full speed on what every dashboard wants, and an order each second.

IBKR's limits are the simulated ones, counted at the far side by its own clock: whether the bridge kept them, the bridge
is not asked.
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
from bench.programs import AT_SIMULATED_GATEWAY, BRIDGE, WITH_KEY, Place, far_side, started
from ibkr_bridge.sim.market.pacing import GLOBAL, LIMITS

CLIENTS = 50
ACCOUNT = "DU1234567"
SIX = (
    *("/portfolio/accounts", f"/portfolio/{ACCOUNT}/summary", f"/portfolio/{ACCOUNT}/ledger"),
    *("/iserver/account/orders", "/iserver/account/trades"),
    "/iserver/marketdata/snapshot?conids=265598,8314&fields=31,84,86",
)
ORDER = {"conid": 265598, "orderType": "MKT", "side": "BUY", "quantity": 1, "tif": "DAY"}
WAIT = re.compile(r"wait;dur=([\d.]+)")


@dataclass(frozen=True)
class Window:
    """One of IBKR's limits, and the most calls that reached the far side in any window of its length."""

    what: str
    calls: int
    seconds: float
    busiest: int


@dataclass
class Greedy:
    """What came of it."""

    seconds: float
    answers: int = 0
    """Good ones, to the fifty."""
    refused: int = 0
    """By the bridge, with a time to come again."""
    upstream: int = 0
    """Calls that reached IBKR, the Gateway's own included."""
    refused_by_ibkr: int = 0
    boxed: bool = False
    windows: list[Window] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)
    """Of orders for their turn."""
    orders_failed: int = 0

    @property
    def exceeded(self) -> int:
        """Windows that held more than they may."""
        return sum(window.busiest > window.calls for window in self.windows)


def greedy(place: Place, seconds: float) -> Greedy:
    """Let them loose."""
    book, found = place.scratch / "book.json", Greedy(seconds)
    with far_side(place, book) as upstream, started(BRIDGE, AT_SIMULATED_GATEWAY[BRIDGE], place, upstream) as bridge:
        url = bridge.url.removesuffix(SIX[0])
        with _ordering(url, found):
            for served in wrk.crowd([url + path for path in SIX], WITH_KEY, clients=CLIENTS, seconds=seconds):
                found.answers, found.refused = found.answers + served.good, found.refused + served.refused
    read_book(json.loads(book.read_text()), found)
    return found


@contextmanager
def _ordering(url: str, found: Greedy) -> Iterator[None]:
    """An order each second, by somebody else, until all the others have had enough."""
    enough = threading.Event()

    def order() -> None:
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
            while not enough.wait(1.0):
                _place(connection, found)

    orderer = threading.Thread(target=order)
    orderer.start()
    try:
        yield
    finally:
        enough.set()
        orderer.join()


def _place(connection: http.client.HTTPConnection, found: Greedy) -> None:
    headers, body = {**WITH_KEY, "Content-Type": "application/json"}, json.dumps({"orders": [ORDER]})
    connection.request("POST", f"/iserver/account/{ACCOUNT}/orders", body, headers)
    answer = connection.getresponse()
    answer.read()
    waited = WAIT.search(answer.headers.get("Server-Timing", ""))
    if answer.status != 200 or waited is None:
        found.orders_failed += 1
    else:
        found.waits_ms.append(float(waited[1]))


def read_book(book: Mapping[str, Any], found: Greedy) -> None:
    """What the far side says of it."""
    calls: Mapping[str, list[float]] = book["calls"]
    found.upstream, found.refused_by_ibkr, found.boxed = sum(map(len, calls.values())), book["refused"], book["boxed"]
    for limit in (GLOBAL, *LIMITS):
        times = [at for path, each in calls.items() if re.fullmatch(limit.pattern, path) for at in each]
        if times:
            name = "everything" if limit is GLOBAL else limit.pattern
            found.windows.append(Window(name, limit.calls, limit.seconds, busiest(times, limit.seconds)))
