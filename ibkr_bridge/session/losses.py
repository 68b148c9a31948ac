"""How often the session was lost in the last hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

HOUR_S = 3600.0
MAX_KEPT = 1000  # a session that is lost every four seconds


class SessionLosses:
    """Counts the losses of the session.

    Args:
        now: returns monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._was_ready = False
        self._times: deque[float] = deque(maxlen=MAX_KEPT)

    def __repr__(self) -> str:
        return f"<SessionLosses {self.last_hour}>"

    def on_session_change(self, ready: bool) -> None:
        """The state of the session or its reason changed."""
        if self._was_ready and not ready:
            self._times.append(self._now())
        self._was_ready = ready

    @property
    def last_hour(self) -> int:
        """The losses of the last hour."""
        limit = self._now() - HOUR_S
        while self._times and self._times[0] < limit:
            self._times.popleft()
        return len(self._times)
