"""What systemd says of the installed service: its state, and whether its sandbox is the one that was installed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ibkr_bridge.program_name import INSTALLED_NAME

SERVICE, SOCKET = f"{INSTALLED_NAME}.service", f"{INSTALLED_NAME}.socket"
INSTALLED_STATE = Path("/var/lib", INSTALLED_NAME)
TIMEOUT_S = 3.0  # systemd answers in milliseconds
SANDBOX: Mapping[str, str] = {
    "User": INSTALLED_NAME,
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictNamespaces": "yes",
    "UMask": "0077",
}
"""The properties of the shipped unit whose loss gives the process more rights, as `systemctl show` prints them."""
STATE_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "NeedDaemonReload")


@dataclass(frozen=True)
class UnitState:
    """The properties of the service and of its socket, by name."""

    service: Mapping[str, str] = field(default_factory=dict)
    socket: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_installed(self) -> bool:
        """Whether systemd has the service."""
        return self.service.get("LoadState") == "loaded"

    @property
    def is_running(self) -> bool:
        """Whether the service runs, or its socket would start it."""
        return "active" in (self.service.get("ActiveState"), self.socket.get("ActiveState"))

    @property
    def is_stopped(self) -> bool:
        """Whether somebody has stopped the service and its socket."""
        return self.service.get("ActiveState") == "inactive" and not self.is_running

    @property
    def is_failed(self) -> bool:
        """Whether the service has ended and is not started again."""
        return self.service.get("ActiveState") == "failed"

    @property
    def lost_protections(self) -> dict[str, str]:
        """Properties of the sandbox that differ from the shipped unit, with what they are."""
        present = {name: self.service.get(name, "") for name in SANDBOX}
        return {name: value for name, value in present.items() if self.is_installed and value != SANDBOX[name]}


def probe_unit() -> UnitState:
    """Ask systemd; without it nothing is known."""
    return UnitState(_show(SERVICE, (*STATE_PROPERTIES, *SANDBOX)), _show(SOCKET, STATE_PROPERTIES))


def _show(unit: str, names: tuple[str, ...]) -> dict[str, str]:
    try:
        result = subprocess.run(  # noqa: S603  # no shell: the arguments are fixed
            ["/usr/bin/systemctl", "show", unit, "--no-pager", f"--property={','.join(names)}"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_properties(result.stdout) if result.returncode == 0 else {}


def parse_properties(text: str) -> dict[str, str]:
    """The lines `Name=value` that `systemctl show` prints."""
    return {name: value for name, separator, value in (line.partition("=") for line in text.splitlines()) if separator}
