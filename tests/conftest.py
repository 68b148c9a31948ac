"""Fixtures: a simulated Gateway, a bridge in front of it, both on free ports of loopback."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import hypothesis
import pytest

from bench.processes import free_port
from ibkr_bridge.events import Bus, Event
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.disk import Disk
from tests.harness import Harness, settings_for


def pytest_collection_finish() -> None:
    """Spare the garbage collector the nine thousand tests: it would visit them again and again."""
    gc.collect()
    gc.freeze()


collect_ignore = ["system"]  # boots a machine, as root: `make test-system`
OpenHarness = Callable[..., Awaitable[Harness]]

EXAMPLES = {"quick": 25, "thorough": 200}
"""Of each property, by Hypothesis's profile: `make test-slow` chooses the thorough one."""
for name, count in EXAMPLES.items():
    # Deadlines and the check for slow examples measure real time, and fail on a machine that is busy with other work.
    hypothesis.settings.register_profile(
        name, max_examples=count, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
hypothesis.settings.load_profile("quick")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # so in a background job of a shell; our child processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


DEADLINE_S, SLOW_DEADLINE_S = 120.0, 1800.0  # ten times what the slowest test takes on a busy machine


class TestHangs(BaseException):
    """A test did not end in time. No `except Exception` of the code under test may swallow it."""

    __test__ = False


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends: one whose subject fails in such a way that it waits for ever fails, and the others run."""

    def give_up(_: int, frame: object) -> None:
        with suppress(RuntimeError):  # no loop runs
            for task in asyncio.all_tasks():
                task.print_stack(limit=3)
        raise TestHangs(f"{request.node.name} has not ended in time")

    before = signal.signal(signal.SIGALRM, give_up)
    is_slow = request.node.get_closest_marker("slow") is not None
    signal.setitimer(signal.ITIMER_REAL, SLOW_DEADLINE_S if is_slow else DEADLINE_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """After a failed run, print how to repeat its order. Without pytest-randomly the order is always the same."""
    seed = config.getoption("randomly_seed", None)
    if exitstatus and seed is not None:
        terminalreporter.write_line(f"to repeat this order: ARGS=--randomly-seed={seed}")


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that stays free during the test; the one of the plugin may be given to another program."""
    return free_port()


@pytest.fixture
def events_seen() -> list[Event]:
    """The events published on `bus`."""
    return []


@pytest.fixture
def bus(events_seen: list[Event]) -> Bus:
    """A bus whose events are recorded in `events_seen`."""
    bus = Bus()
    bus.subscribe(events_seen.append)
    return bus


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    """The disk of the journals, which the test can hold."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        yield disk
        disk.release()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulated Gateway with a login."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def open_harness(request: pytest.FixtureRequest, sim: Simulator, tmp_path: Path) -> AsyncIterator[OpenHarness]:
    """A function that starts a bridge in front of the simulated Gateway; its arguments are settings.

    Its Gateway timeout is 10 s, as a busy machine may pause for seconds. A test with the mark `unanswered` waits for
    that timeout, so there it is shorter.
    """
    timeout = "1.5" if request.node.get_closest_marker("unanswered") else "10"
    async with AsyncExitStack() as stack:

        async def open_bridge(*, ready: bool = True, gateway: str | None = None, **env: str) -> Harness:
            env.setdefault("IBKR_GATEWAY_TIMEOUT", timeout)
            harness = Harness(settings_for(gateway or sim.url, tmp_path / "state", **env))
            await stack.enter_async_context(harness)
            if ready:
                await harness.wait_until(SessionState.READY)
            return harness

        yield open_bridge


@pytest.fixture
async def harness(open_harness: OpenHarness) -> Harness:
    """A bridge in paper mode with a ready session."""
    return await open_harness()
