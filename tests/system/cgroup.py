"""A control group for each machine: two in the same one would see each other's processes, and trip over them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # of version 2: alone, or beside version 1
COPIED_TO = Path("/sys/fs/cgroup/systemd")  # where systemd-nspawn repeats its groups, if version 1 is there
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class Cgroup:
    """Made below the one this process is in.

    Raises:
        OSError: there is no version 2 here, or it cannot be written.
    """

    def __init__(self) -> None:
        mount = next((each for each in MOUNTS if (each / "cgroup.procs").exists()), None)
        if mount is None:
            raise FileNotFoundError("no control groups of version 2")
        mine = Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()[0]
        self._path = Path(tempfile.mkdtemp(prefix="ibkr-bridge-test-", dir=mount / mine))
        self._copy = COPIED_TO / self._path.relative_to(mount)

    def entered_by(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command, which begins by going into it."""
        return ("/bin/sh", "-c", ENTER, str(self._path), *command)

    def remove(self) -> None:
        """All that is below it first; its processes have ended."""
        for base in (self._path, self._copy):
            for place, _, _ in os.walk(base, topdown=False):
                Path(place).rmdir()
