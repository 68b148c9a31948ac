"""The order story itself: some callers at once, trouble as it was dealt, the bridge killed now and then, and an end.

When all callers are through, faults are ended, and the journal has a while to settle what it does not know yet.
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

from bench.orders_callers import TAG, Person, Reaching, Story, call
from bench.orders_plan import ACCOUNT, CHANGING, KILL, PLACING, Plan, Trouble, plans
from bench.orders_town import RATE, Bridge, town
from bench.orders_zeros import Booked, Zero, open_ones, read_journal, zeros
from bench.processes import ROOT
from ibkr_bridge.sim.faults import Fault
from ibkr_bridge.sim.request_log import LoggedRequest
from ibkr_bridge.sim.simulator import Simulator

LOOKS = (f"/iserver/account/orders?accountId={ACCOUNT}", "/iserver/account/trades", "/orders?limit=20")
LOOK_EVERY = 1.0  # seconds
SETTLES_WITHIN = 60.0  # seconds; a bridge that is right takes a few
POLL = 0.25  # seconds
LATE = 1.0  # seconds between a call's coming to the Gateway and its going on; usually it takes a thousandth of that


@dataclass
class Ending:
    """What came of it."""

    orders: int
    seed: int
    seconds: float = 0.0
    kills: int = 0
    booked: int = 0
    stories: list[Story] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    """Those that happened, by name."""
    states: Counter[str] = field(default_factory=Counter)
    """Of the journal's orders."""
    zeros: tuple[Zero, ...] = ()
    proof: str = ""
    """What `bridge.py orders verify` says."""
    is_proved: bool = False
    surprises: tuple[str, ...] = ()
    """Lines of the bridge's log that no bridge should write, and other ends than it was told."""

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return self.is_proved and not self.surprises and not any(zero.broken for zero in self.zeros)


class Queue:
    """Which calls the Gateway sent on long after they had come, as it does while its slots are taken."""

    def __init__(self, sim: Simulator) -> None:
        self.late: set[str] = set()
        """Tags of new orders, numbers of those that were to be cancelled or changed."""
        self._came: dict[str, float] = {}
        sim.gateway.log.subscribe(self._note)
        sim.market.log.subscribe(self._compare)

    def _note(self, seen: LoggedRequest) -> None:
        if (what := _what(seen)) is not None:
            self._came.setdefault(what, seen.at)

    def _compare(self, seen: LoggedRequest) -> None:
        if (what := _what(seen)) is not None and seen.at - self._came.get(what, seen.at) > LATE * RATE:
            self.late.add(what)


def _what(seen: LoggedRequest) -> str | None:
    """Which order a call is about; None for other calls."""
    if (found := re.search(CHANGING, seen.path)) is not None:
        return found[0].rpartition("/")[2]
    tag = TAG.search(seen.body)
    return tag[1].decode() if tag else None


