"""A bridge in a process of its own, as systemd starts it."""

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

from tests.harness import KEY, PATIENCE

ROOT = Path(__file__).resolve().parents[1]
HEIR = """
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

    async def until(self, event: str) -> dict[str, Any]:
        """Read the log until a fact is told."""
        async with asyncio.timeout(PATIENCE):
            while True:
                line = json.loads(await self.process.stderr.readline())  # type: ignore[union-attr]
                self.lines.append(line)
                if line["event"] == event:
                    return dict(line)

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """One keyed request."""
        async with self.client.get(self.url + path, headers={"X-Bridge-Key": KEY, **headers}) as reply:
            return reply.status, await reply.read()

    def signal(self, number: signal.Signals) -> None:
        """As systemctl or Ctrl-C would."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; its exit status."""
        async with asyncio.timeout(40):
            rest = await self.process.stderr.read()  # type: ignore[union-attr]
            self.lines += [json.loads(line) for line in rest.splitlines()]
            return await self.process.wait()


def environment(gateway: str, state: Path, **env: str) -> dict[str, str]:
    """What a daemon's environment holds: nothing of the test's own."""
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
    heir_of: socket.socket | None = None,
    **env: str,
) -> AsyncIterator[Daemon]:
    """Start `bridge.py` (see `without_limits.py`), wait until it listens and the session is ready; always end it.

    Args:
        before: run in the new process before the program, to set a limit, say.
        heir_of: a listening socket to be handed over as systemd does.
    """
    descriptors = () if heir_of is None else (heir_of.fileno(),)
    by = () if heir_of is None else ("-c", HEIR, str(heir_of.fileno()), sys.executable)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *by,
        str(ROOT / "tests/without_limits.py"),
        env=environment(gateway, state, **env),
        cwd=state,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=before,
        pass_fds=descriptors,
    )
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            running = Daemon(process, client)
            running.url = (await running.until("bridge.started"))["url"]
            await running.until("session.ready")
            yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # else Python 3.11 warns of it later
