"""For which profile a request token was made. Pure: the time is passed in.

IBKR sends no `state` along with a user, so this is all that tells whose connection a callback ends. Without it a user
could be given the account of somebody else.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

LIFE_S = 600.0
MIN_GAP_S = 5.0  # between two requests of one profile: each is a call to IBKR


@dataclass(frozen=True)
class RequestToken:
    """A connection that waits for its user."""

    token: str = field(repr=False)
    made_at: float


class RequestTokens:
    """The request tokens that are still good: the latest of each profile. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._by_profile: dict[str, RequestToken] = {}

    def add(self, profile: str, token: str, now: float) -> None:
        """Remember a token; an earlier one of this profile is good no more."""
        self._by_profile[profile] = RequestToken(token, now)

    def find(self, profile: str, now: float) -> RequestToken | None:
        """The token of a profile; None if there is none, or it is too old."""
        found = self._by_profile.get(profile)
        return found if found is not None and now - found.made_at < LIFE_S else None

    def wait_s(self, profile: str, now: float) -> float:
        """Seconds until the next token may be requested for a profile; 0 means now."""
        found = self._by_profile.get(profile)
        return max(0.0, found.made_at + MIN_GAP_S - now) if found is not None else 0.0

    def use(self, profile: str, token: str, now: float) -> bool:
        """Use a token up. Returns whether it was made for this profile and is still good; if not, nothing changes."""
        found = self.find(profile, now)
        if found is None or not hmac.compare_digest(found.token.encode(), token.encode("utf-8", "replace")):
            return False
        del self._by_profile[profile]
        return True

    def forget(self, profile: str) -> None:
        """The connection of a profile is no longer wanted."""
        self._by_profile.pop(profile, None)
