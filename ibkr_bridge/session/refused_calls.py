"""What brokerage calls show of the session, against what `auth/status` says of it.

Seen in the field: `auth/status` shows a good session, and every `/iserver` call answers 400 "no bridge" until the
session is requested again. So a refusal that contradicts `auth/status` is counted. Pure: the time is passed in.
"""

from __future__ import annotations

MIN_REFUSALS = 2  # one refusal may come from the moment in which the session was lost and found again
SETTLED_AFTER_S = 60.0  # seconds without a contradiction after which an opening counts as successful


class RefusedCalls:
    """Counts the refusals whose check showed a session all the same."""

    def __init__(self) -> None:
        self._unchecked = 0
        self._in_check = 0
        self._confirmed = 0
        self._contradicted_at = float("-inf")
        self.message = ""
        """IBKR's words in the latest refusal; empty if no call was refused since one worked."""

    def __repr__(self) -> str:
        return f"<RefusedCalls {self._unchecked} unchecked, {self._confirmed} confirmed refusals>"

    @property
    def has_refusals(self) -> bool:
        """Whether a brokerage call was refused and none has worked since."""
        return self._unchecked + self._in_check + self._confirmed > 0

    @property
    def contradicts_status(self) -> bool:
        """Whether so many calls were refused that `auth/status` is not believed."""
        return self._confirmed >= MIN_REFUSALS

    def is_settled(self, now: float) -> bool:
        """Whether the last contradiction is over: a minute has passed. A call that works does not end it earlier: one
        endpoint may be refused again and again while others work, and each time the session would be reopened.
        """
        return now - self._contradicted_at >= SETTLED_AFTER_S

    def on_refused(self, message: str) -> None:
        """A brokerage call was answered with these words of a lost session."""
        self._unchecked += 1
        self.message = message

    def forget(self) -> None:
        """The refusals are explained: a brokerage call works again, or the session was lost."""
        self._unchecked = self._in_check = self._confirmed = 0
        self.message = ""

    def on_contradicted(self, now: float) -> None:
        """The session counts as unusable from now on."""
        self._contradicted_at = now

    def begin_check(self) -> None:
        """A check begins: it can confirm the refusals that came before it, and no later one."""
        self._in_check, self._unchecked = self._in_check + self._unchecked, 0

    def confirm(self) -> None:
        """The check showed a session."""
        self._confirmed, self._in_check = self._confirmed + self._in_check, 0
