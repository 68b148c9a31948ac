"""The scripts that are run as root: their syntax and shellcheck."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*ROOT.glob("deploy/**/*.sh"), *ROOT.glob("tests/system/*.sh")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_no_syntax_error(script: Path) -> None:
    """In the shell that runs it."""
    shell = "sh" if script.read_text().startswith("#!/bin/sh") else "bash"

    assert subprocess.run((shell, "-n", str(script)), check=False).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """Missing quotes, for example."""
    result = subprocess.run(("shellcheck", "-x", str(script)), check=False, capture_output=True, text=True, cwd=ROOT)

    assert result.stdout == ""


@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("--nonsense", 2)])
def test_the_installer_explains_itself(option: str, status: int) -> None:
    """Without root, and without changing anything."""
    result = subprocess.run(
        ("sh", str(ROOT / "deploy/install.sh"), option), check=False, capture_output=True, text=True
    )

    assert "--dry-run" in result.stdout + result.stderr
    assert result.returncode == status
