"""The name of the command in messages: `bridge.py` in a checkout, `ibkr-bridge` on an installed host.

A second instance on the same host has the directory, the service and the command `ibkr-bridge-NAME`.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST_NAME, SOURCE_NAME = "ibkr-bridge", "bridge.py"
RELEASE_MARK = ".whole"
"""`deploy/install.sh` writes this file into each complete release, and nobody else does."""
SOURCE_PATTERN = re.compile(r"(?:python3? )?\bbridge\.py\b")


def program_name(root: Path = ROOT) -> str:
    """The name of the command.

    Args:
        root: the directory of the program.
    """
    return installed_name(root) if is_installed(root) else SOURCE_NAME


def installed_name(root: Path = ROOT) -> str:
    """The name of the service and of its command: that of the directory in which the releases are.

    Args:
        root: the directory of the program, such as /opt/ibkr-bridge-live/releases/0.1.0-….
    """
    home = root.parents[1].name if is_installed(root) else FIRST_NAME
    return home if home.startswith(FIRST_NAME) else FIRST_NAME


def is_installed(root: Path = ROOT) -> bool:
    """Whether the program was installed as a service of this machine."""
    return (root / RELEASE_MARK).is_file()


PROGRAM = program_name()
INSTALLED_NAME = installed_name()


def name_commands(text: str, name: str = PROGRAM) -> str:
    """The text with the commands that it names as they are typed on this host."""
    return text if name == SOURCE_NAME else SOURCE_PATTERN.sub(name, text)
