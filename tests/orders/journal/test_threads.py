"""The threads of the journals: each journal's jobs in their order, and few threads for many journals."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import pytest

from ibkr_bridge.orders.journal.threads import MAX_THREADS, JournalThreads, Lane
from tests.harness import TEST_TIMEOUT_S


class NoThread(ThreadPoolExecutor):
    """A pool of a process that may start no thread."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        """Refuse, as Python does."""
        raise RuntimeError("can't start new thread")


def test_jobs_of_one_journal_run_in_their_order_and_one_at_a_time() -> None:
    """Whoever submits them."""
    lane, running, overlaps, done = JournalThreads().lane(), threading.Semaphore(1), list[int](), list[int]()

    def job(number: int) -> None:
        if not running.acquire(blocking=False):
            overlaps.append(number)
            return
        done.append(number)
        running.release()

    for future in [lane.submit(job, number) for number in range(500)]:
        future.result(TEST_TIMEOUT_S)

    assert (done, overlaps) == (list(range(500)), [])


def test_many_journals_share_few_threads() -> None:
    """While one of them waits for the disk, the others go on."""
    threads, hold, names = JournalThreads(), threading.Event(), set[str]()
    held = threads.lane().submit(hold.wait, TEST_TIMEOUT_S)

    for _ in range(60):
        names.add(threads.lane().submit(lambda: threading.current_thread().name).result(TEST_TIMEOUT_S))

    hold.set()
    assert held.result(TEST_TIMEOUT_S) is True
    assert len(names) < MAX_THREADS


def test_an_error_reaches_whoever_waits_and_ends_no_lane() -> None:
    """The next job runs as usual."""
    lane = JournalThreads().lane()

    with pytest.raises(ZeroDivisionError):
        lane.submit(lambda: 1 // 0).result(TEST_TIMEOUT_S)
    assert lane.submit(lambda: 7).result(TEST_TIMEOUT_S) == 7


def test_a_job_that_no_thread_will_run_is_refused_and_never_runs_later() -> None:
    """An entry that was reported as not written must not be written after that."""
    pool, ran = ThreadPoolExecutor(1), list[str]()
    lane = Lane(NoThread())

    with pytest.raises(RuntimeError, match="thread"):
        lane.submit(ran.append, "refused")
    lane._pool = pool
    lane.submit(ran.append, "later").result(TEST_TIMEOUT_S)

    assert ran == ["later"]


def test_a_cancelled_job_does_not_run() -> None:
    """The event loop cancels the jobs of a task that it ends."""
    lane, hold = JournalThreads().lane(), threading.Event()
    lane.submit(hold.wait, TEST_TIMEOUT_S)
    waiting = lane.submit(lambda: 7)

    assert waiting.cancel()
    hold.set()
    with pytest.raises(CancelledError):
        waiting.result(TEST_TIMEOUT_S)
