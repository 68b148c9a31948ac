"""Makes the keys of profiles in the background, one job at a time: the parameters keep one processor busy for a minute.

What a job makes is handed to `store`, sealed there, and kept nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ibkr_bridge.clock import Clock
from ibkr_bridge.profiles.sealed_store import NoCredential

Store = Callable[[Mapping[str, str]], Awaitable[object]]
"""Seals the new keys of one profile."""


@dataclass
class KeyJob:
    """The keys of one profile that are being made, or could not be made."""

    began: datetime
    task: asyncio.Task[None] | None = None
    problem: str | None = None
    """Why they could not be made, in words for an operator."""

    @property
    def is_running(self) -> bool:
        """Whether it is at work, or waits for another job."""
        return self.task is not None and not self.task.done()


class KeyMaking:
    """The jobs of one bridge."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[str, KeyJob] = {}
        self._one_at_a_time = asyncio.Lock()

    def find(self, profile: str) -> KeyJob | None:
        """The running or failed job of a profile; None after a success."""
        return self._jobs.get(profile)

    def begin(self, profile: str, dh_parameters: str | None, store: Store) -> None:
        """Make keys, and seal them. A job of this profile that runs goes on, and no other begins."""
        job = self._jobs.get(profile)
        if job is not None and job.is_running:
            return
        job = self._jobs[profile] = KeyJob(self._clock.utc())
        job.task = asyncio.create_task(self._run(profile, job, dh_parameters, store))  # outlives the request

    def forget(self, profile: str) -> None:
        """End the job of a profile: nothing that it makes is stored."""
        job = self._jobs.pop(profile, None)
        if job is not None and job.task is not None:
            job.task.cancel()

    async def close(self) -> None:
        """End all jobs."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for profile in list(self._jobs):
            self.forget(profile)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, profile: str, job: KeyJob, dh_parameters: str | None, store: Store) -> None:
        from ibkr_bridge.oauth.new_keys import KeysNotMade, make_keys  # loads cryptography

        try:
            async with self._one_at_a_time:
                keys = await make_keys(dh_parameters, lambda _: None)
            await store(keys.members)
        except (KeysNotMade, NoCredential) as exc:
            job.problem = str(exc)
        except Exception as exc:  # a job that nobody awaits must not fail without a word
            job.problem = f"the keys were not made ({type(exc).__name__})"
        else:
            self._jobs.pop(profile, None)
