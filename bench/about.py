"""Describe the date, the machine and the versions of a run: without them its figures cannot be compared."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.programs import find_nginx

BRIDGE_PACKAGES = ("aiohttp", "structlog")
YARDSTICK_PACKAGES = ("fastapi", "uvicorn", "httpx")
PRINT_VERSIONS = (
    "import importlib.metadata as m, sys; print(*(f'{name} {m.version(name)}' for name in sys.argv[1:]), sep=', ')"
)
MACHINE_ROWS = ("date", "machine", "system", "Python")


def describe_machine() -> list[tuple[str, str]]:
    """Return the rows about date and machine, for a bench that compares the bridge with no other program."""
    return [row for row in describe_run(sys.executable, Path("none")) if row[0] in MACHINE_ROWS]


def print_progress(message: str) -> None:
    """Print a line with the time to stderr; the figures go to stdout."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def describe_run(python: str, yardstick_python: Path) -> list[tuple[str, str]]:
    """Return the table at the head of the results, row by row."""
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("machine", f"{_cpu_model()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("the bridge and the pass-through", _read_output(python, "-c", PRINT_VERSIONS, *BRIDGE_PACKAGES)),
        ("yardsticks", _read_output(str(yardstick_python), "-c", PRINT_VERSIONS, *YARDSTICK_PACKAGES)),
        ("nginx", _parse_version(_read_output(find_nginx() or "", "-v"))),
        ("wrk", _parse_version(_read_output("wrk", "-v"))),
    ]


def _cpu_model() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _read_output(*command: str) -> str:
    """Run a program and return what it prints to stdout or, if that is empty, to stderr; `""` if it does not exist."""
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
    except OSError:
        return ""
    return (completed.stdout or completed.stderr).strip()


def _parse_version(text: str) -> str:
    match = re.search(r"\d+\.\d+[\w.\-]*", text)
    return match.group() if match else "not installed"
