"""`python -m bench.losses`, which `make bench-losses` runs: lose the brokerage session a thousand times.

The Gateway ends the login at its next tickle, every 30 s, if the brokerage session is gone by then. IBKR reports a loss
on its websocket; the bridge must receive that and open the session again before the tickle. Several bridges, each in
front of a simulated Gateway of its own, lose their sessions at moments spread evenly over the 30 s, in real time.
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

from bench.about import describe_machine
from bench.processes import ROOT
from bench.report import Target, table, target_row
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus, Event, FeedUp, SessionChanged, SessionLost
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator

FULL_LOSSES, QUICK_LOSSES, BRIDGES = 1000, 100, 24
MIN_INTERVAL_S = 1.2  # between two losses of one bridge: by then its feed is connected again
TICKLE_INTERVAL_S = 30.0
STATE_TIMEOUT_S = 60.0


@dataclass
class LossFigures:
    """What happened after the losses."""

    noticed_ms: list[float] = field(default_factory=list)
    """From each loss until the bridge knows of it."""
    repaired_ms: list[float] = field(default_factory=list)
    """From each loss until the session is ready again."""
    logged_out: int = 0

    @property
    def losses(self) -> int:
        """The number of losses."""
        return len(self.repaired_ms) + self.logged_out


class BridgeWithGateway:
    """One bridge and its simulated Gateway."""

    def __init__(self, state_dir: Path) -> None:
        self.figures = LossFigures()
        self._state_dir = state_dir
        self._tickles_began_at = 0.0
        """Monotonic seconds."""
        self._lost_at = 0.0
        """Monotonic seconds; 0 when the bridge knows of the loss."""
        self._changed = asyncio.Event()
        self._feed_ups = 0
        """How often the feed has connected."""

    async def start(self, stack: AsyncExitStack) -> None:
        """Start both and return when the feed is connected; the stack stops them."""
        self._sim = await stack.enter_async_context(Simulator(tickle_interval_s=TICKLE_INTERVAL_S))
        self._tickles_began_at = time.monotonic()
        bus = Bus()
        bus.subscribe(self._on_event)
        settings = Settings.from_env(
            {
                "IBKR_BRIDGE_URL": "http://127.0.0.1:0",
                "IBKR_BRIDGE_KEY": "a-key-that-opens-only-the-bench-0123456789",
                "IBKR_BRIDGE_MAINTENANCE": "none",
                "IBKR_BRIDGE_STATE_DIR": str(self._state_dir),
                "IBKR_GATEWAY_URL": self._sim.url,
            }
        )
        self._bridge = Bridge(settings, bus, Redactor())
        await self._bridge.start()
        stack.push_async_callback(self._bridge.finish)
        await self._wait_until(lambda: self._feed_ups > 0)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, SessionLost) and self._lost_at:
            self.figures.noticed_ms.append((time.monotonic() - self._lost_at) * 1000)
            self._lost_at = 0.0
        self._feed_ups += isinstance(event, FeedUp)
        if isinstance(event, SessionChanged | FeedUp):
            self._changed.set()

    async def lose_session(self, phase_s: float) -> None:
        """Lose the session so many seconds after one of the Gateway's tickles, and measure what happens."""
        await asyncio.sleep((phase_s - (time.monotonic() - self._tickles_began_at)) % TICKLE_INTERVAL_S)
        logouts, feed_ups, began = len(self._sim.calls("/logout")), self._feed_ups, time.monotonic()
        self._lost_at = began
        self._sim.lose_brokerage()
        await self._wait_for_state(SessionState.OPENING, SessionState.SIGNED_OUT)
        await self._wait_for_state(SessionState.READY, SessionState.SIGNED_OUT)
        if len(self._sim.calls("/logout")) > logouts:
            self.figures.logged_out += 1
            self._sim.log_in()
            self._tickles_began_at = time.monotonic()
        else:
            self.figures.repaired_ms.append((time.monotonic() - began) * 1000)
        await self._wait_until(lambda: self._feed_ups > feed_ups)

    async def _wait_for_state(self, *states: SessionState) -> None:
        await self._wait_until(lambda: self._bridge.profile.keeper.session.state in states)

    async def _wait_until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(STATE_TIMEOUT_S):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()


