"""The handshake of OAuth 1.0a: one call gives a live session token, which is checked before it is used."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.oauth.credential import CredentialProblem
from ibkr_bridge.oauth.live_session_token import token_text
from ibkr_bridge.oauth.refusals import Refusal, refusal_of, words_of
from ibkr_bridge.oauth.signing_keys import (
    HANDSHAKE_PATH,
    AnswerUnreadable,
    LiveSession,
    OAuth1Keys,
    TokenMismatch,
)
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.posts import new_nonce, post_once, timestamp

CHALLENGE_BITS = 256


@dataclass(frozen=True)
class SignedAccess:
    """A live session token: an `Access`."""

    session: LiveSession
    clock: Clock

    @property
    def made(self) -> datetime:
        """See `Access.made`."""
        return self.session.made

    @property
    def ends(self) -> datetime:
        """See `Access.ends`."""
        return self.session.ends

    @property
    def secrets(self) -> tuple[str, ...]:
        """See `Access.secrets`."""
        return (token_text(self.session.token), self.session.token.hex())

    def prepare(self, method: str, url: str) -> Callable[[], str]:
        """See `Access.prepare`; the nonce and the time are those of the moment in which it is called."""
        return lambda: self.session.authorization(method, url, new_nonce(), timestamp(self.clock))

    def websocket_query(self) -> dict[str, str]:
        """See `Access.websocket_query`."""
        return {"oauth_token": self.session.access_token}


class Handshake:
    """Gets live session tokens: an `AccessMaker`.

    Args:
        http: sends the call.
        base: scheme, host and port as they are signed.
        read_keys: reads the keys of the credential; called once, in a thread.
    """

    def __init__(self, http: HttpClient, base: str, read_keys: Callable[[], OAuth1Keys], clock: Clock) -> None:
        self._http = http
        self._base = base
        self._read_keys = read_keys
        self._clock = clock
        self._keys: OAuth1Keys | None = None

    async def make(self) -> SignedAccess:
        """See `AccessMaker.make`."""
        keys, a = await self._load_keys(), secrets.randbits(CHALLENGE_BITS) | 1  # never 0
        url = self._base + HANDSHAKE_PATH
        moment = (new_nonce(), timestamp(self._clock))
        header = await asyncio.to_thread(keys.handshake_header, url, a, *moment)
        response = await post_once(self._http, self._base, HANDSHAKE_PATH, (("Authorization", header),))
        if response.status != 200:
            refusal = refusal_of(response.status, response.body) or Refusal.UNREADABLE
            raise AccessRefused(refusal, words_of(response.body))
        answer = parse_json(response.body)
        try:
            session = await asyncio.to_thread(keys.accept, answer, a, self._clock.utc())
        except TokenMismatch:
            raise AccessRefused(Refusal.MISMATCH) from None
        except AnswerUnreadable as exc:
            raise GatewayProtocolError(str(exc)) from None
        return SignedAccess(session, self._clock)

    async def _load_keys(self) -> OAuth1Keys:
        if self._keys is None:
            try:
                self._keys = await asyncio.to_thread(self._read_keys)
            except CredentialProblem as exc:
                raise AccessRefused(Refusal.INVALID_SIGNATURE, exc.detail) from None
        return self._keys
