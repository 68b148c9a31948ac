"""`python -m bench.orders`, which `make bench-orders` runs: no order twice, none lost without a word, counted.

Some callers at once place orders through the bridge at a simulated Gateway while everything goes wrong that can, the
bridge itself being killed now and then. In the end IBKR's own book, the journal and what callers were told are held
against each other; every promise of `orders_zeros.py` has to be broken not once. Ends with status 1 where one was.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.about import in_short, say
from bench.orders_cost import measured
from bench.orders_report import cost_lines, lines
from bench.orders_story import Ending, told
from bench.processes import ROOT, NotStarted
from bench.programs import Place
from bench.report import table

WORKERS = 6
DISK = Path("/var/tmp")  # noqa: S108  # a directory of our own is made in it; unlike /tmp it is a disk everywhere
MANY, FEW = 10_000, 200  # orders
HEAD = (
    "# No order twice, none lost without a word",
    "Written by `make bench-orders`; nothing here is typed by hand. Callers place orders through the bridge, a real\n"
    "process, at a simulated Gateway, while everything goes wrong that can: see `orders_plan.py`. The bridge is\n"
    "`bridge.py` in a hurry (`orders_hasty.py`): it looks for lost orders for seconds instead of minutes.",
)


def main(words: Sequence[str] | None = None) -> int:
    """Tell the story, judge it, keep it."""
    args = _arguments(words)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-orders-", dir=DISK) as scratch:
        place = _made(args.keep or Path(scratch))
        head = in_short()
        if (place / "state").exists():
            print(f"{place} holds another story already; name another directory", file=sys.stderr)
            return 1
        try:
            kills = max(3, args.orders // 150)
            ending = asyncio.run(_story(args.orders, args.seed, place, kills))
            story = "\n\n".join((*HEAD, table(("", ""), head), *lines(ending)))
            print(story, flush=True)
            say("what the journal costs")
            cost = measured(Place(_made(place / "cost"), Path(sys.executable)), args.placements)
        except (NotStarted, asyncio.CancelledError) as exc:
            print(f"The bench ended early: {str(exc) or 'it was told to'}", file=sys.stderr)
            return 1
    costs = "\n\n".join(cost_lines(cost))
    print(f"\n{costs}")
    if args.results is not None:
        args.results.write_text(f"{story}\n\n{costs}\n")
    is_measured = args.orders >= MANY  # a short look is too short for figures to be judged
    return 0 if ending.is_good and (cost.is_within or not is_measured) else 1


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-orders", description="No order twice, none lost without a word.")
    parser.add_argument("--quick", action="store_true", help=f"a short story of {FEW} orders, which is not kept")
    parser.add_argument("--orders", type=int, help=f"how many (default: {MANY:,})")
    parser.add_argument("--seed", type=int, default=7, help="another one tells another story (default: 7)")
    parser.add_argument("--keep", type=Path, help="leave journal and log in this directory")
    parser.add_argument("--results", type=Path, help="where the tables are kept (default: bench/orders.md, in full)")
    args = parser.parse_args(words)
    if args.results is None and not args.quick and args.orders is None:
        args.results = ROOT / "bench/orders.md"
    args.orders = args.orders or (FEW if args.quick else MANY)
    args.placements = 2000 if args.orders >= MANY else 300
    return args


async def _story(orders: int, seed: int, place: Path, kills: int) -> Ending:
    """The story, which ends its bridge too where it is told to end."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await told(orders, seed, place, workers=WORKERS, kills=kills, say=say)


def _made(place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / ".env").touch(mode=0o600)  # else the bridge would read the checkout's own
    return place


if __name__ == "__main__":
    sys.exit(main())
