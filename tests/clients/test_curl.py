"""The curl command of docs/clients.md, run unchanged."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

from tests.clients.page import read_block
from tests.harness import KEY, Harness


async def test_curl(bridge: Harness) -> None:
    """It needs the address, the prefix and one header."""
    env = {"PATH": os.environ["PATH"], "IBKR_BRIDGE_URL": bridge.bridge.url, "IBKR_BRIDGE_KEY": KEY}

    def run() -> bytes:
        return subprocess.run(["sh", "-c", read_block("curl", "sh")], env=env, capture_output=True, check=True).stdout

    assert json.loads(await asyncio.to_thread(run))[0]["id"] == "DU1234567"
