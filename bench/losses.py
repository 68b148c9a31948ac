"""`python -m bench.losses`, which `make bench-losses` runs: a brokerage session lost, a thousand times.

The Gateway logs itself out at its next tickle, every 30 s, if the brokerage session is gone by then. IBKR says a loss
on its websocket; the bridge has to hear it and open the session again before that tickle. Some bridges, each in front
of a simulated Gateway of its own, lose their sessions at moments spread evenly over the 30 s, in the machine's time.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.about import in_short
from bench.processes import ROOT
from bench.report import Target, judged, table
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus, Event, FeedUp, SessionChanged, SessionLost
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator

LOSSES, BRIDGES = 1000, 24
APART = 1.2  # seconds between two losses of a bridge at least: by then its stream is up again
TICKLE = 30.0  # seconds between two of the Gateway's own
PATIENCE = 60.0  # seconds


@dataclass
class Told:
    """What came of the losses."""

    seen_ms: list[float] = field(default_factory=list)
    """From each loss to the bridge's knowing of it."""
    repaired_ms: list[float] = field(default_factory=list)
    """From each loss to a session that is ready again."""
    logged_out: int = 0

    @property
    def losses(self) -> int:
        """How many there were."""
        return len(self.repaired_ms) + self.logged_out


class Pair:
    """One bridge and its Gateway."""

    def __init__(self, place: Path) -> None:
        self.told = Told()
        self._place = place
        self._since = 0.0
        """When the Gateway's tickles began, monotonic seconds."""
        self._lost_at = 0.0
        self._changed = asyncio.Event()
        self._ups = 0

    async def enter(self, doors: AsyncExitStack) -> None:
        """Start both, and come back when the stream is up."""
        self._sim = await doors.enter_async_context(Simulator(tickle_interval_s=TICKLE))
        self._since = time.monotonic()
        bus = Bus()
        bus.subscribe(self._hear)
        settings = Settings.from_env(
            {
                "IBKR_BRIDGE_URL": "http://127.0.0.1:0",
                "IBKR_BRIDGE_KEY": "a-key-that-opens-only-the-bench-0123456789",
                "IBKR_BRIDGE_MAINTENANCE": "none",
                "IBKR_BRIDGE_STATE_DIR": str(self._place),
                "IBKR_GATEWAY_URL": self._sim.url,
            }
        )
        self._bridge = Bridge(settings, bus, Redactor())
        await self._bridge.start()
        doors.push_async_callback(self._bridge.finish)
        await self._until_up(0)

    def _hear(self, event: Event) -> None:
        if isinstance(event, SessionLost) and self._lost_at:
            self.told.seen_ms.append((time.monotonic() - self._lost_at) * 1000)
            self._lost_at = 0.0
        self._ups += isinstance(event, FeedUp)
        if isinstance(event, SessionChanged | FeedUp):
            self._changed.set()

    async def lose(self, phase: float) -> None:
        """Lose the session so many seconds after one of the Gateway's tickles, and see what comes of it."""
        wait = (phase - (time.monotonic() - self._since)) % TICKLE
        await asyncio.sleep(wait)
        logouts, ups, began = len(self._sim.calls("/logout")), self._ups, time.monotonic()
        self._lost_at = began
        self._sim.lose_brokerage()
        await self._until(
            lambda: self._bridge.profile.keeper.session.state in (SessionState.OPENING, SessionState.SIGNED_OUT)
        )
        await self._until(
            lambda: self._bridge.profile.keeper.session.state in (SessionState.READY, SessionState.SIGNED_OUT)
        )
        if len(self._sim.calls("/logout")) > logouts:
            self.told.logged_out += 1
            self._sim.log_in()
            self._since = time.monotonic()
        else:
            self.told.repaired_ms.append((time.monotonic() - began) * 1000)
        await self._until_up(ups)

    async def _until_up(self, before: int) -> None:
        await self._until(lambda: self._ups > before)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


async def measured(losses: int, bridges: int, place: Path) -> Told:
    """All losses, shared out among the bridges."""
    async with AsyncExitStack() as doors:
        pairs = [Pair(place / f"state-{number}") for number in range(bridges)]
        for pair in pairs:
            await pair.enter(doors)
        phases = [(number + 0.5) / losses * TICKLE for number in range(losses)]
        await asyncio.gather(*(_all(pair, phases[number::bridges]) for number, pair in enumerate(pairs)))
    whole = Told()
    for pair in pairs:
        whole.seen_ms += pair.told.seen_ms
        whole.repaired_ms += pair.told.repaired_ms
        whole.logged_out += pair.told.logged_out
    return whole


async def _all(pair: Pair, phases: Sequence[float]) -> None:
    """Every one of them, in as many of the Gateway's 30 s as it takes to have them apart."""
    step = math.ceil(APART * len(phases) / TICKLE)
    for first in range(step):
        for phase in phases[first::step]:
            await pair.lose(phase)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, judge, keep."""
    parser = argparse.ArgumentParser(prog="make bench-losses", description="A brokerage session lost, many times.")
    parser.add_argument("--quick", action="store_true", help="a hundred losses, which are not kept")
    args = parser.parse_args(words)
    losses = 100 if args.quick else LOSSES
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-losses-") as scratch:
        head = in_short()
        told = asyncio.run(measured(losses, BRIDGES, Path(scratch)))
    text = "\n\n".join(_lines(head, told))
    print(text)
    if not args.quick:
        (ROOT / "bench/losses.md").write_text(f"{text}\n")
    return 0 if args.quick or all(target.is_met for target in _targets(told)) else 1


def _targets(told: Told) -> tuple[Target, ...]:
    share = 100 * told.logged_out / told.losses
    return (Target("losses that still ended in the Gateway's own log-out, %", 1.0, share),)


def _lines(head: Sequence[Sequence[str]], told: Told) -> list[str]:
    seen, repaired = sorted(told.seen_ms), sorted(told.repaired_ms)
    rows = [
        ("losses", f"{told.losses:,}"),
        ("logged out all the same", f"{told.logged_out:,}"),
        ("from the loss to the bridge's knowing of it", _spread(seen)),
        ("from the loss to a session that is ready again", _spread(repaired)),
    ]
    return [
        "# A brokerage session lost, a thousand times",
        f"Written by `make bench-losses`; nothing here is typed by hand. {BRIDGES} bridges, each in front of a\n"
        "simulated Gateway that tickles every 30 s, lose their sessions at moments spread evenly over that time. IBKR\n"
        "takes 0.2 s to open a session again, so a loss in the last 0.2 s before a tickle can be repaired by nobody:\n"
        "0.67 % of all. By looking every three seconds alone, 5 % are logged out.",
        table(("", ""), head),
        table(("target", "limit", "measured", "met"), map(judged, _targets(told))),
        table(("", ""), rows),
    ]


def _spread(figures: Sequence[float]) -> str:
    if not figures:
        return "–"
    p50, p99 = figures[len(figures) // 2], figures[math.ceil(len(figures) * 0.99) - 1]
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {figures[-1]:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
