"""A control group for each machine. In a shared group, a systemd would also manage the processes of the other one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # version 2, alone or together with version 1
VERSION_1_COPY = Path("/sys/fs/cgroup/systemd")  # systemd-nspawn creates its groups here too, if there is version 1
JOIN_AND_RUN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class Cgroup:
    """A new control group below the one of this process.

    Raises:
        OSError: this machine has no control groups of version 2, or does not allow new ones.
    """

    def __init__(self) -> None:
        mount = next((each for each in MOUNTS if (each / "cgroup.procs").exists()), None)
        if mount is None:
            raise FileNotFoundError("no control groups of version 2")
        mine = Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()[0]
        self._path = Path(tempfile.mkdtemp(prefix="ibkr-bridge-test-", dir=mount / mine))
        self._copy = VERSION_1_COPY / self._path.relative_to(mount)

    def command_inside(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command, preceded by a step that moves its process into the group."""
        return ("/bin/sh", "-c", JOIN_AND_RUN, str(self._path), *command)

    def remove(self) -> None:
        """Remove the group and all groups below it. Their processes must have ended."""
        for base in (self._path, self._copy):
            for directory, _, _ in os.walk(base, topdown=False):
                Path(directory).rmdir()
