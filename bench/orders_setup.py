"""The setup of the order bench: a simulated Gateway in this process, and the bridge in a process of its own.

The bridge can be killed at any moment and is started again with the same port and state directory. Whenever the Gateway
has no login, a task signs in again, as IBeam would.
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
CLOCK_RATE = 20.0
"""Seconds of the simulator in one real second: IBKR's ten seconds before an empty 503 take half a second."""
START_TIMEOUT_S = 60.0  # the machine may be busy
STOP_TIMEOUT_S = 40.0  # the bridge waits for orders in flight before it ends
HAND_OVER_TIMEOUT_S = 5.0  # an order comes every few milliseconds, unless the session is down
LOGIN_CHECK_INTERVAL_S = 0.3
UNEXPECTED_LOG = (b'"bridge.loop_died"', b'"bridge.bug"', b'"request.failed"', b"surprised", b"Traceback")
STARTED, READY = b'"bridge.started"', b'"session.ready"'


def hand_over_file(state_directory: Path) -> Path:
    """The file that tells the bridge of the bench to kill itself when it hands over its next order."""
    return state_directory / "kill-at-hand-over"


class AutoLoginSimulator(Simulator):
    """A Gateway with a login as soon as it has restarted."""

    async def restart(self) -> None:
        """See `Simulator.restart`."""
        await super().restart()
        self.log_in()


def make_simulator(seed: int) -> AutoLoginSimulator:
    """Return a simulator with a fast clock.

    Its list of orders takes 0.1 s to fill, and is one real second behind until it is cleared.
    """
    return AutoLoginSimulator(
        clock=FastClock(CLOCK_RATE),
        seed=seed,
        gateway_port=free_port(),
        tickle_interval_s=120.0,
        list_load_delay_s=0.1 * CLOCK_RATE,
        list_lag_s=1.0 * CLOCK_RATE,
    )


