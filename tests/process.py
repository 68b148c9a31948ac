"""Run the bridge in a process of its own, as systemd does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness import KEY, TEST_TIMEOUT_S

ROOT = Path(__file__).resolve().parents[1]
HANDOVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=os.environ.get("LISTEN_FDS", "1"))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Daemon:
    """A running `bridge.py`."""

    def __init__(self, process: asyncio.subprocess.Process, client: aiohttp.ClientSession) -> None:
        self.process = process
        self.client = client
        self.lines: list[dict[str, Any]] = []
        self.url = ""

    async def wait_for_event(self, event: str) -> dict[str, Any]:
        """Read the log until an event appears, and return its line."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while True:
                line = json.loads(await self.process.stderr.readline())  # type: ignore[union-attr]
                self.lines.append(line)
                if line["event"] == event:
                    return dict(line)

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Send a GET request with the key; return status and body."""
        async with self.client.get(self.url + path, headers={"X-Bridge-Key": KEY, **headers}) as response:
            return response.status, await response.read()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, as systemctl or Ctrl-C does."""
        self.process.send_signal(number)

    async def wait_until_ended(self) -> int:
        """Read the rest of the log, wait for the end of the process and return its exit status."""
        async with asyncio.timeout(40):
            rest = await self.process.stderr.read()  # type: ignore[union-attr]
            self.lines += [json.loads(line) for line in rest.splitlines()]
            return await self.process.wait()


def environment(gateway: str, state: Path, **env: str) -> dict[str, str]:
    """The complete environment of a daemon; nothing is inherited from the test but PATH."""
    return {
        "PATH": os.environ["PATH"],
        "IBKR_BRIDGE_MAINTENANCE": "none",
        "IBKR_BRIDGE_URL": "http://127.0.0.1:0",
        "IBKR_BRIDGE_KEY": KEY,
        "IBKR_BRIDGE_STATE_DIR": str(state),
        "IBKR_GATEWAY_URL": gateway,
        "IBKR_BRIDGE_LOG_FORMAT": "json",
        **env,
    }


@asynccontextmanager
async def daemon(
    gateway: str,
    state: Path,
    before: Callable[[], None] | None = None,
    handover_from: socket.socket | None = None,
    **env: str,
) -> AsyncIterator[Daemon]:
    """Start `bridge.py` (see `without_limits.py`) and wait until the session is ready; the process is always ended.

    Args:
        before: runs in the new process before the program, for example to set a resource limit.
        handover_from: a listening socket that the process gets as systemd passes it.
    """
    descriptors = () if handover_from is None else (handover_from.fileno(),)
    launcher = () if handover_from is None else ("-c", HANDOVER, str(handover_from.fileno()), sys.executable)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *launcher,
        str(ROOT / "tests/without_limits.py"),
        env=environment(gateway, state, **env),
        cwd=state,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=before,
        pass_fds=descriptors,
    )
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            bridge = Daemon(process, client)
            bridge.url = (await bridge.wait_for_event("bridge.started"))["url"]
            await bridge.wait_for_event("session.ready")
            yield bridge
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # an open pipe makes Python 3.11 warn when it is collected
