"""The commands of the README, run as a new user would type them, print what the README shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Every command of the README's consoles with the output shown below it, in order."""
    consoles = "".join(BLOCKS)
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", consoles, re.MULTILINE)


@pytest.fixture
def demo(tmp_path: Path, unused_tcp_port: int) -> Iterator[dict[str, str]]:
    """Run the demo; the value is the environment of a second terminal, with the key that the demo printed."""
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    url = f"http://127.0.0.1:{unused_tcp_port}"
    process = subprocess.Popen(  # our own program
        [sys.executable, "bridge.py", "demo"],
        cwd=ROOT,
        env={**env, "IBKR_BRIDGE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(r"export (IBKR_BRIDGE_KEY|IBKR_BRIDGE_URL)=(\S+)", line):
            env[match.group(1)] = match.group(2)
        if "trigger --help" in line:
            break
    yield env
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    assert process.wait(20) == 0


def test_every_console_line_prints_what_the_readme_prints(demo: dict[str, str]) -> None:
    """These are the first five minutes of a new user."""
    assert len(commands()) >= 8
    for command, output in commands():
        adapted = command.replace("http://127.0.0.1:8000", demo["IBKR_BRIDGE_URL"]).replace(
            ".venv/bin/python", sys.executable
        )
        completed = subprocess.run(adapted, shell=True, cwd=ROOT, env=demo, capture_output=True, text=True, check=False)  # noqa: S602  # as a shell runs it

        assert completed.stdout.rstrip("\n") == output.rstrip("\n"), command
        assert completed.returncode == 0, command
