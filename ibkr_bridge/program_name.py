"""The name of the command in messages: `ibkr-bridge` on an installed host, where it is in PATH, else `bridge.py`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSTALLED_NAME, SOURCE_NAME = "ibkr-bridge", "bridge.py"
RELEASE_MARK = ".whole"
"""`deploy/install.sh` writes this file into each complete release, and nobody else does."""
SOURCE_PATTERN = re.compile(r"(?:python3? )?\bbridge\.py\b")


def program_name(root: Path = ROOT) -> str:
    """The name of the command.

    Args:
        root: the directory of the program.
    """
    return INSTALLED_NAME if is_installed(root) else SOURCE_NAME


def is_installed(root: Path = ROOT) -> bool:
    """Whether the program was installed as a service of this machine."""
    return (root / RELEASE_MARK).is_file()


PROGRAM = program_name()


def name_commands(text: str, name: str = PROGRAM) -> str:
    """The text with the commands that it names as they are typed on this host."""
    return text if name == SOURCE_NAME else SOURCE_PATTERN.sub(name, text)
