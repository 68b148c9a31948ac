"""The far side of the stream bench: the simulated Gateway, whose market says so many things a second.

    python -m bench.stream_source PORT RATE BOOK

Ten orders a second are placed in its book and filled, as if by another program of the same user. When it is told to end
it writes the numbers of those orders into BOOK.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from decimal import Decimal
from pathlib import Path

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.simulator import Simulator

ORDER_EVERY = 0.1  # seconds
ACCOUNT, AAPL = "DU1234567", 265598


async def streamed(port: int, rate: float) -> list[int]:
    """Be the Gateway until a signal comes; the orders that were placed."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    placed = []
    async with Simulator(gateway_port=port) as simulator:
        simulator.market.stream.rate = rate
        book = simulator.market.world.book
        while not told.is_set():
            order = book.add(_order(simulator.clock.now()))
            placed.append(order.number)
            book.orders(simulator.clock.now())  # somebody looks, so that it fills
            try:
                await asyncio.wait_for(told.wait(), ORDER_EVERY)
            except TimeoutError:
                continue
    return placed


def _order(now: float) -> Order:
    one = Decimal(1)
    return Order(0, ACCOUNT, AAPL, "BUY", "MARKET", one, None, None, "DAY", "", "", "Submitted", now)


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(asyncio.run(streamed(int(sys.argv[1]), float(sys.argv[2])))))
