"""Run `bridge.py` without rate limits and without a cache: for tests of everything else.

It is run by its path, so it can be started from any directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.wide import run
from tests.unlimited import UNLIMITED

if __name__ == "__main__":
    sys.exit(run(UNLIMITED, sys.argv[1:]))
