"""How commands find a running demo: a private file beside its control socket, with its address and its key.

The key is in the file only if the demo has made it; one that a person has set may be real. A demo that is killed leaves
its file behind. So a file counts only while something listens on the control socket beside it.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ibkr_bridge.cli import control_path, runtime_folder
from ibkr_bridge.file_trust import open_regular

SUFFIX = ".demo.json"
CONNECT_TIMEOUT_S = 1.0  # a demo that runs accepts at once


@dataclass(frozen=True)
class DemoFile:
    """A running demo."""

    url: str
    """The address of its bridge."""
    gateway: str
    """The address of its simulated Gateway."""
    state_dir: str
    key: str = field(repr=False)

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which a command reaches it."""
        return {
            "IBKR_BRIDGE_URL": self.url,
            "IBKR_BRIDGE_KEY": self.key,
            "IBKR_GATEWAY_URL": self.gateway,
            "IBKR_BRIDGE_STATE_DIR": self.state_dir,
        }

    def write(self) -> Path:
        """Write the file, readable by this user alone; one that a dead demo has left is replaced."""
        path = runtime_folder() / f"{_port_of(self.url)}{SUFFIX}"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump(asdict(self), file)
        return path


def find_demo() -> DemoFile | None:
    """The demo that was started last, of those that run and have made their key; None if there is none."""
    try:
        files = sorted(runtime_folder().glob(f"*{SUFFIX}"), key=lambda path: path.lstat().st_mtime, reverse=True)
    except OSError:
        return None
    return next((demo for path in files if (demo := _read(path)) is not None and _is_running(demo)), None)


def _read(path: Path) -> DemoFile | None:
    try:
        with os.fdopen(open_regular(path, os.O_NOFOLLOW)) as file:
            demo = DemoFile(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
    return demo if all(isinstance(value, str) for value in asdict(demo).values()) else None


def _is_running(demo: DemoFile) -> bool:
    """Whether the demo listens on its control socket; the port may belong to another program by now."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(CONNECT_TIMEOUT_S)
        try:
            control.connect(str(control_path(_port_of(demo.url))))
        except (OSError, ValueError):
            return False
    return True


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
