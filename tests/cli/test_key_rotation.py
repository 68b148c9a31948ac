"""The steps of a rotation, each interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibkr_bridge.cli import key_rotation
from ibkr_bridge.cli.env_file import write_settings
from ibkr_bridge.cli.key_rotation import KeySource, Phase, RotationError, find_source
from ibkr_bridge.state_file import write_atomic

OLD, NEW = "old-key-0123456789-0123456789-0123456789", "new-key-0123456789-0123456789-0123456789"


@pytest.fixture
def source(tmp_path: Path) -> KeySource:
    """A key in `.env`, between other lines."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"# mine\nIBKR_BRIDGE_KEY={OLD}\nOTHER=1\n")
    dotenv.chmod(0o640)
    return find_source({}, dotenv, tmp_path)


@pytest.fixture
def credential(tmp_path: Path) -> KeySource:
    """A key in a credential of systemd; `.env` has other settings."""
    (tmp_path / ".env").write_text("IBKR_READ_ONLY=yes\n")
    (tmp_path / "IBKR_BRIDGE_KEY").write_text(OLD + "\n")
    return find_source({"CREDENTIALS_DIRECTORY": str(tmp_path)}, tmp_path / ".env", tmp_path)


def test_both_keys_live_then_the_new_one(source: KeySource) -> None:
    """Other lines stay, and whoever could read the file still can."""
    phases = [source.phase]
    source.begin(NEW)
    phases.append(source.phase)
    text = source.dotenv.read_text()
    source.retire()
    phases.append(source.phase)
    source.finish()

    assert text == f"# mine\nIBKR_BRIDGE_KEY={NEW}\nOTHER=1\nIBKR_BRIDGE_KEY_PREVIOUS={OLD}\n"
    assert source.dotenv.read_text() == f"# mine\nIBKR_BRIDGE_KEY={NEW}\nOTHER=1\n"
    assert source.dotenv.stat().st_mode & 0o777 == 0o640
    assert [*phases, source.phase] == [Phase.NONE, Phase.BOTH_LIVE, Phase.RETIRED, Phase.NONE]


def test_a_credential_is_replaced_in_its_own_file(credential: KeySource) -> None:
    """The former key goes into `.env`, as the unit passes only one credential at a restart."""
    credential.begin(NEW)

    assert (credential.key, credential.former_key, credential.phase) == (NEW, OLD, Phase.BOTH_LIVE)
    assert credential.place.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in credential.dotenv.parent.iterdir()) == [".env", "IBKR_BRIDGE_KEY"]


@pytest.mark.parametrize("step", range(3))
def test_an_interrupted_beginning_loses_no_key(
    credential: KeySource, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Whichever write is the last one, the next run finds both keys, or begins again with the old one."""
    writes = 0

    def interrupt(write: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: object, **kwargs: object) -> None:
            nonlocal writes
            if writes == step:
                raise KeyboardInterrupt
            writes += 1
            write(*args, **kwargs)

        return counted

    with monkeypatch.context() as patched:
        patched.setattr(key_rotation, "write_atomic", interrupt(write_atomic))
        patched.setattr(key_rotation, "write_settings", interrupt(write_settings))
        with pytest.raises(KeyboardInterrupt):
            credential.begin(NEW)

    credential.complete_beginning()

    expected = (NEW, OLD) if step == 2 else (OLD, "")
    assert (credential.key, credential.former_key) == expected
    assert credential.phase is (Phase.BOTH_LIVE if step == 2 else Phase.NONE)


@pytest.mark.parametrize("name", ["IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_FILE", "IBKR_BRIDGE_KEY_PREVIOUS"])
def test_a_key_of_the_environment_is_replaced_there(source: KeySource, name: str) -> None:
    """What this program writes into `.env` would have no effect."""
    with pytest.raises(RotationError, match=f"the variable {name} of the environment"):
        find_source({name: OLD}, source.dotenv, source.state_dir)


def test_an_encrypted_credential_is_replaced_by_hand(tmp_path: Path) -> None:
    """Only systemd can write it."""
    with pytest.raises(RotationError, match=r"neither \.env nor a plain credential"):
        find_source({"CREDENTIALS_DIRECTORY": str(tmp_path)}, tmp_path / ".env", tmp_path)


def test_a_state_directory_is_needed(source: KeySource) -> None:
    """It shows where a rotation stands."""
    with pytest.raises(RotationError, match="IBKR_BRIDGE_STATE_DIR"):
        find_source({}, source.dotenv, None)
