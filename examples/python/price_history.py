"""Draw a price history into a PNG.

.venv/bin/python -m pip install matplotlib
PYTHONPATH=. .venv/bin/python examples/python/price_history.py AAPL aapl.png --period 6m --bar 1d
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.models.quotes import History


def draw(history: History, path: Path) -> None:
    """Draw the closing prices, the range of each bar, and the volume below."""
    starts = [bar.start for bar in history.bars]
    figure, (prices, volumes) = pyplot.subplots(
        2, sharex=True, figsize=(10, 6), height_ratios=(3, 1), layout="constrained"
    )
    # A picture needs no exact prices, so floats are good enough here.
    prices.plot(starts, [float(bar.close) for bar in history.bars], label="close")
    prices.fill_between(
        starts,
        [float(bar.low) for bar in history.bars],
        [float(bar.high) for bar in history.bars],
        alpha=0.2,
        label="low to high",
    )
    mark = "" if history.kind.value == "live" else f" ({history.kind.value})"
    prices.set_title(f"{history.symbol}, {history.period} in bars of {history.bar}{mark}")
    prices.legend(loc="upper left")
    prices.grid(alpha=0.3)
    widths = [(after - before) * 0.8 for before, after in pairwise(starts)]
    volumes.bar(starts, [float(bar.volume or 0) for bar in history.bars], width=min(widths, default=1))
    volumes.set_ylabel("volume")
    figure.autofmt_xdate()
    figure.savefig(path, dpi=120)


def main() -> int:
    """Fetch a history and draw it. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw a price history into a PNG.")
    parser.add_argument("symbol", help="such as AAPL or SAP@IBIS")
    parser.add_argument("path", type=Path, help="the PNG to write")
    parser.add_argument("--period", default="6m", help="how far back (default: 6m)")
    parser.add_argument("--bar", default="1d", help="how long a bar is (default: 1d)")
    args = parser.parse_args()
    mpl.use("Agg")  # no window
    with BridgeClient() as client:
        try:
            history = client.history(args.symbol, args.period, args.bar)
        except ClientError as exc:
            print(exc.user_message, f"({exc.code}: {exc.detail})", file=sys.stderr)
            return 1
    draw(history, args.path)
    print(f"{args.path}: {len(history.bars)} bars")
    return 0


if __name__ == "__main__":
    sys.exit(main())
