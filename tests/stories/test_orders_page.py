"""The console of the page about orders, run in one terminal, prints what the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stories.test_readme import demo

__all__ = ["demo"]
ROOT = Path(__file__).resolve().parents[2]
MARK = "=== next ==="


@pytest.mark.slow
def test_the_worked_example_prints_what_the_page_prints(demo: dict[str, str]) -> None:
    """An order with a question, a cancel, and an order whose response is lost."""
    (block,) = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "orders.md").read_text(), re.DOTALL)
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    script = f"\necho '{MARK}'\n".join(command for command, _ in steps).replace(".venv/bin/python", sys.executable)

    completed = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=demo, capture_output=True, text=True, check=False, timeout=60
    )

    outputs = [part.strip("\n") for part in completed.stdout.split(f"{MARK}\n")]
    assert outputs == [output.strip("\n") for _, output in steps], completed.stderr
