"""The key ring: finds the principal of a key or token.

Keys are compared as digests, all of them each time, so that the time reveals nothing. A token is valid until it expires
or one of its keys changes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from multidict import CIMultiDictProxy

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import InsufficientScope, InvalidKey
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.profiles.registry import MAIN
from ibkr_bridge.server.tokens import (
    TokenClaims,
    TokenRequest,
    TokenScope,
    decode_token,
    derive_signing_secret,
    encode_token,
)


@dataclass(frozen=True)
class Principal:
    """What a caller proved to have: its name for the log, and what it may do."""

    label: str
    effects: frozenset[Effect]
    owner: str = ""
    """Which key it is, whatever its name after a rotation; a digest's beginning, so that it tells nothing."""
    expires: datetime | None = None
    """Of a token: from then on it opens nothing. A key does not expire."""
    profile: str = MAIN
    """The profile that the key belongs to."""
    issuer_key: str = ""
    """Fingerprint of the full key when the token was issued; changing the full key revokes the token."""

    @property
    def is_token(self) -> bool:
        """Whether it was a token; its owner is the key that asked for it."""
        return self.expires is not None


READ_ONLY = frozenset({Effect.READ})
ALL_EFFECTS = frozenset(Effect)
TOKEN_SCOPES: Mapping[TokenScope, tuple[str, frozenset[Effect]]] = {
    TokenScope.READ: ("read-only token", READ_ONLY),
    TokenScope.TRADE: ("full token", ALL_EFFECTS),
}


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _fingerprint(key: str) -> str:
    return _digest(_digest(key.encode())).hex()[:12]


@dataclass(frozen=True)
class _StoredKey:
    """A key as the ring remembers it."""

    principal: Principal
    digest: bytes = field(repr=False)
    signing: bytes = field(repr=False)
    """Signs its tokens."""


class KeyRing:
    """The keys that open the door, and the tokens they gave out.

    Args:
        utc: the wall's time, by which tokens expire; the machine's where left out.
    """

    def __init__(self, settings: Settings, utc: Callable[[], datetime] | None = None) -> None:
        self._known: tuple[_StoredKey, ...] = ()
        self._full = ""
        self._utc = utc or SystemClock().utc
        self._watchers: list[Callable[[], None]] = []
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Take these keys instead. Who is inside already stays; who watches is told, and may ask `still_opens`."""
        rows = (
            ("full", ALL_EFFECTS, settings.key),
            ("previous", ALL_EFFECTS, settings.key_previous),
            ("read-only", READ_ONLY, settings.readonly_key),
        )
        self._full = _fingerprint(settings.key)
        self._known = tuple(
            _StoredKey(
                Principal(label, effects, _fingerprint(key)),
                _digest(key.encode()),
                derive_signing_secret(settings.key, key),
            )
            for label, effects, key in rows
            if key
        )
        for told in self._watchers:
            told()

    def subscribe(self, told: Callable[[], None]) -> None:
        """Call somebody whenever the keys have been replaced; they must neither wait nor fail."""
        self._watchers.append(told)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(known.principal.label for known in self._known)}>"

    def find_key(self, key_from_headers: bytes) -> Principal | None:
        """The key that was presented, or None; a token is no key."""
        digest = _digest(key_from_headers)
        found = None
        for known in self._known:
            if hmac.compare_digest(known.digest, digest):
                found = known.principal
        return found

    def find_token(self, key_from_headers: bytes) -> Principal | None:
        """What a token opens, or None: it is none of ours, is over, or one of its keys has changed."""
        found = None
        for known in self._known:
            claims = decode_token(key_from_headers, known.signing)
            if claims is not None and claims.owner == known.principal.owner and self._utc() < claims.expires:
                found = self._principal_of_token(claims, known.principal)
        return found

    def _principal_of_token(self, claims: TokenClaims, asking: Principal) -> Principal:
        label, effects = TOKEN_SCOPES[claims.scope]
        return Principal(
            *(label, effects & asking.effects, asking.owner, claims.expires),
            profile=asking.profile,
            issuer_key=self._full,
        )

    def issue(self, principal: Principal, wanted: TokenRequest) -> tuple[str, TokenClaims]:
        """A token for somebody who has shown a key, and what it says.

        Raises:
            InsufficientScope: it would open more than the key does, or it is asked for with a token.
            InvalidKey: the key was replaced since it was shown.
        """
        if principal.is_token:
            raise InsufficientScope("a token cannot ask for another", hint="send a key, in the header X-Bridge-Key")
        if not TOKEN_SCOPES[wanted.scope][1] <= principal.effects:
            raise InsufficientScope("this key may only read, and so may its tokens", hint="ask for the scope read")
        signing = next((known.signing for known in self._known if known.principal.owner == principal.owner), None)
        if signing is None:
            raise InvalidKey("the key has been replaced")
        now = self._utc()
        issued = now.replace(microsecond=0)  # a token knows whole seconds; it is good for as long as asked, at least
        expires = issued + timedelta(seconds=wanted.seconds + (now > issued))
        claims = TokenClaims(principal.owner, wanted.scope, issued, expires, secrets.token_hex(8))
        return encode_token(claims, signing), claims

    def is_still_valid(self, principal: Principal) -> bool:
        """Whether what opened the door once would do so now, by the keys there are and by the time."""
        is_known = any(
            known.principal.owner == principal.owner and principal.effects <= known.principal.effects
            for known in self._known
        )
        if principal.expires is None:
            return is_known
        return is_known and principal.issuer_key == self._full and self._utc() < principal.expires


def key_from_headers(headers: CIMultiDictProxy[str]) -> bytes | None:
    """The key a request carries, as the bytes that were sent; None for none, or for several that differ.

    `Authorization: Bearer` counts only where `X-Bridge-Key` is absent.
    """
    given: Sequence[str] = headers.getall("X-Bridge-Key", ())
    if not given:
        given = [_bearer_value(value) for value in headers.getall("Authorization", ())]
    if len(set(given)) != 1 or not given[0]:
        return None
    return given[0].encode("utf-8", "surrogateescape")


def _bearer_value(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
