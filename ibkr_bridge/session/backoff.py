"""How often the brokerage session may be asked for. Pure: told when, answers how long to wait.

A storm of openings helps nobody: IBKR counts them, and two machines that both reclaim kick each other for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GAPS = (0.0, 1.0, 5.0, 15.0, 30.0, 60.0)  # seconds before the first try, the second, …; then always the last
FAILED_AN_HOUR = 20
RECLAIMS_AN_HOUR = 3  # then the other side has won, and a person is told
MAINTENANCE_GAP = 60.0  # seconds; inside a known window nothing is gained by hurry
GRACE = 5.0  # seconds the Gateway is given to open the session itself after a fresh login (it takes 3 to 4)
HOUR = 3600.0


@dataclass
class Ration:
    """The tries so far. All times are seconds of one clock."""

    _tries: list[float] = field(default_factory=list)
    _in_a_row: int = 0
    _reclaims: list[float] = field(default_factory=list)
    _not_before: float = 0.0

    def succeeded(self) -> None:
        """The session is open: the last try was no failure, and the next loss is repaired at once."""
        if self._in_a_row:
            self._tries.pop()
        self._in_a_row, self._not_before = 0, 0.0

    def hold_back(self, now: float) -> None:
        """A fresh login: let the Gateway go first."""
        self._not_before = now + GRACE

    def wait_to_open(self, now: float, *, maintenance: bool) -> float:
        """Seconds until the next opening may be asked for; 0 means now."""
        gap = GAPS[min(self._in_a_row, len(GAPS) - 1)]
        if maintenance and self._in_a_row:
            gap = max(gap, MAINTENANCE_GAP)
        earliest = max(self._not_before, self._tries[-1] + gap if self._tries and self._in_a_row else now)
        return max(0.0, earliest - now, _until_fewer(self._tries, FAILED_AN_HOUR, now))

    def wait_to_reclaim(self, now: float) -> float:
        """Seconds until the session may be taken back from a rival; 0 means now."""
        return max(self.wait_to_open(now, maintenance=False), _until_fewer(self._reclaims, RECLAIMS_AN_HOUR, now))

    def spent(self, now: float) -> bool:
        """Whether the rival is left the session for now."""
        return _until_fewer(self._reclaims, RECLAIMS_AN_HOUR, now) > 0

    def tried(self, now: float, *, reclaim: bool) -> int:
        """Note a try; it counts as failed until the session opens. Returns how many there were in a row."""
        self._tries = [*(at for at in self._tries if now - at < HOUR), now]
        if reclaim:
            self._reclaims = [*(at for at in self._reclaims if now - at < HOUR), now]
        self._in_a_row += 1
        return self._in_a_row


def _until_fewer(times: list[float], most: int, now: float) -> float:
    """Seconds until fewer than `most` of these lie within the last hour."""
    recent = sorted(at for at in times if now - at < HOUR)
    return recent[-most] + HOUR - now if len(recent) >= most else 0.0
