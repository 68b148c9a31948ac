#!/usr/bin/env python3
"""IBKR Bridge: `python bridge.py` serves, `python bridge.py --help` lists the other commands.

If the Python that runs it lacks the packages, the program starts again with the `.venv` beside it. If there is none, it
prints how to make one.
"""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
REQUIRED_MODULES = ("aiohttp", "structlog", "dotenv", "jwt", "msgspec")
EXIT_MISCONFIGURED = 78


def find_missing() -> list[str]:
    """What this Python lacks to run the bridge: packages, or a recent version."""
    if sys.version_info < (3, 11):
        return ["Python 3.11 or later"]
    return [name for name in REQUIRED_MODULES if importlib.util.find_spec(name) is None]


def start() -> int:
    """Run the command line with a Python that has everything. Returns the exit status."""
    missing = find_missing()
    if not missing:
        sys.path.insert(0, str(HERE))
        from ibkr_bridge.cli import main

        return main(sys.argv[1:])
    python = VENV / "bin" / "python"
    if os.access(python, os.X_OK) and (VENV / "pyvenv.cfg").exists() and Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(python, [str(python), str(HERE / "bridge.py"), *sys.argv[1:]])  # noqa: S606  # our own file, no shell
    print(f"This Python ({sys.executable}) lacks: {', '.join(missing)}.", file=sys.stderr)
    print(f"Make the environment: make -C {HERE} setup", file=sys.stderr)
    return EXIT_MISCONFIGURED


if __name__ == "__main__":
    sys.exit(start())