class Tale:
    """One run, from its first order to its last."""

    def __init__(self, sim: Simulator, bridge: Bridge, deck: Sequence[Plan]) -> None:
        self._sim = sim
        self._bridge = bridge
        self._deck = deck
        self._reaching = Reaching(sim.market.log)
        self._queue = Queue(sim)
        self._faults: list[tuple[str, Fault]] = []
        self.stories: list[Story] = []

    async def unfold(self, workers: int, say: Callable[[str], None]) -> None:
        """Every order, so many at once, and a screen that looks at the lists all the while."""
        turns, began = iter(self._deck), time.monotonic()
        screen = asyncio.create_task(self._watch(), name="screen")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(workers):
                    group.create_task(self._work(turns, say, began, group), name=f"worker {number}")
        finally:
            screen.cancel()
            await asyncio.gather(screen, return_exceptions=True)

    async def settle(self) -> None:
        """End all trouble, and wait until nothing is open any more: the journal is polled, as nothing tells of it."""
        sim, until = self._sim, time.monotonic() + SETTLES_WITHIN
        sim.faults.clear()
        await sim.wait_for_events()
        while time.monotonic() < until:
            await self._look(LOOKS[0])
            quiet = not sim.gateway.upstream.calls_queued() and not sim.calls_in_slots()
            if quiet and not open_ones(self._bridge.journal) and not self._broken():
                return
            await asyncio.sleep(POLL)

    def judged(self) -> tuple[Zero, ...]:
        """Every promise, held against the book and the journal as they are now."""
        return zeros(self.stories, booked(self._sim), read_journal(self._bridge.journal), self._queue.late)

    def happened(self) -> Counter[str]:
        """What went wrong, by name."""
        met = Counter(name for name, fault in self._faults if fault.times is None or fault.times <= 0)
        return met + Counter({KILL: self._bridge.kills})

    def _broken(self) -> bool:
        return any(zero.broken for zero in self.judged())

    async def _work(
        self, turns: Iterator[Plan], say: Callable[[str], None], began: float, group: asyncio.TaskGroup
    ) -> None:
        for plan in turns:
            if plan.trouble is not None:
                self._begin(plan.trouble)
            if plan.killed_after is not None:
                group.create_task(self._kill(plan.killed_after), name="kill -9")
            self.stories.append(await Person(self._bridge, self._reaching, plan).live())
            if len(self.stories) % max(1, len(self._deck) // 20) == 0:
                self._sim.market.log.clear()
                self._sim.gateway.log.clear()
                say(f"{len(self.stories)} of {len(self._deck)} orders, {time.monotonic() - began:.0f} s")

    def _begin(self, trouble: Trouble) -> None:
        self._faults.append((trouble.name, self._sim.faults.add(trouble.kind, **trouble.told)))
        if trouble.cuts:
            self._sim.faults.add("done-cut-before", path=PLACING, times=1)
        if trouble.lasts:
            asyncio.get_running_loop().call_later(trouble.lasts, self._sim.faults.clear, trouble.kind)

    async def _kill(self, after: float) -> None:
        """End the bridge at an instant nobody chose; where it does not come back, the story is over."""
        await asyncio.sleep(after)
        await self._bridge.kill()

    async def _watch(self) -> None:
        """A screen somebody has open: it asks for the lists at intervals, whatever comes."""
        for target in itertools.cycle(LOOKS):
            await asyncio.sleep(LOOK_EVERY)
            await self._look(target)

    async def _look(self, target: str) -> None:
        await call(self._bridge.port, "GET", target, {"X-Bridge-Max-Age": "0"}, b"", 3.0)


def booked(sim: Simulator) -> list[Booked]:
    """IBKR's book as it is."""
    orders = sim.market.world.book.orders(sim.clock.now())
    return [
        Booked(str(each.number), each.coid, each.referrer, each.parent, each.state, str(each.price)) for each in orders
    ]


async def told(
    orders: int, seed: int, place: Path, *, workers: int, kills: int, say: Callable[[str], None] = print
) -> Ending:
    """Tell the story and judge it.

    Args:
        orders: how many logical orders.
        seed: another one, another story.
        place: an empty directory.
        workers: callers at once.
        kills: how often the bridge is killed.
        say: is told how it goes.
    """
    began = time.monotonic()
    ending = Ending(orders, seed)
    async with town(seed, place) as (sim, bridge):
        tale = Tale(sim, bridge, plans(orders, seed, RATE, kills))
        await tale.unfold(workers, say)
        say("settling")
        await tale.settle()
        ending.stories, ending.zeros, ending.troubles = tale.stories, tale.judged(), tale.happened()
        ending.kills, ending.booked = bridge.kills, len(booked(sim))
    kept = read_journal(bridge.journal)
    ending.states = Counter(f"{each.kind} {each.state}" for each in kept)
    ending.is_proved, ending.proof = proved(bridge)
    ending.surprises = tuple(line.decode(errors="replace").strip()[:300] for line in bridge.surprises)
    ending.seconds = time.monotonic() - began
    return ending


def proved(bridge: Bridge) -> tuple[bool, str]:
    """Whether the journal is whole and unaltered, says the bridge's own command."""
    command = [sys.executable, str(ROOT / "bridge.py"), "orders", "verify"]
    done = subprocess.run(  # noqa: S603  # no shell
        command, env=bridge.env, cwd=bridge.journal.parent.parent, capture_output=True, text=True, check=False
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()
