"""`python -m bench.plain`, which `make bench-plain` runs: what the plain API costs beside the calls it is made of.

A bridge stands in front of the simulated Gateway, with an account that holds five hundred positions. Each answer is
measured cold, when nothing is known, and warm, when the cache has it. The same calls on IBKR's own paths are measured
beside it in the same run, so that the ratio says what the translation costs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.about import describe_machine
from bench.report import table
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.sim.market.instruments import SMALL_COMPANIES
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.translation.quotes import REQUESTED_FIELDS

KEY = "a-key-that-opens-only-the-bench-0123456789"
POSITIONS, SYMBOLS, REPEATS = 500, 50, 200
LIMIT_MS = 2.0  # of the warm answer with fifty quotes, p50
START_TIMEOUT_S = 30.0
HOT_S = 0.4  # an answer of quotes is warm for half a second
ACCOUNT = "DU1234567"


@dataclass(frozen=True)
class Measured:
    """One answer beside the raw calls that it is made of."""

    name: str
    cold_ms: float
    cold_calls: int
    """Calls that reached IBKR for the cold answer."""
    warm_ms: float
    raw_ms: float
    """The same calls on IBKR's paths, warm, one after the other."""

    @property
    def row(self) -> tuple[str, ...]:
        """The row of the table."""
        ratio = self.warm_ms / self.raw_ms
        return (
            self.name,
            f"{self.cold_ms:.0f} ms",
            str(self.cold_calls),
            f"{self.warm_ms:.2f} ms",
            f"{self.raw_ms:.2f} ms",
            f"{ratio:.2f}",
        )


class Loader:
    """Sends requests to one bridge over one connection."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self._url = url

    async def get(self, path: str) -> float:
        """Send one request and return its milliseconds.

        Raises:
            RuntimeError: the answer is not a good one.
        """
        began = time.perf_counter()
        async with self._client.get(self._url + path) as reply:
            body = await reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{path} was answered {reply.status}: {body[:200]!r}")
        return (time.perf_counter() - began) * 1000

    async def warm_p50(self, paths: Sequence[str]) -> float:
        """The median of the sum of some requests, while the cache has them all."""
        times: list[float] = []
        while len(times) < REPEATS:
            for path in paths:
                await self.get(path)
            until = time.perf_counter() + HOT_S
            while time.perf_counter() < until and len(times) < REPEATS:
                times.append(sum([await self.get(path) for path in paths]))
        return statistics.median(times)


async def measure(loader: Loader, sim: Simulator, name: str, plain: str, raw: Sequence[str]) -> Measured:
    """Measure one answer."""
    before = len(sim.calls())
    cold_ms = await loader.get(plain)
    cold_calls = len(sim.calls()) - before
    warm_ms, raw_ms = await loader.warm_p50([plain]), await loader.warm_p50(raw)
    return Measured(name, cold_ms, cold_calls, warm_ms, raw_ms)


async def run(state_dir: Path) -> list[Measured]:
    """Start both and measure."""
    conids = [str(conid) for conid in SMALL_COMPANIES[: SYMBOLS - 2]]
    positions = ("/portfolio/accounts", f"/portfolio/{ACCOUNT}/positions", "/portfolio/DU7654321/positions")
    fields = ",".join(REQUESTED_FIELDS)
    everything = ",".join(("265598", "272093", *conids))
    async with Simulator(positions=POSITIONS) as sim:
        settings = Settings.from_env(
            {
                "IBKR_BRIDGE_URL": "http://127.0.0.1:0",
                "IBKR_BRIDGE_KEY": KEY,
                "IBKR_BRIDGE_MAINTENANCE": "none",
                "IBKR_BRIDGE_STATE_DIR": str(state_dir),
                "IBKR_BRIDGE_MAX_WAIT": "60",
                "IBKR_GATEWAY_URL": sim.url,
            }
        )
        bridge = Bridge(settings, Bus(), Redactor())
        await bridge.start()
        try:
            await bridge.profile.keeper.wait_until_up(Layer.BROKERAGE, START_TIMEOUT_S)
            async with aiohttp.ClientSession(headers={"X-Bridge-Key": KEY}) as client:
                loader = Loader(client, bridge.url)
                return [
                    await measure(loader, sim, f"GET /positions, {POSITIONS} positions", "/positions", positions),
                    await measure(
                        loader,
                        sim,
                        f"GET /quotes, {SYMBOLS} instruments",
                        f"/quotes?symbols=AAPL,MSFT&conids={','.join(conids)}",
                        [f"/iserver/marketdata/snapshot?conids={everything}&fields={fields}"],
                    ),
                ]
        finally:
            await bridge.finish()


def render(measured: Sequence[Measured]) -> str:
    """The page with the result."""
    head = ("answer", "cold", "calls to IBKR, cold", "warm, p50", "the raw calls, warm, p50", "ratio")
    rows = table(head, [each.row for each in measured])
    verdict = "yes" if measured[-1].warm_ms <= LIMIT_MS else "**no**"
    return (
        "# What the plain API costs\n\nMade by `make bench-plain`.\n\n"
        f"{table(('', ''), describe_machine())}\n\n{rows}\n\n"
        f"Warm answer with {SYMBOLS} quotes, p50: limit {LIMIT_MS:.0f} ms, met: {verdict}.\n\n"
        "Cold, the bridge fetches what an app would have to fetch itself: symbols, definitions, all pages.\n"
        "IBKR's limits space these calls. Warm, nothing reaches IBKR.\n"
    )


def main() -> int:
    """Measure and print; `--save` writes the page."""
    parser = argparse.ArgumentParser(prog="make bench-plain", description="What the plain API costs.")
    parser.add_argument("--save", type=Path, help="the file for the page")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-bench-") as scratch:
        text = render(asyncio.run(run(Path(scratch))))
    print(text)
    if args.save:
        args.save.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
