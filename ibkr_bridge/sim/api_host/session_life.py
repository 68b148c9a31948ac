"""How sessions end at the public host: by age, at midnight, without a tickle, by a logout.

The live session token opens everything but `/iserver`. The brokerage session on top of it ends earlier. Nobody else
keeps it alive: there is no Gateway that tickles by itself. Ends are found out when the next call comes.
"""

from __future__ import annotations

from ibkr_bridge.sim.api_host.registry import LiveSession
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.dispatch import MarketResponse, error_response
from ibkr_bridge.sim.market.session_calls import session_id
from ibkr_bridge.sim.market.sessions import Sessions

GONE = error_response(410, "gone")
UNAUTHORIZED = MarketResponse(401, b"", "text/plain")


class SessionLife:
    """Decides what has ended when a call comes."""

    def __init__(self, rules: Rules, calendar: Calendar) -> None:
        self._rules = rules
        self._calendar = calendar
        self._count = 0

    def refuse(self, session: LiveSession, path: str, now: float) -> MarketResponse | None:
        """The refusal of a call whose live session is over; None if it lasts."""
        if session.is_logged_out and self._rules.is_gone_after_logout and path.startswith("/iserver"):
            return GONE
        at_midnight = self._rules.midnight_ends_session_token and now >= session.first_midnight
        is_over = session.is_logged_out or now >= session.ends_at or at_midnight
        token = session.access_token
        is_not_for_us = path == "/sso/validate" and token is not None and self._rules.validate_is_for_oauth2
        if is_over or is_not_for_us or (token is not None and token.is_revoked):
            return UNAUTHORIZED
        return UNAUTHORIZED if self._is_refused_for_nothing() else None

    def end_brokerage(self, session: LiveSession, sessions: Sessions, now: float) -> None:
        """End the brokerage session if its time is over."""
        is_midnight = now >= session.next_midnight
        if is_midnight:
            session.next_midnight = self._calendar.next_midnight(now, self._rules.region)
        if is_midnight or now >= session.tickled_at + self._rules.idle_life_s:
            session.tickled_at = now
            sessions.lose_brokerage()

    def follow_up(self, session: LiveSession, path: str, now: float) -> None:
        """Note what a call that was answered means for the sessions."""
        if path in ("/tickle", "/iserver/auth/ssodh/init") or not self._rules.only_tickles_keep_alive:
            session.tickled_at = now
        if path == "/tickle":
            session.session_id = session_id(session.login)
        elif path == "/logout":
            session.is_logged_out = True

    def _is_refused_for_nothing(self) -> bool:
        self._count += 1
        return self._rules.refuse_every > 0 and self._count % self._rules.refuse_every == 0
