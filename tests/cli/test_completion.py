"""`bridge.py completion`: what the shells offer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ibkr_bridge.cli import COMMANDS
from ibkr_bridge.cli.completion import SHELLS, bash_script, completions, fish_script
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, Place

ASK = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_ibkr_bridge
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    path = tmp_path_factory.mktemp("completion") / "script"
    path.write_text(bash_script(completions()))
    return path


def offered(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    command = ["bash", "--norc", "-uc", ASK, "bash", str(script), "ibkr-bridge", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["sta"], ["status"]),
        (["re"], ["resume", "reconnect", "reload", "restore"]),
        (["status", "--w"], ["--watch"]),
        (["orders", "v"], ["verify"]),
        (["keys", ""], ["add", "grant", "revoke", "list", "--help"]),
        (["keys", "add", "--t"], ["--trade"]),
        (["keys", "revoke", "bot", "--o"], ["--older"]),
        (["help", "rot"], ["rotate-key"]),
        (["nothing", ""], []),
    ],
)
def test_bash_offers_what_the_parsers_accept(script: Path, words: list[str], offers: list[str]) -> None:
    """In a real bash."""
    assert offered(script, *words) == offers


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script(place: Place, shell: str) -> None:
    """With every command."""
    result = place.run("completion", shell)

    assert result.returncode == EXIT_OK
    assert all(command in result.stdout for command in COMMANDS)


def test_another_shell_is_refused(place: Place) -> None:
    """And the ones that exist are named."""
    result = place.run("completion", "tcsh")

    assert result.returncode == EXIT_FAILURE
    assert "bash" in result.stderr


def test_texts_for_fish_are_quoted() -> None:
    """An apostrophe in a help text would end the text."""
    text = fish_script(completions())

    assert all(line.replace("\\'", "").count("'") % 2 == 0 for line in text.splitlines())


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing")
def test_the_script_is_good_bash(script: Path) -> None:
    """SC2207: the words have no spaces."""
    command = ["shellcheck", "--shell=bash", "--exclude=SC2207", str(script)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == ""