class BridgeProcess:
    """The process of the bridge, across all its restarts.

    Args:
        gateway_url: the address of the simulated Gateway.
        directory: the log and the state directory are created in it.
        program: the arguments of Python that run the bridge.
    """

    def __init__(
        self, gateway_url: str, directory: Path, program: Sequence[str] = ("-m", "bench.orders_fast_bridge")
    ) -> None:
        self.port = free_port()
        self.kills = 0
        self.hand_over_kills = 0
        """How many of the kills were in the step in which an order was handed over."""
        self.journal = directory / "state" / "main.orders.db"
        self._gateway_url = gateway_url
        self._directory = directory
        self._command = [sys.executable, *program]
        self._process: asyncio.subprocess.Process | None = None
        self._log_reader: asyncio.Task[None] | None = None
        self._listening, self._ready = asyncio.Event(), asyncio.Event()
        self._lock = asyncio.Lock()
        self.unexpected: list[bytes] = []
        """Log lines that no bridge should write, and a line for each time it ended without having been told to."""

    @property
    def env(self) -> dict[str, str]:
        """The complete environment of the process."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "IBKR_BRIDGE_URL": f"http://127.0.0.1:{self.port}",
            "IBKR_BRIDGE_KEY": KEY,
            "IBKR_BRIDGE_LOG_FORMAT": "json",
            "IBKR_BRIDGE_MAINTENANCE": "none",
            "IBKR_BRIDGE_STATE_DIR": str(self.journal.parent),
            "IBKR_GATEWAY_URL": self._gateway_url,
            "IBKR_GATEWAY_TIMEOUT": "1",
            "IBKR_GATEWAY_WATCH": "1",
        }

    async def start(self) -> None:
        """Start the process and wait until it listens.

        Raises:
            NotStarted: the process ended, or does not listen in time.
        """
        (self._directory / ".env").touch(mode=0o600)  # without it the bridge would read the one of the checkout
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self.env, cwd=self._directory, stderr=asyncio.subprocess.PIPE
        )
        self._log_reader = asyncio.create_task(self._read_log(self._process), name="log of the bridge")
        await self._wait_for(self._listening)

    async def wait_until_ready(self) -> None:
        """Wait until the session is ready, so that orders can be placed.

        Raises:
            NotStarted: see `start`; also if the process was never started.
        """
        await self._wait_for(self._ready)

    async def wait_until_listening(self) -> None:
        """Wait until the process listens; returns at once if it does."""
        await self._listening.wait()

    async def kill(self) -> None:
        """Kill the process with SIGKILL, whatever it is doing, and start it again."""
        async with self._lock:
            await self._end(signal.SIGKILL)
            self.kills += 1
            await self.start()

    async def kill_at_hand_over(self, moment: str) -> None:
        """Let the process kill itself when it hands over its next order (`orders_fast_bridge.py`), and start it again.

        If no order comes in time, nothing happens.
        """
        async with self._lock:
            process, order_file = self._process, hand_over_file(self.journal.parent)
            if process is None:
                return
            order_file.write_text(moment)
            try:
                async with asyncio.timeout(HAND_OVER_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                order_file.unlink(missing_ok=True)
                return
            self.hand_over_kills += 1
            self.kills += 1
            await self._end(signal.SIGKILL, is_expected=True)
            await self.start()

    async def stop(self) -> None:
        """End the process with SIGTERM, as systemd does."""
        async with self._lock:
            if status := await self._end(signal.SIGTERM):
                self.unexpected.append(f"the bridge ended with status {status}".encode())

    async def _end(self, stop_signal: signal.Signals, *, is_expected: bool = False) -> int:
        """Send the signal, wait for the end of the process and return its exit status; 0 if there is no process."""
        process = self._process
        if process is None:
            return 0
        self._listening.clear()
        self._ready.clear()
        log_has_ended = self._log_reader is None or self._log_reader.done()
        if is_expected:
            pass  # it has killed itself
        elif process.returncode is not None or log_has_ended:
            self.unexpected.append(b"the bridge ended by itself")  # a signal now would take its status from asyncio
        else:
            process.send_signal(stop_signal)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            self._process = None
            await self._finish_reading(process)
        return process.returncode or 0

    async def _finish_reading(self, process: asyncio.subprocess.Process) -> None:
        """Read the rest of the log, then close the pipe: an open one makes Python 3.11 warn when it is collected."""
        try:
            if self._log_reader is not None:
                await self._log_reader
        finally:
            self._log_reader = None
            process._transport.close()  # type: ignore[attr-defined]  # asyncio offers no public method

    async def _wait_for(self, event: asyncio.Event) -> None:
        """Wait for the event; the log's end means that the process has ended."""
        if self._log_reader is None:
            raise NotStarted("the bridge was not started")
        waiter = asyncio.create_task(event.wait())
        try:
            await asyncio.wait((waiter, self._log_reader), timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if not event.is_set():
            raise NotStarted(f"the bridge did not start; its log is {self._directory / 'bridge.log'}")

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        """Copy the log to a file, and set the events for which `_wait_for` waits."""
        assert process.stderr is not None  # noqa: S101  # for the type alone
        with (self._directory / "bridge.log").open("ab") as log:
            async for line in process.stderr:
                log.write(line)
                if STARTED in line:
                    self._listening.set()
                elif READY in line:
                    self._ready.set()
                elif any(sign in line for sign in UNEXPECTED_LOG):
                    self.unexpected.append(line)


async def keep_signed_in(sim: Simulator) -> None:
    """Check at intervals whether there is a login, and sign in if there is none. IBeam works in the same way."""
    while True:
        await asyncio.sleep(LOGIN_CHECK_INTERVAL_S)
        if sim.gateway.jar.value("XYZAB") is None or not sim.market.world.sessions.has_login(sim.clock.now()):
            await sim.wait_for_events()
            sim.log_in()


@asynccontextmanager
async def run_bridge_and_simulator(seed: int, directory: Path) -> AsyncIterator[tuple[Simulator, BridgeProcess]]:
    """Start both and wait until orders can be placed; stop both when the block ends."""
    async with make_simulator(seed) as sim:
        bridge = BridgeProcess(sim.url, directory)
        ibeam = asyncio.create_task(keep_signed_in(sim), name="IBeam")
        try:
            await bridge.start()
            await bridge.wait_until_ready()
            yield sim, bridge
        finally:
            ibeam.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ibeam
            await bridge.stop()
