"""`python -m bench.slow_disk`, which `make bench-slow-disk` runs: what a disk of two seconds does to all but orders.

One bridge on such a disk (`orders_slow_disk.py`) before the simulated Gateway. Somebody looks at /health all the time
and somebody reads a stream of quotes: first while no order is under way, then while one order after the other is
placed. Ends with status 1 where health takes too long.
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

from bench.about import in_short, say
from bench.orders_cost import TICKET, WARM, p50, p99
from bench.orders_plan import ACCOUNT
from bench.orders_slow_disk import COMMIT_S
from bench.processes import NotStarted
from bench.programs import WITH_KEY, Place, simulated_gateway, started
from bench.report import table

SECONDS = 12.0  # of each part
EVERY_S = 0.005  # between two looks at /health
LIMIT_MS = 50.0
"""Within which 99 of a hundred looks at /health are answered while orders wait for the disk."""
QUOTES = f"/stream/quotes?conids={TICKET['conid']}&fields=31,84,86"
IDLE, ORDERS = "no order under way", f"orders, {COMMIT_S:g} s for each commit"


@dataclass
class Part:
    """What was seen in one part, milliseconds."""

    health_ms: list[float] = field(default_factory=list)
    silence_ms: list[float] = field(default_factory=list)
    """Between two pieces of the stream."""
    orders_ms: list[float] = field(default_factory=list)


def main() -> int:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-slow-disk-") as scratch:
        place = Place(Path(scratch), Path(sys.executable))
        (place.scratch / ".env").touch(mode=0o600)  # else the bridge would read the checkout's own
        try:
            parts = measured(place)
        except NotStarted as exc:
            print(f"The bench ended early: {exc}", file=sys.stderr)
            return 1
    print("\n\n".join((table(("", ""), in_short()), table(COLUMNS, (_row(name, parts[name]) for name in parts)))))
    return 0 if p99(parts[ORDERS].health_ms) <= LIMIT_MS else 1


def measured(place: Place) -> dict[str, Part]:
    """Both parts, one after the other."""
    with simulated_gateway(place) as upstream:
        command = [sys.executable, "-m", "bench.orders_slow_disk"]
        with started("slow disk", lambda *_: command, place, upstream) as subject:
            address = subject.url.removeprefix("http://").partition("/")[0]
            say(IDLE)
            idle = _part(address, [])
            say(ORDERS)
            return {IDLE: idle, ORDERS: _part(address, [_place_order])}


Work = Callable[[str, Part], None]


def _part(address: str, more: list[Work]) -> Part:
    part, over = Part(), threading.Event()
    with _in_threads([_read_quotes, *more], address, part, over), closing(_talk(address)) as talk:
        for _ in range(WARM):
            _ask(talk, "GET", "/health")
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            part.health_ms.append(_ask(talk, "GET", "/health"))
            time.sleep(EVERY_S)
    return part


@contextmanager
def _in_threads(works: list[Work], address: str, part: Part, over: threading.Event) -> Iterator[None]:
    def go_on(work: Work) -> None:
        while not over.is_set():
            work(address, part)

    threads = [threading.Thread(target=go_on, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(4 * COMMIT_S)


def _place_order(address: str, part: Part) -> None:
    with closing(_talk(address)) as talk:
        body = json.dumps({"orders": [TICKET]})
        part.orders_ms.append(_ask(talk, "POST", f"/iserver/account/{ACCOUNT}/orders", body))


def _read_quotes(address: str, part: Part) -> None:
    """Reads the stream for two seconds."""
    with closing(_talk(address)) as talk:
        talk.request("GET", QUOTES, headers=WITH_KEY)
        answer = talk.getresponse()
        last = until = time.monotonic()
        while last < until + COMMIT_S and answer.readline():
            now = time.monotonic()
            part.silence_ms.append((now - last) * 1000)
            last = now


def _talk(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address, timeout=30)


def _ask(talk: http.client.HTTPConnection, method: str, target: str, body: str | None = None) -> float:
    began = time.perf_counter()
    talk.request(method, target, body, {**WITH_KEY, "Content-Type": "application/json"})
    answer = talk.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise NotStarted(f"{target} answered {answer.status} {told[:200]!r}")
    return (time.perf_counter() - began) * 1000


COLUMNS = "", "looks at /health", "p50", "p99", "longest", "longest silence of the stream", "orders", "p50 of an order"


def _row(name: str, part: Part) -> tuple[str, ...]:
    health, orders = part.health_ms, part.orders_ms
    times = (f"{took:.1f} ms" for took in (p50(health), p99(health), max(health)))
    silence = f"{max(part.silence_ms, default=0.0):.0f} ms"
    return name, f"{len(health):,}", *times, silence, f"{len(orders)}", f"{p50(orders):.0f} ms" if orders else "–"


if __name__ == "__main__":
    sys.exit(main())
