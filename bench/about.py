"""When, where and of which versions: without these a figure is worth nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.programs import nginx

OURS = ("aiohttp", "structlog")
THEIRS = ("fastapi", "uvicorn", "httpx")
VERSIONS = (
    "import importlib.metadata as m, sys; print(*(f'{name} {m.version(name)}' for name in sys.argv[1:]), sep=', ')"
)


SHORT = ("date", "machine", "system", "Python")


def in_short() -> list[tuple[str, str]]:
    """The same where nothing else is measured beside the bridge."""
    return [line for line in about(sys.executable, Path("none")) if line[0] in SHORT]


def say(what: str) -> None:
    """A word on how far it is, beside the figures."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def about(python: str, yardsticks: Path) -> list[tuple[str, str]]:
    """The head of the results, line by line."""
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("machine", f"{_cpu()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("the bridge and the pass-through", _said(python, "-c", VERSIONS, *OURS)),
        ("yardsticks", _said(str(yardsticks), "-c", VERSIONS, *THEIRS)),
        ("nginx", _version(_said(nginx() or "", "-v"))),
        ("wrk", _version(_said("wrk", "-v"))),
    ]


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _said(*command: str) -> str:
    """What a program says, on whichever stream; nothing where there is none."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
    except OSError:
        return ""
    return (ran.stdout or ran.stderr).strip()


def _version(said: str) -> str:
    found = re.search(r"\d+\.\d+[\w.\-]*", said)
    return found.group() if found else "not installed"
