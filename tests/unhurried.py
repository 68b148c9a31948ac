"""`bridge.py` as it is, but without IBKR's pace and without a memory: for tests of everything else.

It is run by its path, from any directory.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ibkr_bridge.app import Bridge
from ibkr_bridge.cli import demo, main, serve
from ibkr_bridge.traffic.manners import UNHURRIED

if __name__ == "__main__":
    for command in (serve, demo):
        command.Bridge = functools.partial(Bridge, manners=UNHURRIED)  # type: ignore[attr-defined]
    sys.exit(main(sys.argv[1:]))
