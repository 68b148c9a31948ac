"""How often the brokerage session may be asked for. Pure: told when, answers how long to wait.

A storm of openings helps nobody: IBKR counts them, and two machines that both reclaim kick each other for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GAPS_S = (0.0, 1.0, 5.0, 15.0, 30.0, 60.0)  # seconds before the first try, the second, …; then always the last
MAX_FAILED_PER_HOUR = 20
MAX_RECLAIMS_PER_HOUR = 3  # then the other side has won, and a person is told
MAINTENANCE_GAP_S = 60.0  # seconds; inside a known window nothing is gained by hurry
GRACE_S = 5.0  # seconds the Gateway is given to open the session itself after a fresh login (it takes 3 to 4)
HOUR_S = 3600.0


@dataclass
class ReopenBackoff:
    """The tries so far. All times are seconds of one clock."""

    _attempts: list[float] = field(default_factory=list)
    _in_a_row: int = 0
    _reclaims: list[float] = field(default_factory=list)
    _not_before: float = 0.0

    def record_success(self) -> None:
        """The session is open: the last try was no failure, and the next loss is repaired at once."""
        if self._in_a_row:
            self._attempts.pop()
        self._in_a_row, self._not_before = 0, 0.0

    def grant_grace(self, now: float) -> None:
        """A fresh login: let the Gateway go first."""
        self._not_before = now + GRACE_S

    def wait_to_open(self, now: float, *, maintenance: bool) -> float:
        """Seconds until the next opening may be asked for; 0 means now."""
        gap = GAPS_S[min(self._in_a_row, len(GAPS_S) - 1)]
        if maintenance and self._in_a_row:
            gap = max(gap, MAINTENANCE_GAP_S)
        earliest = max(self._not_before, self._attempts[-1] + gap if self._attempts and self._in_a_row else now)
        return max(0.0, earliest - now, _until_fewer(self._attempts, MAX_FAILED_PER_HOUR, now))

    def wait_to_reclaim(self, now: float) -> float:
        """Seconds until the session may be taken back from a rival; 0 means now."""
        return max(self.wait_to_open(now, maintenance=False), _until_fewer(self._reclaims, MAX_RECLAIMS_PER_HOUR, now))

    def reclaims_exhausted(self, now: float) -> bool:
        """Whether the rival is left the session for now."""
        return _until_fewer(self._reclaims, MAX_RECLAIMS_PER_HOUR, now) > 0

    def record_attempt(self, now: float, *, reclaim: bool) -> int:
        """Note a try; it counts as failed until the session opens. Returns how many there were in a row."""
        self._attempts = [*(at for at in self._attempts if now - at < HOUR_S), now]
        if reclaim:
            self._reclaims = [*(at for at in self._reclaims if now - at < HOUR_S), now]
        self._in_a_row += 1
        return self._in_a_row


def _until_fewer(times: list[float], most: int, now: float) -> float:
    """Seconds until fewer than `most` of these lie within the last hour."""
    recent = sorted(at for at in times if now - at < HOUR_S)
    return recent[-most] + HOUR_S - now if len(recent) >= most else 0.0
