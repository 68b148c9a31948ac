"""The upstream of the greedy clients: the simulated Gateway with IBKR's limits, which records what reaches it.

    python -m bench.far_side PORT RECORD

On SIGTERM or SIGINT it writes the record as JSON: the times of the calls by path, and how many were refused.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import defaultdict
from pathlib import Path

from ibkr_bridge.sim.simulator import Simulator


async def run_until_signal(port: int) -> dict[str, object]:
    """Run the Gateway until a signal comes, and return the record."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Simulator(gateway_port=port, pacing=True) as simulator:
        await stop.wait()
        calls: dict[str, list[float]] = defaultdict(list)
        for request in simulator.calls():
            calls[request.path.removeprefix("/v1/api")].append(request.at)
        pacing = simulator.market.pacing
        return {"calls": calls, "refused": pacing.refused_count, "in_penalty_box": pacing.in_penalty_until > 0}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(run_until_signal(int(sys.argv[1])))))
