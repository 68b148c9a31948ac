"""A PostgreSQL server of Debian's package, on a Unix socket in a folder of its own. Root cannot run one, so it changes
to another user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADMIN = "postgres"
UNPRIVILEGED = 65534  # nobody


def programs() -> Path | None:
    """The folder of the server's programs; None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _run(folder: Path, *words: str | Path) -> None:
    """Run one of the server's programs to its end, not as root."""
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    groups = None if user is None else ()
    quiet = subprocess.DEVNULL
    subprocess.run(
        words, cwd=folder, user=user, group=user, extra_groups=groups, check=True, stdout=quiet, stderr=quiet
    )


@contextmanager
def running_server(binaries: Path) -> Iterator[Path]:
    """Start an empty server and yield the folder of its socket; nobody else can reach it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        os.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
    data = folder / "data"
    try:
        _run(folder, binaries / "initdb", "-D", data, "-U", ADMIN, "--auth=trust", "--no-sync")
        settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        control = (binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log")
        _run(folder, *control, "-o", settings, "start")
        yield folder
        _run(folder, *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def address(folder: Path, role: str = ADMIN, database: str = "postgres") -> str:
    """The address of a database of this server."""
    return f"postgresql://{role}@/{database}?host={folder}"
