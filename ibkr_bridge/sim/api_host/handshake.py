"""The handshake: a client that proves who it is gets its half of a live session token.

Both sides compute the token; it is never sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from ibkr_bridge.sim.api_host.arithmetic import Agreement, Group, agree, find_number
from ibkr_bridge.sim.api_host.checks import BAD_HANDSHAKE, Checks
from ibkr_bridge.sim.api_host.oauth_request import OAuthRequest, RefusedError
from ibkr_bridge.sim.api_host.registry import AccessToken, LiveSession, Registry
from ibkr_bridge.sim.api_host.rules import DAY_S, Rules
from ibkr_bridge.sim.clock import Calendar

RANDOM_BITS = 256


class Handshake:
    """Answers `/oauth/live_session_token`.

    Args:
        open_session: signs a username in, from a moment to another one.
        end_session: ends such a sign-in, and the brokerage session as well if that is said.
    """

    def __init__(
        self,
        registry: Registry,
        checks: Checks,
        rules: Rules,
        calendar: Calendar,
        open_session: Callable[[str, float, float], LiveSession],
        end_session: Callable[[LiveSession, bool], None],
    ) -> None:
        self.shared_bits: int | None = None
        """How many bits the shared number is to have: 2048, 2040 and 2039 are the edges of its encoding."""
        self.other_group: Group | None = None
        """Parameters that are used instead of the uploaded ones, as if another file had been uploaded."""
        self._registry = registry
        self._checks = checks
        self._rules = rules
        self._calendar = calendar
        self._open_session = open_session
        self._end_session = end_session

    def answer(self, request: OAuthRequest, now: float) -> Mapping[str, object]:
        """Check a request, make a live session token, and return IBKR's half.

        Raises:
            RefusedError: the request is wrong.
        """
        consumer = self._checks.find_consumer(request, now)
        self._checks.check_freshness(request, "RSA-SHA256", now)
        token, secret = self._checks.find_token(request, consumer)
        self._checks.check_rsa(request, consumer.keys.signature_key, secret.hex(), BAD_HANDSHAKE)
        group = self.other_group or consumer.keys.group
        challenge = _read_challenge(request, group)
        agreement = agree(group, challenge, self._choose_number(group, challenge), secret)
        session = self._keep(token, agreement, now)
        shown = now if self._rules.tells_time_of_computation else session.ends_at
        return {
            "diffie_hellman_response": f"{agreement.response:x}",
            "live_session_token_signature": agreement.signature(consumer.key),
            "live_session_token_expiration": self._calendar.epoch_ms(shown) + int(self._rules.clock_skew_s * 1000),
        }

    def _choose_number(self, group: Group, challenge: int) -> int:
        number = secrets.randbits(RANDOM_BITS) | 1
        return number if self.shared_bits is None else find_number(group, challenge, number, self.shared_bits)

    def _keep(self, token: AccessToken, agreement: Agreement, now: float) -> LiveSession:
        ends_at = now + min(self._rules.session_token_life_s, DAY_S)
        sessions = self._registry.sessions.setdefault(token.token, [])
        if self._rules.second_token_ends_first:
            for former in sessions:
                self._end_session(former, not self._rules.brokerage_outlives_session_token)
            sessions.clear()
        session = self._open_session(token.username, now, ends_at)
        session.access_token, session.key = token, agreement.live_session_token
        sessions.insert(0, session)
        return session


def _read_challenge(request: OAuthRequest, group: Group) -> int:
    try:
        challenge = int(request.parameters.get("diffie_hellman_challenge", ""), 16)
    except ValueError:
        raise RefusedError("LST failed, error: invalid diffie_hellman_challenge") from None
    if not 1 < challenge < group.p - 1:
        raise RefusedError("LST failed, error: invalid diffie_hellman_challenge")
    return challenge
