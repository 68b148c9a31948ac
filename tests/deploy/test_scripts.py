"""The scripts that are run as root: their syntax and shellcheck."""

from __future__ import annotations

import os
import re
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


def test_purging_is_for_removing_only() -> None:
    """A person who upgrades must not lose the settings by a word too much."""
    command = ("sh", str(ROOT / "deploy/install.sh"), "--upgrade", "--purge")
    result = subprocess.run(command, check=False, capture_output=True, text=True)

    assert (result.returncode, "--purge is for --uninstall only" in result.stderr) == (2, True)


PLANTED_MODULES = ("sys", "venv", "ensurepip", "pip", "compileall", "sitecustomize", "encodings", "ipaddress", "socket")
PLANTED_PROGRAMS = ("dirname", "readlink", "awk", "python3", "sha256sum", "install")


@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_the_installer_runs_nothing_from_the_directory_it_is_started_in(tmp_path: Path, way: str) -> None:
    """It runs as root, perhaps in /tmp, where anybody can put a `venv.py`."""
    checkout, elsewhere, tools, ran = (tmp_path / name for name in ("checkout", "elsewhere", "tools", "ran"))
    for each in (checkout / "deploy", elsewhere, tools):
        each.mkdir(parents=True)
    script = (ROOT / "deploy/install.sh").read_text().replace("[ -d /run/systemd/system ]", "true")
    (checkout / "deploy" / "install.sh").write_text(script)
    shutil.copy(ROOT / "deploy/installing.py", checkout / "deploy")
    for name in ("bridge.py", "requirements.txt", ".env.example", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    (checkout / "ibkr_bridge").mkdir()
    (checkout / "ibkr_bridge" / "__init__.py").write_text('VERSION = "0"\n')
    for name in PLANTED_MODULES:
        (elsewhere / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    for name in PLANTED_PROGRAMS:
        (elsewhere / name).write_text(f"#!/bin/sh\necho {name} >>{ran}\n")
        (elsewhere / name).chmod(0o755)
    (tools / "id").write_text("#!/bin/sh\necho 0\n")
    (tools / "id").chmod(0o755)
    path = str(checkout / "deploy/install.sh") if way == "absolute" else "../checkout/deploy/install.sh"

    result = subprocess.run(
        ("sh", path, "--dry-run"),
        check=False,
        capture_output=True,
        text=True,
        cwd=elsewhere,
        env={"PATH": f".:{tools}:/usr/local/bin:/usr/bin:/bin", "PYTHON": python_of_the_machine(), "PYTHONPATH": "."},
    )

    assert not ran.exists(), ran.read_text()
    assert "would run" in result.stdout, result.stderr


def python_of_the_machine() -> str:
    """A Python that the installer accepts: recent, and not in somebody's home."""
    check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11) or sys.base_prefix.startswith('/root'))"
    names = [f"/usr/{place}bin/python3{minor}" for place in ("local/", "") for minor in ("", ".11", ".12", ".13")]
    for name in filter(os.path.exists, names):
        if subprocess.run((name, "-I", "-c", check), check=False, capture_output=True).returncode == 0:
            return name
    pytest.skip("this machine has no Python that the installer accepts")


def test_every_python_of_the_installer_is_isolated() -> None:
    """Also on a machine where the test above is skipped."""
    script = (ROOT / "deploy/install.sh").read_text()
    calls = [line for line in script.splitlines() if re.search(r'python" -(?!I|V)|python" "', line)]

    assert calls == []
    assert script.index("\ncd /\n") < script.index("readlink")
