"""The notifications that systemd gets, received on a socket like its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ibkr_bridge.observe.service_status import ServiceStatus
from ibkr_bridge.supervision import LoopMonitor
from tests.observe.notify_socket import FakeSystemd


@dataclass
class Session:
    """A session with the state that the test sets."""

    summary: str = "ready: the brokerage session is open"
    stuck_reason: str | None = None

    def problem(self) -> str | None:
        """See `SessionReport`."""
        return self.stuck_reason


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    """Receives the notifications."""
    with FakeSystemd(tmp_path) as listener:
        yield listener


@pytest.fixture
def session() -> Session:
    """A session without problems."""
    return Session()


@pytest.fixture
def loops() -> LoopMonitor:
    """Loops that are on time, even on a busy machine."""
    return LoopMonitor(now=lambda: 0.0)


@pytest.fixture
def status(systemd: FakeSystemd, session: Session, loops: LoopMonitor) -> ServiceStatus:
    """The object under test; its watchdog wants a sign of life every few milliseconds."""
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "3000", "WATCHDOG_PID": str(os.getpid())}
    return ServiceStatus(env, session, loops, lambda: session.summary)


async def test_ready_comes_with_the_state_of_the_session(systemd: FakeSystemd, status: ServiceStatus) -> None:
    """The bridge serves before anybody is signed in, and `systemctl status` shows that."""
    status.notify_ready()

    assert await systemd.wait_for("READY", "1") == {"READY": "1", "STATUS": "ready: the brokerage session is open"}


async def test_a_change_of_the_session_is_shown(systemd: FakeSystemd, session: Session, status: ServiceStatus) -> None:
    """With the session's current summary, and without another READY."""
    session.summary = "signed_out: sign in at the Gateway"

    status.on_conditions_change()

    assert await systemd.wait_for("STATUS") == {"STATUS": "signed_out: sign in at the Gateway"}


async def test_the_same_line_is_not_sent_again(systemd: FakeSystemd, status: ServiceStatus) -> None:
    """Otherwise systemd would wake up for every condition that begins or ends below the most important one."""
    status.on_conditions_change()
    await systemd.wait_for("STATUS")

    status.on_conditions_change()

    assert systemd.has_no_message()


async def test_start_and_end_of_a_reload_are_notified(systemd: FakeSystemd, status: ServiceStatus) -> None:
    """`systemctl reload` waits for the end; the start has its time."""
    with status.reloading():
        start = await systemd.wait_for("RELOADING", "1")
        was_quiet = systemd.has_no_message()
    end = await systemd.wait_for("READY", "1")

    assert start["RELOADING"] == "1"
    assert int(start["MONOTONIC_USEC"]) > 0
    assert was_quiet
    assert end["READY"] == "1"


async def test_a_reload_that_fails_ends_as_well(systemd: FakeSystemd, status: ServiceStatus) -> None:
    """Otherwise systemd would wait for the end of the reload and then stop the service."""
    with pytest.raises(ZeroDivisionError), status.reloading():
        raise ZeroDivisionError

    assert (await systemd.wait_for("READY", "1"))["READY"] == "1"


async def test_stopping_is_notified(systemd: FakeSystemd, status: ServiceStatus) -> None:
    """After that the watchdog no longer expects signs of life."""
    status.notify_stopping()

    assert await systemd.wait_for("STOPPING", "1") == {"STOPPING": "1"}


async def test_without_systemd_nothing_is_sent_and_nothing_fails(session: Session, loops: LoopMonitor) -> None:
    """Most bridges run in a terminal or a container."""
    status = ServiceStatus({}, session, loops, lambda: session.summary)

    status.notify_ready()
    status.on_conditions_change()
    with status.reloading():
        pass
    status.notify_stopping()


async def test_healthy_loops_send_signs_of_life_without_a_status(systemd: FakeSystemd, status: ServiceStatus) -> None:
    """An unchanged status is not sent again."""
    watchdog = asyncio.create_task(status.watchdog_loop())
    first, second = await systemd.wait_for("WATCHDOG", "1"), await systemd.wait_for("WATCHDOG", "1")
    watchdog.cancel()

    assert first == second == {"WATCHDOG": "1"}


async def test_a_stuck_loop_is_reported_once_and_stops_the_signs_of_life(
    systemd: FakeSystemd, session: Session, status: ServiceStatus
) -> None:
    """With a sign of life systemd would not restart the bridge."""
    session.stuck_reason = "the keeper is 99 s late"
    checked = asyncio.Semaphore(0)

    def count_checks() -> str | None:
        checked.release()
        return session.stuck_reason

    session.problem = count_checks  # type: ignore[method-assign]
    watchdog = asyncio.create_task(status.watchdog_loop())
    message = await systemd.wait_for("STATUS")
    async with asyncio.timeout(10):
        for _ in range(4):
            await checked.acquire()
    watchdog.cancel()

    assert message == {"STATUS": "stuck: the keeper is 99 s late"}
    assert systemd.has_no_message()


async def test_a_recovered_loop_updates_the_status(
    systemd: FakeSystemd, session: Session, status: ServiceStatus
) -> None:
    """Otherwise the status would be `stuck` until the next change of the session."""
    session.stuck_reason = "the keeper is 99 s late"
    watchdog = asyncio.create_task(status.watchdog_loop())
    await systemd.wait_for("STATUS", "stuck")
    session.stuck_reason = None
    first_sign = await systemd.wait_for("WATCHDOG", "1")
    watchdog.cancel()

    assert first_sign == {"WATCHDOG": "1", "STATUS": "ready: the brokerage session is open"}


async def test_a_dead_loop_comes_before_the_session(
    systemd: FakeSystemd, session: Session, loops: LoopMonitor, status: ServiceStatus
) -> None:
    """The dead loop is the cause of the session's problem."""
    session.stuck_reason = "the keeper is 99 s late"
    loops.mark_dead("supervisor")

    watchdog = asyncio.create_task(status.watchdog_loop())
    message = await systemd.wait_for("STATUS")
    watchdog.cancel()

    assert message["STATUS"].startswith("stuck: a loop has ended")
