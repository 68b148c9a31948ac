"""Where the order story takes place: a simulated Gateway here, and the bridge in a process of its own.

The bridge can be killed at any instant and is started again on the same port and state directory. Somebody signs in
again whenever the Gateway has forgotten who is signed in, as IBeam would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.processes import ROOT, NotStarted, free_port
from ibkr_bridge.sim.clock import FastClock
from ibkr_bridge.sim.simulator import Simulator

KEY = "the-order-story-has-a-key-of-its-own-0001"
RATE = 20.0
"""Seconds of the simulator's in one of ours: IBKR's ten seconds before an empty 503 take half a second."""
STARTS_WITHIN = 60.0  # seconds, on a machine with much else to do
ENDS_WITHIN = 40.0  # seconds; orders that are under way are waited for
SURPRISES = (b'"bridge.loop_died"', b'"bridge.bug"', b'"request.failed"', b"surprised", b"Traceback")
STARTED, READY = b'"bridge.started"', b'"session.ready"'


class SignedIn(Simulator):
    """A Gateway that somebody signs in at as soon as it is there again."""

    async def restart(self) -> None:
        """See `Simulator.restart`."""
        await super().restart()
        self.log_in()


def simulator(seed: int) -> SignedIn:
    """IBKR in a hurry; its list of orders is slow to fill and behind by a second of ours, until it is cleared."""
    return SignedIn(
        clock=FastClock(RATE),
        seed=seed,
        gateway_port=steady_port(),
        tickle_interval_s=120.0,
        list_load_delay_s=0.1 * RATE,
        list_lag_s=1.0 * RATE,
    )


def steady_port() -> int:
    """A port of loopback that nobody listens on, and that no outgoing connection is given while the bridge is down."""
    return free_port()


class Bridge:
    """The bridge's process, however often it is started.

    Args:
        gateway: the simulated Gateway's address.
        place: a directory of the story's own; its log and its state are kept there.
        program: what is run, with the words of `bridge.py` behind it.
    """

    def __init__(self, gateway: str, place: Path, program: Sequence[str] = ("-m", "bench.orders_hasty")) -> None:
        self.port = steady_port()
        self.kills = 0
        self.journal = place / "state" / "main.orders.db"
        self._gateway = gateway
        self._place = place
        self._program = [sys.executable, *program]
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._up, self._ready = asyncio.Event(), asyncio.Event()
        self._turn = asyncio.Lock()
        self.surprises: list[bytes] = []
        """Lines of its log that no bridge should ever write, and other ends than it was told."""

    @property
    def env(self) -> dict[str, str]:
        """All it is told."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "IBKR_BRIDGE_URL": f"http://127.0.0.1:{self.port}",
            "IBKR_BRIDGE_KEY": KEY,
            "IBKR_BRIDGE_LOG_FORMAT": "json",
            "IBKR_BRIDGE_MAINTENANCE": "none",
            "IBKR_BRIDGE_STATE_DIR": str(self.journal.parent),
            "IBKR_GATEWAY_URL": self._gateway,
            "IBKR_GATEWAY_TIMEOUT": "1",
            "IBKR_GATEWAY_WATCH": "1",
        }

    async def start(self) -> None:
        """Start it, and come back when it can place orders.

        Raises:
            NotStarted: it ended, or is not ready in time.
        """
        (self._place / ".env").touch(mode=0o600)  # else it would read the checkout's own
        self._process = await asyncio.create_subprocess_exec(
            *self._program, env=self.env, cwd=self._place, stderr=asyncio.subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read(self._process), name="log of the bridge")
        await self._awaited(self._up)

    async def ready(self) -> None:
        """Come back when its session is up.

        Raises:
            NotStarted: see `start`.
        """
        await self._awaited(self._ready)

    async def up(self) -> None:
        """Come back when it listens; at once if it does."""
        await self._up.wait()

    async def kill(self) -> None:
        """End it without a word, wherever it is, and start it again."""
        async with self._turn:
            await self._end(signal.SIGKILL)
            self.kills += 1
            await self.start()

    async def stop(self) -> None:
        """Ask it to end, as systemd does."""
        async with self._turn:
            if status := await self._end(signal.SIGTERM):
                self.surprises.append(f"the bridge ended with status {status}".encode())

    async def _end(self, by: signal.Signals) -> int:
        """End it, or find that it has ended; its exit status."""
        process = self._process
        if process is None:
            return 0
        self._up.clear()
        self._ready.clear()
        if process.returncode is None:
            process.send_signal(by)
        else:
            self.surprises.append(b"the bridge ended by itself")
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reading is not None:
            await self._reading
        process._transport.close()  # type: ignore[attr-defined]  # else Python 3.11 warns of it later
        self._process = None
        return process.returncode or 0

    async def _awaited(self, event: asyncio.Event) -> None:
        ended = asyncio.ensure_future(self._reading) if self._reading else asyncio.ensure_future(asyncio.sleep(0))
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((waiting, ended), timeout=STARTS_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not event.is_set():
            raise NotStarted(f"the bridge is not there; its log is {self._place / 'bridge.log'}")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Keep its log, and notice what is waited for."""
        assert process.stderr is not None  # noqa: S101  # for the type alone
        with (self._place / "bridge.log").open("ab") as log:
            async for line in process.stderr:
                log.write(line)
                if STARTED in line:
                    self._up.set()
                elif READY in line:
                    self._ready.set()
                elif any(sign in line for sign in SURPRISES):
                    self.surprises.append(line)


async def signing_in(sim: Simulator) -> None:
    """IBeam: look whether anybody is signed in, and if not, do so. Looking at intervals is what IBeam does."""
    while True:
        await asyncio.sleep(0.3)
        if sim.gateway.jar.value("XYZAB") is None or not sim.market.world.sessions.has_login(sim.clock.now()):
            await sim.wait_for_events()
            sim.log_in()


@asynccontextmanager
async def town(seed: int, place: Path) -> AsyncIterator[tuple[Simulator, Bridge]]:
    """Both, at work; ended whatever happens."""
    async with simulator(seed) as sim:
        bridge = Bridge(sim.url, place)
        ibeam = asyncio.create_task(signing_in(sim), name="IBeam")
        try:
            await bridge.start()
            await bridge.ready()
            yield sim, bridge
        finally:
            ibeam.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ibeam
            await bridge.stop()
