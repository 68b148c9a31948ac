"""The upstream of the stream bench: the simulated Gateway, whose market sends so many messages a second.

    python -m bench.stream_source PORT RATE FILE

Ten orders a second are added to its book and filled, as if another program of the same user had placed them. On SIGTERM
or SIGINT it writes the numbers of those orders to FILE, as a JSON list.
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

ORDER_INTERVAL_S = 0.1
ACCOUNT, AAPL = "DU1234567", 265598


async def run_until_signal(port: int, rate: float) -> list[int]:
    """Run the Gateway until a signal comes, and return the numbers of the orders."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    order_numbers = []
    async with Simulator(gateway_port=port) as simulator:
        simulator.market.stream.rate = rate
        book = simulator.market.world.book
        while not stop.is_set():
            order = book.add(_make_order(simulator.clock.now()))
            order_numbers.append(order.number)
            book.orders(simulator.clock.now())  # the book fills orders when it is read
            try:
                await asyncio.wait_for(stop.wait(), ORDER_INTERVAL_S)
            except TimeoutError:
                continue
    return order_numbers


def _make_order(now: float) -> Order:
    quantity = Decimal(1)
    return Order(0, ACCOUNT, AAPL, "BUY", "MARKET", quantity, None, None, "DAY", "", "", "Submitted", now)


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(asyncio.run(run_until_signal(int(sys.argv[1]), float(sys.argv[2])))))
