"""What to do when IBKR answers a request for the brokerage session with `failed to generate sso dh token`. Pure.

The login stands, and the brokerage session is refused: to a new paper user, to an account that is not approved, while
another session is alive. Users of the API report that a tickle and a second request help, or a request that does not
compete. Where neither does, only a person can find out why.
"""

from __future__ import annotations

RETRY_S = 3.0  # seconds before the second and the third request
HOUR_S = 3600.0
QUICK_RETRIES = 2


class DhTokenFailures:
    """The failures in a row. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._count = 0
        self._failed_at = float("-inf")
        self._is_requested = False

    def __repr__(self) -> str:
        return f"<DhTokenFailures {self._count} in a row>"

    @property
    def wants_tickle(self) -> bool:
        """Whether a tickle should go before the next request."""
        return self._count == 1

    @property
    def forbids_compete(self) -> bool:
        """Whether the next request should not compete."""
        return self._count == QUICK_RETRIES

    @property
    def needs_person(self) -> bool:
        """Whether all that can be tried has failed."""
        return self._count > QUICK_RETRIES

    def wait_s(self, now: float) -> float:
        """Seconds until the next request; 0 means now."""
        if self._count == 0 or self._is_requested:
            return 0.0
        gap = HOUR_S if self.needs_person else RETRY_S
        return max(0.0, self._failed_at + gap - now)

    def request(self) -> None:
        """A person wants a request now."""
        self._is_requested = True

    def record(self, now: float, *, has_failed: bool) -> None:
        """A request was answered.

        Args:
            has_failed: whether with these words; any other answer ends the row.
        """
        self._count = self._count + 1 if has_failed else 0
        self._failed_at, self._is_requested = now, False
