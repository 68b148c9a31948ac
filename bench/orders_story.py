"""Run the orders of the bench: several callers at a time, the planned faults, and kills of the bridge.

When all callers have finished, the faults are ended, and the journal gets time to settle orders that are still open.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.orders_callers import TAG, ArrivalWatch, OrderHistory, SimulatedCaller, send_request
from bench.orders_plan import ACCOUNT, CHANGE_PATH, KILL, PLACEMENT_PATH, Plan, Trouble, make_plans
from bench.orders_promises import BookOrder, Promise, check_promises, count_open_orders, read_journal
from bench.orders_setup import CLOCK_RATE, BridgeProcess, run_bridge_and_simulator
from bench.processes import ROOT
from ibkr_bridge.sim.faults import Fault
from ibkr_bridge.sim.request_log import LoggedRequest
from ibkr_bridge.sim.simulator import Simulator

LISTS = (f"/iserver/account/orders?accountId={ACCOUNT}", "/iserver/account/trades", "/orders?limit=20")
LIST_INTERVAL_S = 1.0
LIST_TIMEOUT_S = 3.0
SETTLE_TIMEOUT_S = 60.0  # a bridge without faults needs a few seconds
POLL_INTERVAL_S = 0.25
LATE_S = 1.0  # from a call's arrival at the Gateway until it is sent on; usually it takes a millisecond
PROGRESS_REPORTS = 20


@dataclass
class RunResult:
    """What happened in one run."""

    orders: int
    seed: int
    seconds: float = 0.0
    kills: int = 0
    hand_over_kills: int = 0
    """How many of them were in the step in which an order was handed over."""
    book_orders: int = 0
    """The orders in IBKR's book, the children of brackets included."""
    histories: list[OrderHistory] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    """How often each trouble occurred, by name."""
    journal_states: Counter[str] = field(default_factory=Counter)
    """How many orders of the journal have each kind and state."""
    promises: tuple[Promise, ...] = ()
    verify_output: str = ""
    """What `bridge.py orders verify` printed."""
    is_verified: bool = False
    unexpected: tuple[str, ...] = ()
    """See `BridgeProcess.unexpected`."""

    @property
    def is_good(self) -> bool:
        """Whether the journal is intact, the log has no unexpected line and no promise was broken."""
        return self.is_verified and not self.unexpected and not any(promise.violations for promise in self.promises)


class LateCalls:
    """Finds the calls that the Gateway sent on long after they had arrived, as it does while its slots are taken."""

    def __init__(self, sim: Simulator) -> None:
        self.orders: set[str] = set()
        """Tags of new orders, and IBKR's numbers of orders that were to be cancelled or changed."""
        self._arrived_at: dict[str, float] = {}
        sim.gateway.log.subscribe(self._on_arrival)
        sim.market.log.subscribe(self._on_sent)

    def _on_arrival(self, request: LoggedRequest) -> None:
        if (order := _find_order(request)) is not None:
            self._arrived_at.setdefault(order, request.at)

    def _on_sent(self, request: LoggedRequest) -> None:
        order = _find_order(request)
        if order is not None and request.at - self._arrived_at.get(order, request.at) > LATE_S * CLOCK_RATE:
            self.orders.add(order)


def _find_order(request: LoggedRequest) -> str | None:
    """Return the tag or the number of the order that a call concerns; None for other calls."""
    if (change := re.search(CHANGE_PATH, request.path)) is not None:
        return change[0].rpartition("/")[2]
    tag = TAG.search(request.body)
    return tag[1].decode() if tag else None


