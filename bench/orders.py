"""`python -m bench.orders`, which `make bench-orders` runs: count orders that were placed twice or lost unreported.

Several callers at a time place orders through the bridge at a simulated Gateway while faults occur and the bridge is
killed now and then. At the end IBKR's own book, the journal and the responses to the callers are compared: no promise
of `orders_promises.py` may be broken. The exit status is 1 if one is.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.about import describe_machine, print_progress
from bench.orders_cost import measure_cost
from bench.orders_report import cost_sections, run_sections
from bench.orders_story import RunResult, run_orders
from bench.processes import ROOT, NotStarted
from bench.programs import Workspace
from bench.report import table

WORKERS = 6
DISK = Path("/var/tmp")  # noqa: S108  # a directory of our own is created in it; unlike /tmp it is a disk everywhere
FULL_ORDERS, QUICK_ORDERS = 10_000, 200
ORDERS_PER_KILL, MIN_KILLS = 150, 3
HEAD = (
    "# No order placed twice, no order lost unreported",
    "Written by `make bench-orders`; nothing here is typed by hand. Callers place orders through the bridge, a real\n"
    "process, at a simulated Gateway, while the faults of `orders_plan.py` occur. The bridge is `bridge.py` with\n"
    "shorter waits (`orders_fast_bridge.py`): it searches for lost orders for seconds instead of minutes.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, judge and save; return the exit status."""
    args = _parse_arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-orders-", dir=DISK) as scratch:
        directory = _prepare_directory(args.keep or Path(scratch))
        machine = describe_machine()
        if (directory / "state").exists():
            print(f"{directory} holds the files of another run; name another directory", file=sys.stderr)
            return 1
        try:
            kills = max(MIN_KILLS, args.orders // ORDERS_PER_KILL)
            result = asyncio.run(_run(args.orders, args.seed, directory, kills))
            run_text = "\n\n".join((*HEAD, table(("", ""), machine), *run_sections(result)))
            print(run_text, flush=True)
            print_progress("measuring what the journal costs")
            workspace = Workspace(_prepare_directory(directory / "cost"), Path(sys.executable))
            cost = measure_cost(workspace, args.placements)
        except (NotStarted, asyncio.CancelledError) as exc:
            print(f"The bench ended early: {str(exc) or 'it was stopped'}", file=sys.stderr)
            return 1
    cost_text = "\n\n".join(cost_sections(cost))
    print(f"\n{cost_text}")
    if args.results is not None:
        args.results.write_text(f"{run_text}\n\n{cost_text}\n")
    is_cost_judged = args.orders >= FULL_ORDERS  # the figures of a short run are too rough to be judged
    return 0 if result.is_good and (cost.is_within_limit or not is_cost_judged) else 1


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench-orders", description="Count orders that were placed twice or lost unreported."
    )
    parser.add_argument("--quick", action="store_true", help=f"run {QUICK_ORDERS} orders and save no tables")
    parser.add_argument("--orders", type=int, help=f"the number of orders (default: {FULL_ORDERS:,})")
    parser.add_argument("--seed", type=int, default=7, help="decides what happens to each order (default: 7)")
    parser.add_argument("--keep", type=Path, help="leave journal and log in this directory")
    parser.add_argument("--results", type=Path, help="the file for the tables (default: bench/orders.md, if in full)")
    args = parser.parse_args(arguments)
    if args.results is None and not args.quick and args.orders is None:
        args.results = ROOT / "bench/orders.md"
    args.orders = args.orders or (QUICK_ORDERS if args.quick else FULL_ORDERS)
    args.placements = 2000 if args.orders >= FULL_ORDERS else 300
    return args


async def _run(orders: int, seed: int, directory: Path, kills: int) -> RunResult:
    """Run the orders; SIGTERM cancels the run, so that its bridge is stopped too."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_orders(orders, seed, directory, workers=WORKERS, kills=kills, on_progress=print_progress)


def _prepare_directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / ".env").touch(mode=0o600)  # without it the bridge would read the one of the checkout
    return path


if __name__ == "__main__":
    sys.exit(main())