async def measure_losses(losses: int, bridges: int, directory: Path) -> LossFigures:
    """Divide the losses among the bridges and return the figures of all."""
    async with AsyncExitStack() as stack:
        pairs = [BridgeWithGateway(directory / f"state-{number}") for number in range(bridges)]
        for pair in pairs:
            await pair.start(stack)
        phases_s = [(number + 0.5) / losses * TICKLE_INTERVAL_S for number in range(losses)]
        await asyncio.gather(*(_lose_at_phases(pair, phases_s[number::bridges]) for number, pair in enumerate(pairs)))
    total = LossFigures()
    for pair in pairs:
        total.noticed_ms += pair.figures.noticed_ms
        total.repaired_ms += pair.figures.repaired_ms
        total.logged_out += pair.figures.logged_out
    return total


async def _lose_at_phases(pair: BridgeWithGateway, phases_s: Sequence[float]) -> None:
    """Lose the session at every phase, divided over so many tickle intervals that `MIN_INTERVAL_S` lies between two."""
    step = math.ceil(MIN_INTERVAL_S * len(phases_s) / TICKLE_INTERVAL_S)
    for first in range(step):
        for phase_s in phases_s[first::step]:
            await pair.lose_session(phase_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; return the exit status."""
    parser = argparse.ArgumentParser(prog="make bench-losses", description="Lose the brokerage session many times.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_LOSSES} losses, whose figures are not saved")
    args = parser.parse_args(arguments)
    losses = QUICK_LOSSES if args.quick else FULL_LOSSES
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-losses-") as scratch:
        machine = describe_machine()
        figures = asyncio.run(measure_losses(losses, BRIDGES, Path(scratch)))
    text = "\n\n".join(_sections(machine, figures))
    print(text)
    if not args.quick:
        (ROOT / "bench/losses.md").write_text(f"{text}\n")
    return 0 if args.quick or all(target.is_met for target in _targets(figures)) else 1


def _targets(figures: LossFigures) -> tuple[Target, ...]:
    share = 100 * figures.logged_out / figures.losses
    return (Target("losses after which the Gateway ended the login, %", 1.0, share),)


def _sections(machine: Sequence[Sequence[str]], figures: LossFigures) -> list[str]:
    rows = [
        ("losses", f"{figures.losses:,}"),
        ("ended with a log-out by the Gateway", f"{figures.logged_out:,}"),
        ("from the loss until the bridge knows of it", _summarize(sorted(figures.noticed_ms))),
        ("from the loss until the session is ready again", _summarize(sorted(figures.repaired_ms))),
    ]
    return [
        "# Loss of the brokerage session, a thousand times",
        f"Written by `make bench-losses`; nothing here is typed by hand. {BRIDGES} bridges, each in front of a\n"
        "simulated Gateway that tickles every 30 s, lose their sessions at moments spread evenly over that time. IBKR\n"
        "takes 0.2 s to open a session again, so no program can repair a loss in the last 0.2 s before a tickle:\n"
        "these are 0.67 % of all losses. A bridge that only checked the session every three seconds would be logged\n"
        "out after 5 %.",
        table(("", ""), machine),
        table(("target", "limit", "measured", "met"), map(target_row, _targets(figures))),
        table(("", ""), rows),
    ]


def _summarize(sorted_ms: Sequence[float]) -> str:
    if not sorted_ms:
        return "–"
    p50, p99 = sorted_ms[len(sorted_ms) // 2], sorted_ms[math.ceil(len(sorted_ms) * 0.99) - 1]
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {sorted_ms[-1]:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
