"""Access by OAuth 2.0: a bearer token for the client, then a session for the username. Nobody here has seen it live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibkr_bridge.calls.messages import Headers
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.oauth.assertions import client_assertion, session_assertion, token_request
from ibkr_bridge.oauth.credential import OAuth2Credential
from ibkr_bridge.oauth.refusals import Refusal, refusal_of, words_of
from ibkr_bridge.oauth.signing import KeyProblem, load_rsa_key
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.posts import post_once

TOKEN_PATH, SESSION_PATH = "/oauth2/api/v1/token", "/gw/api/v1/sso-sessions"
MAX_LIFE = timedelta(hours=24)
FORM: Headers = (("Content-Type", "application/x-www-form-urlencoded"),)
REFUSED_CLIENT = (400, 401, 403)
"""Statuses with which IBKR refuses the client, its key, the scope or the username: a person must act."""


@dataclass(frozen=True)
class BearerAccess:
    """A bearer token of one username: an `Access`."""

    token: str = field(repr=False)
    made: datetime
    ends: datetime

    @property
    def secrets(self) -> tuple[str, ...]:
        """See `Access.secrets`."""
        return (self.token,)

    def prepare(self, method: str, url: str) -> Callable[[], str]:
        """See `Access.prepare`; no call is signed on its own."""
        return lambda: f"Bearer {self.token}"

    def websocket_query(self) -> dict[str, str]:
        """See `Access.websocket_query`. IBKR's schema names it so; one reader says that it is `sessionToken` by now."""
        return {"bearer_token": self.token}


class BearerSession:
    """Gets bearer tokens: an `AccessMaker`.

    Args:
        http: sends the calls.
        base: scheme, host and port.
    """

    def __init__(self, http: HttpClient, base: str, credential: OAuth2Credential, clock: Clock) -> None:
        self._http = http
        self._base = base
        self._credential = credential
        self._clock = clock
        self._key: RSAPrivateKey | None = None

    async def make(self) -> BearerAccess:
        """See `AccessMaker.make`."""
        key, now = await self._load_key(), self._clock.utc()
        assertion = await asyncio.to_thread(client_assertion, self._credential, key, now)
        form = urlencode(token_request(self._credential, assertion)).encode()
        client_token, _ = await self._post(TOKEN_PATH, FORM, form)
        session = await asyncio.to_thread(session_assertion, self._credential, key, now)
        headers = (("Authorization", f"Bearer {client_token}"), ("Content-Type", "application/jwt"))
        token, life = await self._post(SESSION_PATH, headers, session.encode())
        return BearerAccess(token, now, now + life)

    async def _load_key(self) -> RSAPrivateKey:
        if self._key is None:
            try:
                self._key = await asyncio.to_thread(load_rsa_key, self._credential.private_key.encode())
            except KeyProblem as exc:
                raise AccessRefused(Refusal.INVALID_SIGNATURE, str(exc)) from None
        return self._key

    async def _post(self, path: str, headers: Headers, body: bytes) -> tuple[str, timedelta]:
        """The token that IBKR gives, and how long it lives."""
        response = await post_once(self._http, self._base, path, headers, body)
        if response.status in REFUSED_CLIENT and refusal_of(response.status, response.body) is not Refusal.BLOCKED:
            raise AccessRefused(Refusal.INVALID_SIGNATURE, words_of(response.body))
        if response.status not in (200, 201):
            refusal = refusal_of(response.status, response.body) or Refusal.UNREADABLE
            raise AccessRefused(refusal, words_of(response.body))
        return _token_of(parse_json(response.body))


def _token_of(answer: object) -> tuple[str, timedelta]:
    members = answer if isinstance(answer, dict) else {}
    token, seconds = members.get("access_token"), members.get("expires_in")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise GatewayProtocolError("IBKR's answer has no access token")
    is_number = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds > 0
    return token, min(MAX_LIFE, timedelta(seconds=seconds)) if is_number and isinstance(seconds, int) else MAX_LIFE
