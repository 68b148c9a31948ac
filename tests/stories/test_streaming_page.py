"""The console of the page about streams prints events of the form that the page shows."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.stories.test_readme import demo

__all__ = ["demo"]
ROOT = Path(__file__).resolve().parents[2]


def parse_events(text: str) -> list[dict[str, Any]]:
    """The parsed events of a stream."""
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def test_the_page_shows_what_its_commands_print(demo: dict[str, str]) -> None:
    """Prices, times and ids differ from run to run; everything else is as shown."""
    (block,) = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "streaming.md").read_text(), re.DOTALL)
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    assert len(steps) == 2
    for command, shown in steps:
        adapted = command.replace("http://127.0.0.1:8000", demo["IBKR_BRIDGE_URL"])
        completed = subprocess.run(
            ["bash", "-c", adapted], cwd=ROOT, env=demo, capture_output=True, text=True, check=False, timeout=60
        )
        forms = [event.keys() for event in parse_events(completed.stdout)]

        assert completed.stdout.startswith("retry: 3000\n\nid: "), completed
        assert all(event.keys() in forms for event in parse_events(shown))
        assert parse_events(completed.stdout)[0].get("reason") == parse_events(shown)[0].get("reason")
