"""OAuth 2.0 at the simulated host: signed assertions give a bearer token, and this one gives a session of a username.

The second assertion names the address from which the session will be used, and IBKR compares it with the caller's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric import rsa

from ibkr_bridge.sim.api_host.json_web_token import WebToken
from ibkr_bridge.sim.api_host.keys import load_public_key
from ibkr_bridge.sim.api_host.registry import LiveSession
from ibkr_bridge.sim.api_host.rules import DAY_S, Rules
from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.dispatch import MarketResponse, ok_response
from ibkr_bridge.sim.request_log import LoggedRequest

GRANT = "client_credentials"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SESSION_SCOPE = "sso-sessions.write"
MAX_ASSERTION_LIFE_S = 300.0
MIN_BITS = 3072
INVALID = "The access token request is invalid"


class ProblemError(Exception):
    """A refusal in the form of `application/problem+json`."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        body = {"type": "about:blank", "title": title, "status": status}
        self.response = MarketResponse(status, ok_response(body).body, "application/problem+json")


@dataclass
class Client:
    """One organisation: its public keys by their ids, and the usernames that it administers."""

    client_id: str
    keys: dict[str, rsa.RSAPublicKey]
    usernames: tuple[str, ...]
    is_enabled: bool = True


@dataclass(frozen=True)
class Grant:
    """What a bearer token allows until it ends."""

    client: Client
    scopes: frozenset[str]
    ends_at: float


class OAuth2:
    """The two calls of OAuth 2.0, and the sessions they have made.

    Args:
        open_session: signs a username in until a moment.
    """

    def __init__(
        self, rules: Rules, calendar: Calendar, open_session: Callable[[str, float, float], LiveSession]
    ) -> None:
        self.clients: dict[str, Client] = {}
        self.sessions: dict[str, LiveSession] = {}
        """The sessions by the bearer tokens that belong to them."""
        self._rules = rules
        self._calendar = calendar
        self._open_session = open_session
        self._grants: dict[str, Grant] = {}

    def register(self, client_id: str, public_keys: Mapping[str, str], usernames: tuple[str, ...]) -> Client:
        """Register an organisation with its public keys, in PEM and by their ids.

        Raises:
            ValueError: a key is none, or too short.
        """
        keys = {key_id: load_public_key(pem) for key_id, pem in public_keys.items()}
        if any(key.key_size < MIN_BITS for key in keys.values()):
            raise ValueError(f"IBKR wants keys of {MIN_BITS} bits or more")
        client = self.clients[client_id] = Client(client_id, keys, usernames)
        return client

    def issue_token(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """Answer `/oauth2/api/v1/token`."""
        try:
            return ok_response(self._issue_token(logged))
        except ProblemError as problem:
            return problem.response

    def open_sso_session(self, logged: LoggedRequest, address: str) -> MarketResponse:
        """Answer `/gw/api/v1/sso-sessions`."""
        try:
            return ok_response(self._open_sso_session(logged, address))
        except ProblemError as problem:
            return problem.response

    def _issue_token(self, logged: LoggedRequest) -> Mapping[str, Any]:
        form = dict(parse_qsl(logged.body.decode("utf-8", "replace")))
        if form.get("grant_type") != GRANT or form.get("client_assertion_type") != ASSERTION_TYPE:
            raise ProblemError(400, INVALID)
        client, claims = self._read_assertion(form.get("client_assertion", ""), logged.at)
        is_for_us = claims.get("sub") == client.client_id and claims.get("aud") == "/token"
        if not is_for_us or claims["exp"] - claims["iat"] > MAX_ASSERTION_LIFE_S:
            raise ProblemError(401, INVALID)
        scopes = form.get("scope", "").split()
        token, life_s = secrets.token_urlsafe(32), min(self._rules.session_token_life_s, DAY_S)
        self._grants[token] = Grant(client, frozenset(scopes), logged.at + life_s)
        return {"access_token": token, "token_type": "Bearer", "expires_in": int(life_s), "scope": " ".join(scopes)}

    def _open_sso_session(self, logged: LoggedRequest, address: str) -> Mapping[str, Any]:
        grant = self._grants.get(read_bearer(logged) or "")
        if grant is None or logged.at >= grant.ends_at:
            raise ProblemError(401, "The bearer token is invalid")
        if SESSION_SCOPE not in grant.scopes:
            raise ProblemError(403, "The bearer token has no sufficient scope")
        if logged.header("Content-Type") != "application/jwt":
            raise ProblemError(400, "The body must be application/jwt")
        client, claims = self._read_assertion(logged.body.decode("latin-1"), logged.at)
        username = claims.get("credential")
        if client is not grant.client or username not in client.usernames:
            raise ProblemError(403, "Permission denied for this credential")
        if address not in (claims.get("ip"), *claims.get("alternativeIps", ())):
            raise ProblemError(403, "The address of the caller is not the address of the assertion")
        token = secrets.token_urlsafe(32)
        ends_at = logged.at + min(self._rules.session_token_life_s, DAY_S)
        self.sessions[token] = self._open_session(str(username), logged.at, ends_at)
        return {"access_token": token, "active": True, "token_type": "Bearer"}

    def _read_assertion(self, assertion: str, now: float) -> tuple[Client, Mapping[str, Any]]:
        """The client that signed an assertion, and its claims, which are current.

        Raises:
            ProblemError: nobody known did, or its time is over or has not come.
        """
        try:
            token = WebToken.read(assertion)
            client = self.clients[token.claims["iss"]]
            is_signed = token.is_signed_by(client.keys[token.header["kid"]])
            starts_at, ends_at = float(token.claims["iat"]), float(token.claims["exp"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProblemError(401, INVALID) from error
        epoch_s = self._calendar.epoch_ms(now) / 1000 + self._rules.clock_skew_s
        is_current = starts_at - self._rules.assertion_skew_s <= epoch_s < ends_at
        if not (is_signed and is_current and client.is_enabled):
            raise ProblemError(401, INVALID)
        return client, token.claims


def read_bearer(logged: LoggedRequest) -> str | None:
    """The bearer token of a request; None if it has none."""
    scheme, _, token = (logged.header("Authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
