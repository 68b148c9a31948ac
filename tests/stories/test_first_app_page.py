"""The page about a first app: its console prints what the page shows. `tests/node` runs its TypeScript."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stories.test_readme import demo

pytestmark = pytest.mark.slow  # each starts a demo and programs of its own

__all__ = ["demo"]
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "first-app.md").read_text()
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
MARK = "=== next ==="


def commands() -> list[tuple[str, str]]:
    """Every command of the page's consoles with the output shown below it, in order."""
    consoles = "".join(re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", consoles, re.MULTILINE)


def test_the_console_prints_what_the_page_prints(demo: dict[str, str], tmp_path: Path) -> None:
    """In one terminal, as a reader types it; the app stands in a folder of the test's own."""
    script = f"\necho '{MARK}'\n".join(command for command, _ in commands())
    script = script.replace("../my-app", str(tmp_path / "my-app")).replace(".venv/bin/python", sys.executable)

    completed = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=demo, capture_output=True, text=True, check=False, timeout=60
    )

    outputs = [part.strip("\n") for part in completed.stdout.split(f"{MARK}\n")]
    assert outputs == [output.strip("\n") for _, output in commands()], completed.stderr
    client = (tmp_path / "my-app/lib/bridge.ts").read_text()
    assert client == (ROOT / "ibkr_bridge/api/pages/client.ts").read_text() + "export const bridge = createBridge();\n"


def test_the_glossary_has_ten_words() -> None:
    """As its heading promises."""
    section = PAGE.partition("## IBKR in ten words\n")[2].partition("\n## ")[0]

    words = re.findall(r"^\| ([a-zA-Z ]+) \| \S", section, re.MULTILINE)
    assert len(set(words) - {"word"}) == 10


def test_the_demo_runs_as_the_image_starts_it(tmp_path: Path, unused_tcp_port: int) -> None:
    """With the settings of the image, without a home, and on all addresses of the container."""
    settings = re.findall(r"^(?:ENV|   ) (IBKR_\w+)=(\S+)", DOCKERFILE, re.MULTILINE)
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": str(tmp_path), **dict(settings)}
    assert env["IBKR_BRIDGE_URL"] == "http://0.0.0.0:8000"
    env["IBKR_BRIDGE_URL"] = f"http://0.0.0.0:{unused_tcp_port}"
    process = subprocess.Popen(
        [sys.executable, "bridge.py", "demo"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = "".join(iter(process.stdout.readline, "Make something go wrong: python bridge.py trigger --help\n"))
    curl = ["curl", "-s", f"http://127.0.0.1:{unused_tcp_port}/readyz"]
    answer = subprocess.run(curl, capture_output=True, text=True, check=False).stdout
    process.send_signal(signal.SIGINT)
    process.stdout.close()

    assert process.wait(20) == 0
    assert "export IBKR_BRIDGE_KEY=" in printed
    assert answer == "ready"


def test_the_docker_commands_fit_the_image() -> None:
    """The file and the port are those of the image, and the port is published on loopback only."""
    assert "docker build -f deploy/Dockerfile -t ibkr-bridge ." in PAGE
    assert "-p 127.0.0.1:8000:8000 ibkr-bridge demo" in PAGE
    assert "EXPOSE 8000" in DOCKERFILE
    assert 'bridge.py"]' in DOCKERFILE
