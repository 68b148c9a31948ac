#!/usr/bin/env python3
"""IBKR Bridge: `python bridge.py` serves, `python bridge.py --help` lists what else it can do.

Started by a Python that lacks the packages, it goes on with the `.venv` beside it; where there is none it says how to
make one.
"""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
NEEDED = ("aiohttp", "structlog", "dotenv", "jwt")
MISCONFIGURED = 78


def lacking() -> list[str]:
    """What this Python lacks to run the bridge."""
    if sys.version_info < (3, 11):
        return ["Python 3.11 or later"]
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def start() -> int:
    """Run the command line with a Python that can."""
    missing = lacking()
    if not missing:
        sys.path.insert(0, str(HERE))
        from ibkr_bridge.cli import main

        return main(sys.argv[1:])
    python = VENV / "bin" / "python"
    if os.access(python, os.X_OK) and (VENV / "pyvenv.cfg").exists() and Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(python, [str(python), str(HERE / "bridge.py"), *sys.argv[1:]])  # noqa: S606  # our own file, no shell
    print(f"This Python ({sys.executable}) lacks: {', '.join(missing)}.", file=sys.stderr)
    print(f"Make the environment: make -C {HERE} setup", file=sys.stderr)
    return MISCONFIGURED


if __name__ == "__main__":
    sys.exit(start())
