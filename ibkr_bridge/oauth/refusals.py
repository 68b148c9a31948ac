"""What a refusal of IBKR's Web API means, by its status and its body. Pure.

The texts come from users of the API: IBKR documents the statuses alone. The number after "id:" changes each time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from ibkr_bridge.ibkr.bodies import parse_json

MAX_READ_BYTES = 16 * 1024  # a refusal is short; what comes later is not read


class Refusal(Enum):
    """Why there is no access, or why a call was not served."""

    INACTIVE = "inactive"  # IBKR does not know the consumer key yet: everything new counts after a nightly reset
    INVALID_SIGNATURE = "invalid_signature"  # a wrong key, a wrong secret, or keys that are not active yet
    SECRET_LOST = "secret_lost"  # noqa: S105  # IBKR has no secret for this access token
    REVOKED = "revoked"  # the same, for a token that has worked before
    MISMATCH = "mismatch"  # IBKR derived another token: other Diffie-Hellman parameters, or somebody in between
    VAULT_LOCKED = "vault_locked"  # the key that opens the credential is missing
    CREDENTIAL_MISSING = "credential_missing"  # nobody has imported one, or not all of it
    CREDENTIAL_UNREADABLE = "credential_unreadable"  # it does not open, or its store cannot be read
    UNAUTHORIZED = "unauthorized"  # the session is over, or the clock is wrong
    STALE = "stale"  # 410: the outer session is over
    RATE_LIMITED = "rate_limited"  # 429
    BLOCKED = "blocked"  # a page of IBKR's edge: no User-Agent, or this address is blocked
    FORBIDDEN = "forbidden"  # any other 403
    NO_LENGTH = "no_length"  # 411: a POST without Content-Length
    NO_DH_TOKEN = "no_dh_token"  # noqa: S105  # the login stands, and IBKR refuses the brokerage session
    UNAVAILABLE = "unavailable"  # 5xx: maintenance, or IBKR fails
    UNREADABLE = "unreadable"  # an answer that is not as it should be
    UNREACHABLE = "unreachable"  # no connection
    SILENT = "silent"  # no answer in time
    SIGNED_OUT = "signed_out"  # somebody ended the session here, and nobody has asked for another one


@dataclass(frozen=True)
class AccessProblem:
    """Why there is no access, or no new one."""

    refusal: Refusal
    words: str = field(default="", repr=False)
    """IBKR's words, not redacted."""
    hint: str = ""
    """What a person should do about the connection, if that is the problem."""


STALE_SESSION = (Refusal.UNAUTHORIZED, Refusal.STALE)
"""Refusals after which a new access may help."""
FOR_A_PERSON = (Refusal.INVALID_SIGNATURE, Refusal.SECRET_LOST, Refusal.REVOKED, Refusal.MISMATCH)
"""Refusals that no repetition ends."""
INACTIVE = re.compile(r"invalid[ _]consumer", re.IGNORECASE)
INVALID_SIGNATURE = re.compile(r"invalid signature", re.IGNORECASE)
SECRET_LOST = re.compile(r"no access secret key found|LST failed, error:\s*$", re.IGNORECASE)
NO_DH_TOKEN = re.compile(r"failed to generate sso dh token", re.IGNORECASE)
_UNAUTHORIZED_TEXTS = ((INACTIVE, Refusal.INACTIVE), (SECRET_LOST, Refusal.SECRET_LOST))
_BY_STATUS = {
    403: Refusal.FORBIDDEN,
    410: Refusal.STALE,
    411: Refusal.NO_LENGTH,
    429: Refusal.RATE_LIMITED,
}


def refusal_of(status: int, body: bytes) -> Refusal | None:
    """What a response refuses; None for one that refuses nothing that concerns access.

    Args:
        status: the HTTP status.
        body: of the response; what is after its first 16 KiB is not read.
    """
    if status < 400:
        return None
    text = words_of(body)
    if status == 401:
        found = (refusal for pattern, refusal in _UNAUTHORIZED_TEXTS if pattern.search(text))
        is_signature = text.lower().startswith("lst failed") and INVALID_SIGNATURE.search(text)
        return next(found, Refusal.INVALID_SIGNATURE if is_signature else Refusal.UNAUTHORIZED)
    if status == 403 and body.lstrip()[:1] == b"<":
        return Refusal.BLOCKED
    if status >= 500:
        return Refusal.NO_DH_TOKEN if NO_DH_TOKEN.search(text) else Refusal.UNAVAILABLE
    return _BY_STATUS.get(status)


def words_of(body: bytes) -> str:
    """What IBKR says, without the number that it puts in front: `id: 12, error: invalid consumer`."""
    beginning = body[:MAX_READ_BYTES]
    parsed = parse_json(beginning)
    text = parsed.get("error") if isinstance(parsed, dict) else None
    plain = text if isinstance(text, str) else beginning.decode("utf-8", "replace")
    return re.sub(r"^id:\s*\S+,\s*error:\s*", "", plain.strip())
