"""The scripts a person runs as root: whole, and as shellcheck likes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*ROOT.glob("deploy/**/*.sh"), *ROOT.glob("tests/system/*.sh")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_well_formed(script: Path) -> None:
    """As its own shell reads it."""
    shell = "sh" if script.read_text().startswith("#!/bin/sh") else "bash"

    assert subprocess.run((shell, "-n", str(script)), check=False).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_clean(script: Path) -> None:
    """No quoting by luck."""
    found = subprocess.run(("shellcheck", "-x", str(script)), check=False, capture_output=True, text=True, cwd=ROOT)

    assert found.stdout == ""


@pytest.mark.parametrize(("word", "status"), [("--help", 0), ("--nonsense", 2)])
def test_the_installer_explains_itself(word: str, status: int) -> None:
    """Without root, and without doing anything."""
    said = subprocess.run(("sh", str(ROOT / "deploy/install.sh"), word), check=False, capture_output=True, text=True)

    assert "--dry-run" in said.stdout + said.stderr
    assert said.returncode == status
