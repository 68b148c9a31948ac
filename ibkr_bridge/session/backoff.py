"""How often the brokerage session may be requested. Pure: the time is passed in, the result is a wait in seconds.

Many attempts in a row do not help: IBKR counts them, and two machines that both reclaim the session end each other's
session again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GAPS_S = (0.0, 1.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds before the first try, the second, …; later ones wait as long as the last."""
MAX_FAILED_PER_HOUR = 20
MAX_RECLAIMS_PER_HOUR = 3  # after that the other side keeps the session, and the hint tells a person
MAINTENANCE_GAP_S = 60.0  # seconds; during a maintenance window more attempts do not help
GRACE_S = 5.0  # seconds in which the Gateway may open the session itself after a fresh login; measured: 3 to 4 s
HOUR_S = 3600.0


@dataclass
class ReopenBackoff:
    """The attempts so far. All times are seconds of one clock."""

    _attempts: list[float] = field(default_factory=list)
    _in_a_row: int = 0
    _reclaims: list[float] = field(default_factory=list)
    _not_before: float = 0.0

    @property
    def failed_in_a_row(self) -> int:
        """Requests since the session was last open."""
        return self._in_a_row

    def record_success(self) -> None:
        """The session is open: the last attempt does not count as failed, and after the next loss the first one is made
        at once.
        """
        if self._in_a_row:
            self._attempts.pop()
        self._in_a_row, self._not_before = 0, 0.0

    def grant_grace(self, now: float, seconds: float = GRACE_S) -> None:
        """After a fresh login, wait until the upstream has had time to open the session itself."""
        self._not_before = now + seconds

    def wait_to_open(self, now: float, *, maintenance: bool) -> float:
        """Seconds until the session may be requested; 0 means now."""
        gap = GAPS_S[min(self._in_a_row, len(GAPS_S) - 1)]
        if maintenance and self._in_a_row:
            gap = max(gap, MAINTENANCE_GAP_S)
        earliest = max(self._not_before, self._attempts[-1] + gap if self._attempts and self._in_a_row else now)
        return max(0.0, earliest - now, _until_fewer(self._attempts, MAX_FAILED_PER_HOUR, now))

    def wait_to_reclaim(self, now: float) -> float:
        """Seconds until the session may be taken back from a competing program; 0 means now."""
        return max(self.wait_to_open(now, maintenance=False), _until_fewer(self._reclaims, MAX_RECLAIMS_PER_HOUR, now))

    def reclaims_exhausted(self, now: float) -> bool:
        """Whether the session is left to the competing program for now."""
        return _until_fewer(self._reclaims, MAX_RECLAIMS_PER_HOUR, now) > 0

    def record_attempt(self, now: float, *, reclaim: bool) -> int:
        """Record an attempt; it counts as failed until the session opens. Returns how many there were in a row."""
        self._attempts = [*(at for at in self._attempts if now - at < HOUR_S), now]
        if reclaim:
            self._reclaims = [*(at for at in self._reclaims if now - at < HOUR_S), now]
        self._in_a_row += 1
        return self._in_a_row


def _until_fewer(times: list[float], max_count: int, now: float) -> float:
    """Seconds until fewer than `max_count` of these times are within the last hour."""
    recent = sorted(at for at in times if now - at < HOUR_S)
    return recent[-max_count] + HOUR_S - now if len(recent) >= max_count else 0.0
