"""Fixtures: a simulated Gateway, a bridge in front of it, both on free ports of loopback."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import hypothesis
import pytest

from bench.processes import free_port
from ibkr_bridge.events import Bus, Event
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.disk import Disk
from tests.harness import Harness, settings_for

collect_ignore = ["system"]  # boots a machine, as root: `make test-system`
Open = Callable[..., Awaitable[Harness]]

# Hypothesis measures real time for these two, and a machine that is busy with something else makes both fail.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background; our children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Tell after a failed run how its order is had again."""
    if exitstatus:
        terminalreporter.write_line(f"the same order again: ARGS=--randomly-seed={config.getoption('randomly_seed')}")


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that nobody has, nor is given while the test wants it unused; the plugin's own may be given to others."""
    return free_port()


@pytest.fixture
def events_seen() -> list[Event]:
    """What was announced."""
    return []


@pytest.fixture
def bus(events_seen: list[Event]) -> Bus:
    """A bus that keeps what it carries."""
    carrying = Bus()
    carrying.subscribe(events_seen.append)
    return carrying


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    """The disk, in the test's hand."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        yield disk
        disk.release()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulated Gateway, somebody signed in."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def open_harness(sim: Simulator, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a bridge in front of the simulated Gateway with settings of the test's own."""
    async with AsyncExitStack() as doors:

        async def opened(*, ready: bool = True, gateway: str | None = None, **env: str) -> Harness:
            env.setdefault("IBKR_GATEWAY_TIMEOUT", "1")
            harness = Harness(settings_for(gateway or sim.url, tmp_path / "state", **env))
            await doors.enter_async_context(harness)
            if ready:
                await harness.wait_until(SessionState.READY)
            return harness

        yield opened


@pytest.fixture
async def harness(open_harness: Open) -> Harness:
    """A bridge as most have it: paper mode, session ready; a deadline of one second, so that silence is short."""
    return await open_harness()
