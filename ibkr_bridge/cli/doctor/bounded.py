"""Work in bounded time, whatever hangs: a disk, a name server, a Gateway that accepts and never answers.

A thread that hangs is a daemon thread, so that it does not keep the command from ending. What must run as another user,
or may hang in the kernel, runs in a forked child.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

MAX_RESULT_BYTES = 64 * 1024


def run_together(tasks: Mapping[str, Callable[[], Any]], timeout_s: float) -> dict[str, Any]:
    """Run all tasks at the same time. Returns the results by name; a task that has not ended in time has none.

    Raises:
        Exception: what a task raised.
    """
    results: queue.Queue[tuple[str, Any, Exception | None]] = queue.Queue()
    for name, task in tasks.items():
        threading.Thread(target=_run_one, args=(name, task, results), daemon=True).start()
    deadline, done = time.monotonic() + timeout_s, dict[str, Any]()
    with suppress(queue.Empty):
        while len(done) < len(tasks):
            name, result, error = results.get(timeout=max(0.0, deadline - time.monotonic()))
            if error is not None:
                raise error
            done[name] = result
    return done


def _run_one(name: str, task: Callable[[], Any], results: queue.Queue[tuple[str, Any, Exception | None]]) -> None:
    try:
        results.put((name, task(), None))
    except Exception as exc:
        results.put((name, None, exc))


@dataclass(frozen=True)
class UserIds:
    """A user of this machine, by numbers."""

    uid: int
    gid: int


class Child:
    """A forked child that does one piece of work and returns its result as JSON.

    Start it before any thread: a fork copies locks that other threads hold.

    Args:
        work: returns something that JSON can carry.
        user: as whom it runs; None for the user of this process.
    """

    def __init__(self, work: Callable[[], object], user: UserIds | None = None) -> None:
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reader)
            _work_and_exit(work, user, writer)
        os.close(writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it. A child that hangs in the kernel is not waited for."""
        os.close(self._reader)
        with suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, os.WNOHANG)

    def result(self, timeout_s: float) -> Any:
        """What the work returned; None if it has failed or has not ended in time."""
        deadline, text = time.monotonic() + timeout_s, b""
        while len(text) < MAX_RESULT_BYTES:
            remaining_s = max(0.0, deadline - time.monotonic())
            if not select.select([self._reader], [], [], remaining_s)[0]:
                return None
            piece = os.read(self._reader, MAX_RESULT_BYTES)
            if not piece:
                break
            text += piece
        try:
            return json.loads(text)
        except ValueError:
            return None


def _work_and_exit(work: Callable[[], object], user: UserIds | None, writer: int) -> None:
    """Never returns, whatever happens: the caller's code must not run twice."""
    status = 1
    try:
        if user is not None:
            os.setgroups([user.gid])
            os.setgid(user.gid)
            os.setuid(user.uid)
        os.write(writer, json.dumps(work()).encode()[:MAX_RESULT_BYTES])
        status = 0
    finally:
        os._exit(status)
