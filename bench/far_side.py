"""The far side of the greedy minute: the simulated Gateway with IBKR's limits, which keeps a book of what reached it.

    python -m bench.far_side PORT BOOK

When it is told to end it writes the book: when each call came, by path, and how many were refused.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import defaultdict
from pathlib import Path

from ibkr_bridge.sim.simulator import Simulator


async def kept(port: int) -> dict[str, object]:
    """Be the Gateway until a signal comes; the book."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with Simulator(gateway_port=port, pacing=True) as simulator:
        await told.wait()
        calls: dict[str, list[float]] = defaultdict(list)
        for seen in simulator.calls():
            calls[seen.path.removeprefix("/v1/api")].append(seen.at)
        pacing = simulator.market.pacing
        return {"calls": calls, "refused": pacing.refused_count, "boxed": pacing.in_penalty_until > 0}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(kept(int(sys.argv[1])))))
