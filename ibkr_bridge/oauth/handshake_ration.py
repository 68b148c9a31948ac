"""When IBKR may be asked for access again. Pure: the time is passed in, the result is a wait in seconds.

A refusal that only a person can end is asked about once an hour at most: more attempts change nothing, and IBKR counts
them by address, so that one wrong credential could shut out all other users of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ibkr_bridge.oauth.refusals import Refusal

HOUR_S = 3600.0
GAPS_S = (0.0, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds before the first attempt after a success, the second, …; later ones wait as long as the last."""
REPLACEMENT_GAPS_S = (0.0, 10.0, 60.0, 300.0, 900.0)
"""The same between two replacements of an access that IBKR had confirmed and then refused. Where one refusal concerns
one call and not the access, or another program makes tokens for the same user, more would only do harm.
"""
REQUEST_GAP_S = 60.0
"""Seconds between two attempts that a person requests."""
NEW_CREDENTIAL_GAP_S = 5.0
"""The same after a credential was imported: a person waits for the result."""
NOT_ASKED = (Refusal.VAULT_LOCKED, Refusal.CREDENTIAL_MISSING, Refusal.CREDENTIAL_UNREADABLE)
"""Refusals of the bridge itself: IBKR was not asked."""
MIN_GAP_S: Mapping[Refusal, float] = {
    Refusal.INACTIVE: HOUR_S,
    Refusal.INVALID_SIGNATURE: HOUR_S,
    Refusal.SECRET_LOST: HOUR_S,
    Refusal.REVOKED: HOUR_S,
    Refusal.MISMATCH: HOUR_S,
    **dict.fromkeys(NOT_ASKED, 60.0),  # no call was sent: the bridge only looks again
    Refusal.RATE_LIMITED: 900.0,  # IBKR's penalty lasts ten or fifteen minutes, and every call makes it longer
    Refusal.BLOCKED: 300.0,
    Refusal.FORBIDDEN: 300.0,
    Refusal.NO_LENGTH: 300.0,
}
"""The least gap after a refusal."""


@dataclass
class HandshakeRation:
    """The attempts so far. All times are seconds of one clock.

    Args:
        inactive_gap_s: the least gap while IBKR activates a consumer key; a demo does not last for an hour.
    """

    inactive_gap_s: float = HOUR_S
    _failed_in_a_row: int = 0
    _attempted_at: float = float("-inf")
    _min_gap_s: float = 0.0
    _requested_gap_s: float | None = None
    _replaced: list[float] = field(default_factory=list)

    def wait_s(self, now: float) -> float:
        """Seconds until IBKR may be asked for access; 0 means now."""
        gap = max(GAPS_S[min(self._failed_in_a_row, len(GAPS_S) - 1)], self._min_gap_s)
        if self._requested_gap_s is not None:
            gap = min(gap, self._requested_gap_s)
        return max(0.0, self._attempted_at + gap - now)

    def replacement_wait_s(self, now: float) -> float:
        """Seconds until an access that was refused may be replaced; 0 means now."""
        recent = [at for at in self._replaced if now - at < HOUR_S]
        gap = REPLACEMENT_GAPS_S[min(len(recent), len(REPLACEMENT_GAPS_S) - 1)]
        return max(self.wait_s(now), recent[-1] + gap - now if recent else 0.0)

    def request(self, *, is_new_credential: bool = False) -> None:
        """A person wants an attempt, and has probably changed something."""
        self._requested_gap_s = NEW_CREDENTIAL_GAP_S if is_new_credential else REQUEST_GAP_S

    def record_attempt(self, now: float, *, is_replacement: bool = False) -> None:
        """An attempt begins; it counts as failed until `record_success`."""
        self._attempted_at, self._min_gap_s, self._requested_gap_s = now, 0.0, None
        self._failed_in_a_row += 1
        if is_replacement:
            self._replaced = [*(at for at in self._replaced if now - at < HOUR_S), now]

    def record_refusal(self, refusal: Refusal) -> None:
        """The attempt ended with a refusal."""
        if refusal in NOT_ASKED:
            self._attempted_at, self._failed_in_a_row = self._attempted_at - NEW_CREDENTIAL_GAP_S, 0
        gaps = {**MIN_GAP_S, Refusal.INACTIVE: self.inactive_gap_s}
        self._min_gap_s = gaps.get(refusal, 0.0)

    def record_success(self) -> None:
        """IBKR gave access."""
        self._failed_in_a_row, self._min_gap_s = 0, 0.0
