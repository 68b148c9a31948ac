"""What systemd is told of the bridge's life, heard on a socket like its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ibkr_bridge.events import ReloadRefused, SessionChanged
from ibkr_bridge.observe.service_status import ServiceStatus
from ibkr_bridge.supervision import LoopMonitor
from tests.observe.notified import Manager

LOST = SessionChanged("ready", "signed_out", "nobody is signed in", "sign in", 1.0, "look")


@dataclass
class Session:
    """A session that is as the test says."""

    summary: str = "ready: the brokerage session is open"
    trouble: str | None = None

    def problem(self) -> str | None:
        """See `SessionReport`."""
        return self.trouble


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Hears what is said."""
    with Manager(tmp_path) as listening:
        yield listening


@pytest.fixture
def session() -> Session:
    """A session that is well."""
    return Session()


@pytest.fixture
def loops() -> LoopMonitor:
    """Loops that are on time, however busy the machine is."""
    return LoopMonitor(now=lambda: 0.0)


@pytest.fixture
def status(manager: Manager, session: Session, loops: LoopMonitor) -> ServiceStatus:
    """What is tested; the watchdog wants a sign every few milliseconds."""
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000", "WATCHDOG_PID": str(os.getpid())}
    return ServiceStatus(env, session, loops)


async def test_ready_comes_with_the_session_in_words(manager: Manager, status: ServiceStatus) -> None:
    """We serve before anybody is signed in, and `systemctl status` says how it is."""
    status.notify_ready()

    assert await manager.until("READY", "1") == {"READY": "1", "STATUS": "ready: the brokerage session is open"}


async def test_a_change_of_the_session_is_shown(manager: Manager, session: Session, status: ServiceStatus) -> None:
    """In the words that the session has by then, and without saying ready again."""
    session.summary = "signed_out: sign in at the Gateway"

    status.on_event(LOST)

    assert await manager.until("STATUS") == {"STATUS": "signed_out: sign in at the Gateway"}


async def test_other_events_are_none_of_systemds_business(manager: Manager, status: ServiceStatus) -> None:
    """It would be woken for every request."""
    status.on_event(ReloadRefused("a setting is wrong"))

    assert manager.nothing_came()


async def test_a_reload_is_told_at_its_beginning_and_its_end(manager: Manager, status: ServiceStatus) -> None:
    """`systemctl reload` waits for the second; the first has to say when it was."""
    with status.reloading():
        began = await manager.until("RELOADING", "1")
        quiet = manager.nothing_came()
    ended = await manager.until("READY", "1")

    assert began["RELOADING"] == "1"
    assert int(began["MONOTONIC_USEC"]) > 0
    assert quiet
    assert ended["READY"] == "1"


async def test_a_reload_that_fails_ends_as_well(manager: Manager, status: ServiceStatus) -> None:
    """Otherwise systemd would take the service for one that reloads for ever, and end it."""
    with pytest.raises(ZeroDivisionError), status.reloading():
        raise ZeroDivisionError

    assert (await manager.until("READY", "1"))["READY"] == "1"


async def test_stopping_is_told(manager: Manager, status: ServiceStatus) -> None:
    """From then on the watchdog is patient."""
    status.notify_stopping()

    assert await manager.until("STOPPING", "1") == {"STOPPING": "1"}


async def test_without_systemd_nothing_is_told_and_nothing_fails(session: Session, loops: LoopMonitor) -> None:
    """Most bridges run in a terminal or a container."""
    status = ServiceStatus({}, session, loops)

    status.notify_ready()
    status.on_event(LOST)
    with status.reloading():
        pass
    status.notify_stopping()


async def test_a_healthy_loop_shows_signs_of_life_without_words(manager: Manager, status: ServiceStatus) -> None:
    """A status that did not change is not written again."""
    watchdog = asyncio.create_task(status.watchdog_loop())
    first, second = await manager.until("WATCHDOG", "1"), await manager.until("WATCHDOG", "1")
    watchdog.cancel()

    assert first == second == {"WATCHDOG": "1"}


async def test_what_is_stuck_is_said_once_and_then_shown_by_silence(
    manager: Manager, session: Session, status: ServiceStatus
) -> None:
    """A sign of life beside it would keep systemd from starting us anew."""
    session.trouble = "the keeper is 99 s late"
    asked = asyncio.Semaphore(0)

    def counted() -> str | None:
        asked.release()
        return session.trouble

    session.problem = counted  # type: ignore[method-assign]
    watchdog = asyncio.create_task(status.watchdog_loop())
    said = await manager.until("STATUS")
    async with asyncio.timeout(10):
        for _ in range(4):
            await asked.acquire()
    watchdog.cancel()

    assert said == {"STATUS": "stuck: the keeper is 99 s late"}
    assert manager.nothing_came()


async def test_what_goes_on_again_is_told_in_words(manager: Manager, session: Session, status: ServiceStatus) -> None:
    """Or the status would say stuck until the session changes for the next time."""
    session.trouble = "the keeper is 99 s late"
    watchdog = asyncio.create_task(status.watchdog_loop())
    await manager.until("STATUS", "stuck")
    session.trouble = None
    again = await manager.until("WATCHDOG", "1")
    watchdog.cancel()

    assert again == {"WATCHDOG": "1", "STATUS": "ready: the brokerage session is open"}


async def test_a_dead_loop_comes_before_the_session(
    manager: Manager, session: Session, loops: LoopMonitor, status: ServiceStatus
) -> None:
    """It is the cause, and the session's trouble its consequence."""
    session.trouble = "the keeper is 99 s late"
    loops.mark_dead("supervisor")

    watchdog = asyncio.create_task(status.watchdog_loop())
    said = await manager.until("STATUS")
    watchdog.cancel()

    assert said["STATUS"].startswith("stuck: a loop has ended")