class OrderRun:
    """One run, from its first order to its last."""

    def __init__(self, sim: Simulator, bridge: BridgeProcess, plans: Sequence[Plan]) -> None:
        self._sim = sim
        self._bridge = bridge
        self._plans = plans
        self._arrivals = ArrivalWatch(sim.market.log)
        self._late_calls = LateCalls(sim)
        self._faults: list[tuple[str, Fault]] = []
        self.histories: list[OrderHistory] = []

    async def place_all_orders(self, workers: int, on_progress: Callable[[str], None]) -> None:
        """Place every order, `workers` at a time, while another caller requests the lists of orders."""
        plans, began = iter(self._plans), time.monotonic()
        screen = asyncio.create_task(self._request_lists(), name="screen")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(workers):
                    group.create_task(self._work(plans, on_progress, began, group), name=f"worker {number}")
        finally:
            screen.cancel()
            await asyncio.gather(screen, return_exceptions=True)

    async def wait_until_settled(self) -> None:
        """End all faults and wait until no order is open and no promise broken, or the time is up.

        The journal is polled, as it reports no changes to other processes.
        """
        sim, deadline = self._sim, time.monotonic() + SETTLE_TIMEOUT_S
        sim.faults.clear()
        await sim.wait_for_events()
        while time.monotonic() < deadline:
            await self._request(LISTS[0])
            is_idle = not sim.gateway.upstream.calls_queued() and not sim.calls_in_slots()
            if is_idle and not count_open_orders(self._bridge.journal) and not self._is_a_promise_broken():
                return
            await asyncio.sleep(POLL_INTERVAL_S)

    def check_promises(self) -> tuple[Promise, ...]:
        """Compare the book, the journal and the responses as they are now."""
        journal = read_journal(self._bridge.journal)
        return check_promises(self.histories, read_book(self._sim), journal, self._late_calls.orders)

    def count_troubles(self) -> Counter[str]:
        """Return how often each trouble occurred, by name; kills are counted too."""
        occurred = Counter(name for name, fault in self._faults if fault.times is None or fault.times <= 0)
        return occurred + Counter({KILL: self._bridge.kills})

    def _is_a_promise_broken(self) -> bool:
        return any(promise.violations for promise in self.check_promises())

    async def _work(
        self, plans: Iterator[Plan], on_progress: Callable[[str], None], began: float, group: asyncio.TaskGroup
    ) -> None:
        for plan in plans:
            self._sim.market.world.questions.asks_together = plan.asks_together
            if plan.trouble is not None:
                self._cause(plan.trouble)
            if plan.kill_delay_s is not None:
                group.create_task(self._kill_bridge(plan.kill_delay_s), name="kill -9")
            if plan.kill_at_hand_over:
                group.create_task(self._bridge.kill_at_hand_over(plan.kill_at_hand_over), name="kill -9")
            self.histories.append(await SimulatedCaller(self._bridge, self._arrivals, plan).place_order())
            if len(self.histories) % max(1, len(self._plans) // PROGRESS_REPORTS) == 0:
                self._sim.market.log.clear()
                self._sim.gateway.log.clear()
                elapsed_s = time.monotonic() - began
                on_progress(f"{len(self.histories)} of {len(self._plans)} orders, {elapsed_s:.0f} s")

    def _cause(self, trouble: Trouble) -> None:
        self._faults.append((trouble.name, self._sim.faults.add(trouble.kind, **trouble.options)))
        if trouble.cuts_next_placement:
            self._sim.faults.add("done-cut-before", path=PLACEMENT_PATH, times=1)
        if trouble.duration_s:
            asyncio.get_running_loop().call_later(trouble.duration_s, self._sim.faults.clear, trouble.kind)

    async def _kill_bridge(self, delay_s: float) -> None:
        """Kill the bridge after a delay. If it does not start again, the exception ends the run."""
        await asyncio.sleep(delay_s)
        await self._bridge.kill()

    async def _request_lists(self) -> None:
        """Request the lists in turn, at intervals, as an open screen does; errors are ignored."""
        for target in itertools.cycle(LISTS):
            await asyncio.sleep(LIST_INTERVAL_S)
            await self._request(target)

    async def _request(self, target: str) -> None:
        await send_request(self._bridge.port, "GET", target, {"X-Bridge-Max-Age": "0"}, b"", LIST_TIMEOUT_S)


def read_book(sim: Simulator) -> list[BookOrder]:
    """Return IBKR's book as it is now."""
    return [
        BookOrder(str(order.number), order.coid, order.referrer, order.parent, order.state, str(order.price))
        for order in sim.market.world.book.orders(sim.clock.now())
    ]


async def run_orders(
    orders: int,
    seed: int,
    directory: Path,
    *,
    workers: int,
    kills: int,
    on_progress: Callable[[str], None] = print,
) -> RunResult:
    """Place the orders and check every promise.

    Args:
        orders: the number of logical orders.
        seed: decides what happens to each order.
        directory: must be empty.
        workers: the number of callers at a time.
        kills: how often the bridge is killed.
        on_progress: receives a line now and then.
    """
    began = time.monotonic()
    result = RunResult(orders, seed)
    async with run_bridge_and_simulator(seed, directory) as (sim, bridge):
        run = OrderRun(sim, bridge, make_plans(orders, seed, CLOCK_RATE, kills))
        await run.place_all_orders(workers, on_progress)
        on_progress("waiting until the journal has settled every order")
        await run.wait_until_settled()
        result.histories, result.promises, result.troubles = run.histories, run.check_promises(), run.count_troubles()
        result.kills, result.book_orders = bridge.kills, len(read_book(sim))
        result.hand_over_kills = bridge.hand_over_kills
    result.journal_states = Counter(f"{order.kind} {order.state}" for order in read_journal(bridge.journal))
    result.is_verified, result.verify_output = verify_journal(bridge)
    result.unexpected = tuple(line.decode(errors="replace").strip()[:300] for line in bridge.unexpected)
    result.seconds = time.monotonic() - began
    return result


def verify_journal(bridge: BridgeProcess) -> tuple[bool, str]:
    """Run `bridge.py orders verify`: whether it found the journal complete and unaltered, and what it printed."""
    command = [sys.executable, str(ROOT / "bridge.py"), "orders", "verify"]
    completed = subprocess.run(  # noqa: S603  # no shell
        command, env=bridge.env, cwd=bridge.journal.parent.parent, capture_output=True, text=True, check=False
    )
    return completed.returncode == 0, (completed.stdout + completed.stderr).strip()
