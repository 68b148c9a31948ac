"""The files of the profiles that were made while the bridge ran, one for each, in the form of other profile files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ibkr_bridge.config.profile_files import SUFFIX
from ibkr_bridge.state_file import check_private, write_atomic


def write_profile(directory: Path, name: str, members: Mapping[str, object]) -> None:
    """Write the file of one profile, which must be a valid one.

    Raises:
        OSError: it cannot be written.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    check_private(directory)
    lines = (f"{member} = {_toml(value)}" for member, value in members.items())
    write_atomic(directory / f"{name}{SUFFIX}", "\n".join((f"[profile.{name}]", *lines, "")))


def remove_profile(directory: Path, name: str) -> None:
    """Remove the file of one profile, if there is one.

    Raises:
        OSError: it cannot be removed.
    """
    write_atomic(directory / f"{name}{SUFFIX}", None)


def _toml(value: object) -> str:
    """A value as TOML writes it. A basic string of TOML is a string of JSON, but for the escape of DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
