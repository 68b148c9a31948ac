"""The page's curl, typed as it stands there."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

from tests.clients.page import block
from tests.harness import KEY, Harness


async def test_curl(bridge: Harness) -> None:
    """Address, prefix, header: nothing else."""
    env = {"PATH": os.environ["PATH"], "IBKR_BRIDGE_URL": bridge.bridge.url, "IBKR_BRIDGE_KEY": KEY}

    def typed() -> bytes:
        return subprocess.run(["sh", "-c", block("curl", "sh")], env=env, capture_output=True, check=True).stdout

    assert json.loads(await asyncio.to_thread(typed))[0]["id"] == "DU1234567"
