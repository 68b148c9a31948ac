"""The threads that write the journals of all profiles: a few, however many profiles there are.

The unit of systemd allows 32 threads, so a profile cannot have one of its own. Each journal has a lane: its jobs run
one at a time, in their order, on whichever thread is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, ParamSpec, TypeVar

MAX_THREADS = 4
"""They wait for one disk, so more would not write more."""
P = ParamSpec("P")
T = TypeVar("T")


class JournalThreads:
    """The threads. Each begins when all others are busy."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="journal")

    def lane(self) -> Lane:
        """The executor of one journal."""
        return Lane(self._pool)

    def close(self) -> None:
        """End the threads after what is still queued."""
        self._pool.shutdown(wait=False)


class Lane(Executor):
    """Runs the jobs of one journal one at a time, in the order in which they were submitted.

    Args:
        pool: its threads run the jobs.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._lock = Lock()
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._is_running = False

    def __repr__(self) -> str:
        return f"<Lane, {len(self._jobs)} jobs wait>"

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function after all that were submitted before.

        Raises:
            RuntimeError: no thread can run it, and none will.
        """
        job: tuple[Future[T], Callable[[], T]] = (Future(), lambda: fn(*args, **kwargs))
        with self._lock:
            self._jobs.append(job)
        try:
            self._pool.submit(self._run_jobs)
        except RuntimeError:
            if self._withdraw(job):
                raise
        return job[0]

    def _withdraw(self, job: tuple[Future[Any], Callable[[], Any]]) -> bool:
        """Take a job back. Returns False if a thread has taken it, so that it runs."""
        with self._lock:
            if job in self._jobs:
                self._jobs.remove(job)
                return True
        return False

    def _run_jobs(self) -> None:
        """Run all jobs, unless another thread does so."""
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
        while (job := self._next()) is not None:
            _run(*job)

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            self._is_running = False
            return None


def _run(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as exc:  # handed to whoever waits for the job
        future.set_exception(exc)
