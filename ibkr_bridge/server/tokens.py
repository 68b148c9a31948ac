"""Tokens for browsers, which cannot set headers: signed, scoped, soon over. Pure: told the secret, asks no clock.

A token is a JSON Web Token. The secret that signs it is made of the full key and the key that asked for it, so there is
nothing further to keep: tokens outlive a restart, and none outlives either key. Nothing that a token says counts before
its signature has been checked; whether its time is over is for those who know the time (`keys.py`).
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

import jwt
from jwt.types import Options

from ibkr_bridge.errors import BadRequest

ISSUER = "ibkr-bridge"
ALGORITHM = "HS256"  # and no other, whatever a token's head says
PURPOSE = b"ibkr-bridge token 1"  # what a key signs under another name, one day, is no token
TOKEN_PATTERN = re.compile(
    rb"eyJ[A-Za-z0-9_-]{1,256}\.eyJ[A-Za-z0-9_-]{1,768}\.[A-Za-z0-9_-]{43}"
)  # ours have some 240 bytes
DECODE_OPTIONS: Options = {
    "require": ["iss", "iat", "exp", "jti", "scope", "owner"],
    "verify_iat": False,  # PyJWT asks the machine's clock, and we are told the time
    "verify_exp": False,
    "verify_nbf": False,
}
DEFAULT_TTL_S = 1800  # seconds; a page that stays open longer asks again
MAX_TTL_S = 86_400  # seconds; a token that was stolen is worth nothing tomorrow


class TokenScope(Enum):
    """What a token may be asked to open."""

    READ = "read"
    TRADE = "trade"
    """Everything that the full key may do."""


SCOPES = [scope.value for scope in TokenScope]


@dataclass(frozen=True)
class TokenClaims:
    """What a token says of itself."""

    owner: str
    """Of the key that asked for it, see `keys.Key`."""
    scope: TokenScope
    issued: datetime
    expires: datetime
    """From this second on it is worth nothing."""
    name: str
    """Tells it from others, in the log."""


@dataclass(frozen=True)
class TokenRequest:
    """What somebody asks a token for."""

    scope: TokenScope = TokenScope.READ
    seconds: int = DEFAULT_TTL_S


def derive_signing_secret(full: str, asking: str) -> bytes:
    """What signs the tokens of one key: 32 bytes that tell nothing of the two keys they are made of."""
    purpose = hmac.digest(PURPOSE, full.encode(), "sha256")
    return hmac.digest(purpose, asking.encode(), "sha256")


def encode_token(claims: TokenClaims, secret: bytes) -> str:
    """The token that says so."""
    told = {
        "iss": ISSUER,
        "iat": claims.issued,
        "exp": claims.expires,
        "jti": claims.name,
        "scope": claims.scope.value,
        "owner": claims.owner,
    }
    return jwt.encode(told, secret, ALGORITHM)


def decode_token(token: bytes, secret: bytes) -> TokenClaims | None:
    """What a token says, where this secret has signed it and nothing is missing. Its time may be over."""
    if not has_token_form(token):
        return None
    try:
        return _parse_claims(jwt.decode(token, secret, [ALGORITHM], DECODE_OPTIONS, issuer=ISSUER))
    except (jwt.PyJWTError, TypeError, ValueError, OverflowError, OSError):
        return None


def has_token_form(token: bytes) -> bool:
    """Whether it looks like a token of ours, good or not: the one canonical form, and not too long to be looked at."""
    return TOKEN_PATTERN.fullmatch(token) is not None


def _parse_claims(told: Mapping[str, Any]) -> TokenClaims:
    return TokenClaims(
        told["owner"],
        TokenScope(told["scope"]),
        _from_timestamp(told["iat"]),
        _from_timestamp(told["exp"]),
        told["jti"],
    )


def _from_timestamp(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def parse_token_request(body: bytes) -> TokenRequest:
    """What the body of a request for a token asks for; an empty one asks for the usual.

    Raises:
        BadRequest: it asks for something else, and what it may ask for.
    """
    told = _parse_body(body) if body else {}
    if told.keys() - {"scope", "expires_in"}:
        raise BadRequest("the body has an unknown member", hint="send scope and expires_in, nothing else")
    scope, seconds = told.get("scope", TokenScope.READ.value), told.get("expires_in", DEFAULT_TTL_S)
    if scope not in SCOPES:
        raise BadRequest("unknown scope", hint=f'send "scope": one of {", ".join(SCOPES)}')
    if type(seconds) is not int or not 1 <= seconds <= MAX_TTL_S:
        raise BadRequest(
            "expires_in must be a number of seconds", hint=f'send "expires_in": a whole number from 1 to {MAX_TTL_S}'
        )
    return TokenRequest(TokenScope(scope), seconds)


def _parse_body(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise BadRequest(
            "the body must be a JSON object", hint='send {"scope": "read", "expires_in": 1800}, or nothing'
        )
    return told
