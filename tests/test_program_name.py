"""The name of the command, as messages write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_bridge.program_name import RELEASE_MARK, installed_name, is_installed, name_commands, program_name

ROOT = Path(__file__).resolve().parents[1]


def test_a_checkout_has_bridge_py() -> None:
    """There is no other command there."""
    assert (program_name(), is_installed()) == ("bridge.py", False)


def test_an_installed_release_has_the_command_in_path(tmp_path: Path) -> None:
    """`bridge.py` is then in a directory that no person knows."""
    (tmp_path / RELEASE_MARK).touch()

    assert (program_name(tmp_path), is_installed(tmp_path)) == ("ibkr-bridge", True)


@pytest.mark.parametrize("name", ["ibkr-bridge", "ibkr-bridge-live"])
def test_each_instance_has_the_name_of_its_directory(tmp_path: Path, name: str) -> None:
    """Else the second one would tell a person to restart the first one."""
    release = tmp_path / name / "releases" / "0.1.0-0123"
    release.mkdir(parents=True)
    (release / RELEASE_MARK).touch()

    assert (program_name(release), installed_name(release)) == (name, name)


def test_the_installer_writes_the_mark() -> None:
    """If it wrote another file, installed hosts would name a command that does not exist."""
    assert f'run touch "$1/{RELEASE_MARK}"' in (ROOT / "deploy/install.sh").read_text()


@pytest.mark.parametrize(
    ("text", "installed"),
    [
        ("`bridge.py resume` allows it", "`ibkr-bridge resume` allows it"),
        ("run: python bridge.py genkey", "run: ibkr-bridge genkey"),
        ("nothing to run", "nothing to run"),
        ("my_bridge.python", "my_bridge.python"),
    ],
)
def test_a_text_names_the_command_of_this_host(text: str, installed: str) -> None:
    """A person copies the command from the message."""
    assert name_commands(text, "ibkr-bridge") == installed
    assert name_commands(text, "bridge.py") == text
