"""Whether the login is still valid, where the flags of `auth/status` leave it open: asked rarely, then remembered."""

from __future__ import annotations

from ibkr_bridge.clock import Clock
from ibkr_bridge.session.session_api import SessionApi

PROOF_TTL_S = 10.0  # seconds; a check every 3 s would send three times as many calls for the same answer


class LoginProof:
    """The last answer to the question whether somebody is signed in."""

    def __init__(self, api: SessionApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._asked_at = float("-inf")
        self._is_alive: bool | None = None

    async def is_alive(self) -> bool | None:
        """Whether somebody is signed in; None if no response shows it."""
        if self._clock.now() - self._asked_at >= PROOF_TTL_S:
            self._asked_at = self._clock.now()
            self._is_alive = await self._api.is_login_alive()
        return self._is_alive
