"""The steps of a change of the main key: both keys live, then the new one alone. `rotate_key.py` is the command.

Where a rotation stands can be seen at any time: `IBKR_BRIDGE_KEY_PREVIOUS` in `.env` says that the former key is still
accepted, and a marker in the state directory that the bridge may not know of its end yet. So a run that was interrupted
is continued by the next one. No step leaves a moment in which a key that is in use is not written down.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ibkr_bridge.cli.env_file import write_settings
from ibkr_bridge.config.sources import read_dotenv
from ibkr_bridge.state_file import load_text, write_atomic

MARKER = "key_rotation"
KEY, PREVIOUS = "IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_PREVIOUS"
ELSEWHERE = "the key comes from {place}: replace it there, and set IBKR_BRIDGE_KEY_PREVIOUS to the former one"


class Phase(Enum):
    """Where a rotation stands."""

    NONE = "none"
    BOTH_LIVE = "both live"
    RETIRED = "the former key is removed, and the bridge may not know it yet"


class RotationError(Exception):
    """The rotation cannot go on. The message says why, and what to do."""


@dataclass(frozen=True)
class KeySource:
    """Where the key is written: in `.env`, or in a credential of systemd. The former key is always in `.env`."""

    dotenv: Path
    state_dir: Path
    credential: Path | None = None

    @property
    def place(self) -> Path:
        """The file that has the key."""
        return self.credential or self.dotenv

    @property
    def phase(self) -> Phase:
        """Where the rotation stands."""
        if self.former_key or self._saved_key.exists():
            return Phase.BOTH_LIVE
        return Phase.RETIRED if self._marker.exists() else Phase.NONE

    @property
    def former_key(self) -> str:
        """The key that is to be retired; empty if there is none."""
        return read_dotenv(self.dotenv, []).get(PREVIOUS, "")

    @property
    def key(self) -> str:
        """The key in use."""
        if self.credential is not None:
            return load_text(self.credential).strip()
        return read_dotenv(self.dotenv, []).get(KEY, "")

    @property
    def _marker(self) -> Path:
        return self.state_dir / MARKER

    @property
    def _saved_key(self) -> Path:
        """The former key, until it is in `.env`: two files cannot be replaced in one step."""
        return self.place.with_name(f"{KEY}.former")

    def begin(self, new_key: str) -> None:
        """Write the new key, and the former one as the previous key.

        Raises:
            OSError, EnvFileError: a file cannot be written. The next run goes on from here.
        """
        if self.credential is None:
            write_settings(self.dotenv, {KEY: new_key, PREVIOUS: self.key}, keep_mode=True)
            return
        write_atomic(self._saved_key, self.key)
        write_atomic(self.credential, new_key + "\n")
        self.complete_beginning()

    def complete_beginning(self) -> None:
        """Write the former key into `.env`, if an interrupted run has not done so.

        Raises:
            OSError, EnvFileError: as above.
        """
        if not self._saved_key.exists():
            return
        former = load_text(self._saved_key).strip()
        if former != self.key:  # else the interruption came before the new key was written, and nothing has begun
            write_settings(self.dotenv, {PREVIOUS: former}, keep_mode=True)
        self._saved_key.unlink()

    def retire(self) -> None:
        """Remove the former key.

        Raises:
            OSError, EnvFileError: as above.
        """
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self._marker, "the former key is being removed\n")
        write_settings(self.dotenv, {}, remove=(PREVIOUS,), keep_mode=True)

    def finish(self) -> None:
        """Forget the rotation, once the bridge knows that the former key is gone."""
        self._marker.unlink(missing_ok=True)


def find_source(env: Mapping[str, str], dotenv: Path, state_dir: Path | None) -> KeySource:
    """Where the key is written.

    Raises:
        RotationError: it comes from a place that this program does not write.
    """
    if state_dir is None:
        raise RotationError("there is no state directory: set IBKR_BRIDGE_STATE_DIR")
    for name in (KEY, f"{KEY}_FILE", PREVIOUS, f"{PREVIOUS}_FILE"):
        if name in env:
            raise RotationError(ELSEWHERE.format(place=f"the variable {name} of the environment"))
    settings = read_dotenv(dotenv, [])
    if settings.get(KEY):
        return KeySource(dotenv, state_dir)
    if settings.get(f"{KEY}_FILE"):
        raise RotationError(ELSEWHERE.format(place=f"the file that {KEY}_FILE names"))
    credential = Path(env.get("CREDENTIALS_DIRECTORY", "")) / KEY
    if not env.get("CREDENTIALS_DIRECTORY") or not os.access(credential, os.R_OK):
        raise RotationError(ELSEWHERE.format(place="neither .env nor a plain credential"))
    return KeySource(dotenv, state_dir, credential)
