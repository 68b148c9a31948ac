"""`bridge.py` as it is, but without IBKR's pace and without a memory: for tests of everything else.

It is run by its path, from any directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.wide import run
from ibkr_bridge.profiles.options import UNHURRIED

if __name__ == "__main__":
    sys.exit(run(UNHURRIED, sys.argv[1:]))
