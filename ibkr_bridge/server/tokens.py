"""Tokens for browsers, which cannot set headers: signed, with a scope and an expiry. Pure: the secret is passed in.

A token is a JSON Web Token. The secret that signs it is derived from the full key and from the key that the token was
issued for. So no token is stored: tokens stay valid after a restart, and a token ends when either key changes. A claim
is read only after the signature was checked. `keyring.py` knows the time and checks the expiry.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from ibkr_bridge.errors import BadRequest
from ibkr_bridge.server.jwt_library import Options, jwt

ISSUER = "ibkr-bridge"
ALGORITHM = "HS256"  # the only one that is accepted, whatever the head of a token says
PURPOSE = b"ibkr-bridge token 1"  # keeps token secrets apart from anything else that a key may sign later
# Ours have about 240 bytes; a longer text is not decoded.
TOKEN_PATTERN = re.compile(rb"eyJ[A-Za-z0-9_-]{1,256}\.eyJ[A-Za-z0-9_-]{1,768}\.[A-Za-z0-9_-]{43}")
DECODE_OPTIONS: Options = {
    "require": ["iss", "iat", "exp", "jti", "scope", "owner"],
    "verify_iat": False,  # PyJWT would use the system's clock; the key ring checks the time
    "verify_exp": False,
    "verify_nbf": False,
    "verify_aud": False,  # the key ring compares it with what the path wants
}
DEFAULT_TTL_S = 1800  # a page that stays open longer requests a new one
MAX_TTL_S = 86_400  # limits how long a stolen token can be used


class TokenScope(Enum):
    """What a token allows."""

    READ = "read"
    TRADE = "trade"
    """Everything that the full key may do."""


class TokenAudience(Enum):
    """What a token opens (the claim `aud`)."""

    API = "api"
    PAGE = "page"
    """The operator's page at `/`, once: it is traded for the next one."""
    PAGE_COOKIE = "page-cookie"
    """What the operator's page requests, and nothing of the API."""


SCOPES = [scope.value for scope in TokenScope]
AUDIENCES = [TokenAudience.API.value, TokenAudience.PAGE.value]  # that a caller can request


@dataclass(frozen=True)
class TokenClaims:
    """The claims of a token."""

    owner: str
    """The key that it was issued for, see `Principal.owner`."""
    scope: TokenScope
    issued: datetime
    expires: datetime
    """The first second in which it is no longer valid."""
    token_id: str
    """Identifies the token in the log."""
    audience: TokenAudience = TokenAudience.API
    profile: str = ""
    """The profile that it concerns; empty in tokens of earlier versions: that of their key."""


@dataclass(frozen=True)
class TokenRequest:
    """What a caller requests a token for."""

    scope: TokenScope = TokenScope.READ
    ttl_s: int = DEFAULT_TTL_S
    audience: TokenAudience = TokenAudience.API


def derive_signing_secret(full_key: str, owner_key: str) -> bytes:
    """The secret that signs the tokens of one key: 32 bytes, which reveal nothing about the two keys."""
    purpose = hmac.digest(PURPOSE, full_key.encode(), "sha256")
    return hmac.digest(purpose, owner_key.encode(), "sha256")


def encode_token(claims: TokenClaims, secret: bytes) -> str:
    """Sign claims."""
    members = {
        "iss": ISSUER,
        "iat": claims.issued,
        "exp": claims.expires,
        "jti": claims.token_id,
        "scope": claims.scope.value,
        "owner": claims.owner,
        "aud": claims.audience.value,
        "profile": claims.profile,
    }
    return jwt.encode(members, secret, ALGORITHM, headers={"kid": claims.owner})


def owner_of(token: bytes) -> str:
    """The key that a token names, before its signature was checked: it only says with which secret to check.

    Empty for tokens of earlier versions.
    """
    try:
        return str(jwt.get_unverified_header(token).get("kid", ""))
    except jwt.PyJWTError:
        return ""


def decode_token(token: bytes, secret: bytes) -> TokenClaims | None:
    """The claims of a token; None if this secret did not sign it or a claim is missing. The expiry is not checked."""
    if not has_token_form(token):
        return None
    try:
        return _parse_claims(jwt.decode(token, secret, [ALGORITHM], DECODE_OPTIONS, issuer=ISSUER))
    except (jwt.PyJWTError, TypeError, ValueError, OverflowError, OSError):
        return None


def has_token_form(token: bytes) -> bool:
    """Whether it has the form of our tokens, valid or not."""
    return TOKEN_PATTERN.fullmatch(token) is not None


def _parse_claims(members: Mapping[str, Any]) -> TokenClaims:
    return TokenClaims(
        members["owner"],
        TokenScope(members["scope"]),
        datetime.fromtimestamp(members["iat"], UTC),
        datetime.fromtimestamp(members["exp"], UTC),
        members["jti"],
        TokenAudience(members.get("aud", TokenAudience.API.value)),  # tokens of earlier versions have none
        str(members.get("profile", "")),
    )


def parse_token_request(body: bytes) -> TokenRequest:
    """Parse the body of a token request; an empty body requests the defaults.

    Raises:
        BadRequest: the body is invalid; the hint names what is allowed.
    """
    members = _parse_body(body) if body else {}
    if members.keys() - {"scope", "expires_in", "audience"}:
        raise BadRequest("the body has an unknown member", hint="send scope, expires_in and audience, nothing else")
    scope, ttl_s = members.get("scope", TokenScope.READ.value), members.get("expires_in", DEFAULT_TTL_S)
    if scope not in SCOPES:
        raise BadRequest("unknown scope", hint=f'send "scope": one of {", ".join(SCOPES)}')
    audience = members.get("audience", TokenAudience.API.value)
    if audience not in AUDIENCES:
        raise BadRequest("unknown audience", hint=f'send "audience": one of {", ".join(AUDIENCES)}')
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float) or not 1 <= ttl_s <= MAX_TTL_S or ttl_s % 1:
        raise BadRequest(
            "expires_in must be a number of seconds", hint=f'send "expires_in": a whole number from 1 to {MAX_TTL_S}'
        )
    # JSON has one kind of number: 300.0 is a whole one.
    return TokenRequest(TokenScope(scope), int(ttl_s), TokenAudience(audience))


def _parse_body(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise BadRequest(
            "the body must be a JSON object", hint='send {"scope": "read", "expires_in": 1800}, or nothing'
        )
    return members
