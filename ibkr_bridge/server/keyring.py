"""The key ring: finds the principal of a key or token.

Keys are found by their digests, so that the time of a comparison reveals nothing of them. A token is valid until it
expires or one of its keys changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from multidict import CIMultiDictProxy

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.config.settings import MAIN, Settings
from ibkr_bridge.errors import InsufficientScope, InvalidKey
from ibkr_bridge.events import Bus, Subscribers
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.named_keys import KeyScope, NamedKey
from ibkr_bridge.server.tokens import (
    TokenAudience,
    TokenClaims,
    TokenRequest,
    TokenScope,
    decode_token,
    derive_signing_secret,
    encode_token,
    owner_of,
)


@dataclass(frozen=True)
class Principal:
    """Who a request comes from, as its key or token proves."""

    label: str
    """The name of its key, for the log."""
    effects: frozenset[Effect]
    """What it may do."""
    owner: str = ""
    """Identifies the key, also after a rotation has changed its label: the beginning of a digest."""
    expires: datetime | None = None
    """When the token expires; None for a key."""
    profiles: tuple[str, ...] = (MAIN,)
    """The profiles that it reaches; none for a key that manages profiles."""
    is_app: bool = False
    """Whether each of its requests must name one of them."""
    issuer_key: str = ""
    """Fingerprint of the full key when the token was issued; changing the full key revokes the token."""

    @property
    def has_reduced_share(self) -> bool:
        """Whether it takes part of what callers share only within the reduced share (see `calls/shares.py`)."""
        return self.is_token or self.effects == READ_ONLY

    @property
    def is_token(self) -> bool:
        """Whether it is a token. Its `owner` is the key that the token was issued for."""
        return self.expires is not None


READ_ONLY = frozenset({Effect.READ})
MANAGING = frozenset({Effect.MANAGE, Effect.READ})
ALL_EFFECTS = frozenset(Effect) - {Effect.MANAGE}
TOKEN_SCOPES: Mapping[TokenScope, tuple[str, frozenset[Effect]]] = {
    TokenScope.READ: ("read-only token", READ_ONLY),
    TokenScope.TRADE: ("full token", ALL_EFFECTS),
}
CONTROL = Principal("control socket", MANAGING, "control", profiles=())
"""Whoever may open the control socket."""
KEY_SCOPES: Mapping[KeyScope, frozenset[Effect]] = {
    KeyScope.READ: READ_ONLY,
    KeyScope.TRADE: ALL_EFFECTS,
    KeyScope.MANAGE: MANAGING,
}


def _reaches(owner: Principal, profile: str) -> bool:
    """Whether a token of this key may concern a profile. Tokens of earlier versions name none: their key has one."""
    return profile in owner.profiles if profile else not owner.is_app


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _fingerprint(digest: bytes) -> str:
    return _digest(digest).hex()[:12]


@dataclass(frozen=True)
class _StoredKey:
    """A configured key, as the key ring stores it."""

    principal: Principal
    digest: bytes = field(repr=False)
    signing_secret: bytes = field(repr=False)
    """Signs the tokens that are issued for this key."""
    token_label: str | None = None
    """What the log calls its tokens; None if they are called by their scope."""


def _store(label: str, effects: frozenset[Effect], digest: bytes, secret: bytes) -> _StoredKey:
    return _StoredKey(Principal(label, effects, _fingerprint(digest)), digest, secret)


def _store_named(settings: Settings, key: NamedKey) -> _StoredKey:
    # The bridge knows only the digest of this key. The full key in the secret keeps others from computing it.
    secret = derive_signing_secret(settings.key, key.sha256)
    stored = _store(key.name, KEY_SCOPES[key.scope], key.digest, secret)
    principal = dataclasses.replace(stored.principal, profiles=key.profiles, is_app=key.app)
    return dataclasses.replace(stored, principal=principal, token_label=f"{key.name} token")


class KeyRing:
    """The configured keys, and the tokens that were issued for them.

    Args:
        settings: the keys of the settings.
        utc: returns the wall time, by which tokens expire; the system's clock if left out.
        bus: gets an event for each subscriber that raised.
    """

    def __init__(self, settings: Settings, utc: Callable[[], datetime] | None = None, bus: Bus | None = None) -> None:
        self._settings = settings
        self._keys: tuple[_StoredKey, ...] = ()
        self._by_digest: dict[bytes, _StoredKey] = {}
        self._by_owner: dict[str, _StoredKey] = {}
        self._full_fingerprint = ""
        self._traded: dict[str, datetime] = {}  # ids of tokens that were traded, until they expire
        self._utc = utc or SystemClock().utc
        self._on_replaced: Subscribers[None] = Subscribers("keys", bus or Bus())
        self.replace(settings)

    def replace(self, settings: Settings, named_keys: Sequence[NamedKey] = ()) -> None:
        """Replace all keys. Requests in progress continue; subscribers are called, and can use `is_still_valid`."""
        rows = (
            ("full", ALL_EFFECTS, settings.key),
            ("previous", ALL_EFFECTS, settings.key_previous),
            ("read-only", READ_ONLY, settings.readonly_key),
        )
        self._settings = settings
        self._full_fingerprint = _fingerprint(_digest(settings.key.encode()))
        of_settings = (
            _store(label, effects, _digest(key.encode()), derive_signing_secret(settings.key, key))
            for label, effects, key in rows
            if key
        )
        self._keys = (*of_settings, *(_store_named(settings, key) for key in named_keys))
        self._by_digest = {stored.digest: stored for stored in self._keys}
        self._by_owner = {stored.principal.owner: stored for stored in self._keys}
        self._on_replaced.notify(None)

    def replace_named(self, named_keys: Sequence[NamedKey]) -> None:
        """Replace the named keys; those of the settings stay."""
        self.replace(self._settings, named_keys)

    def subscribe(self, on_replaced: Callable[[None], None]) -> None:
        """Call a function each time the keys were replaced. One that raises is reported and stops no other."""
        self._on_replaced.subscribe(on_replaced)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(stored.principal.label for stored in self._keys)}>"

    def find_key(self, key_from_headers: bytes) -> Principal | None:
        """The principal of a key; None if the key is wrong."""
        # A lookup by the digest: its time tells at most how the digest of a guess begins, and nothing of a key.
        stored = self._by_digest.get(_digest(key_from_headers))
        return stored.principal if stored is not None else None

    def find_token(self, key_from_headers: bytes, audience: TokenAudience = TokenAudience.API) -> Principal | None:
        """The principal of a token; None if it is not ours, is for something else, has expired, or one of its keys
        has changed.
        """
        found = self._find_claims(key_from_headers, audience)
        return None if found is None else self._principal_of_token(*found)

    def _find_claims(self, token: bytes, audience: TokenAudience) -> tuple[TokenClaims, _StoredKey] | None:
        found = None
        named = self._by_owner.get(owner_of(token))
        for stored in (named,) if named is not None else self._keys:
            claims = decode_token(token, stored.signing_secret)
            if claims is None or claims.audience is not audience or claims.token_id in self._traded:
                continue
            is_of_key = claims.owner == stored.principal.owner and _reaches(stored.principal, claims.profile)
            if is_of_key and self._utc() < claims.expires:
                found = claims, stored
        return found

    def trade_for_cookie(self, token: bytes) -> tuple[str, TokenClaims]:
        """Trade the token of an address for that of a cookie, which lasts as long; the first one is then worth nothing.

        The address stands in the arguments of the browser, where every user of this machine can read it.

        Raises:
            InvalidKey: it is not valid, or was traded already.
        """
        found = self._find_claims(token, TokenAudience.PAGE)
        if found is None:
            raise InvalidKey("the token of this address is not valid, or was used already")
        claims, stored = found
        now = self._utc()
        self._traded = {name: expires for name, expires in self._traded.items() if now < expires}
        self._traded[claims.token_id] = claims.expires
        cookie = replace(claims, token_id=secrets.token_hex(8), audience=TokenAudience.PAGE_COOKIE)
        return encode_token(cookie, stored.signing_secret), cookie

    def _principal_of_token(self, claims: TokenClaims, stored: _StoredKey) -> Principal:
        owner, (label, effects) = stored.principal, TOKEN_SCOPES[claims.scope]
        return Principal(
            *(stored.token_label or label, effects & owner.effects, owner.owner, claims.expires),
            profiles=(claims.profile,) if claims.profile else owner.profiles,
            issuer_key=self._full_fingerprint,
        )

    def issue(self, principal: Principal, request: TokenRequest, profile: str | None = None) -> tuple[str, TokenClaims]:
        """Issue a token for a key. Returns the token and its claims.

        Args:
            profile: the one that it concerns; the first of the key if it is left out.

        Raises:
            InsufficientScope: the token would allow more than the key does, or the principal is a token itself.
            InvalidKey: the key was replaced after the principal was authenticated.
        """
        if principal.is_token:
            raise InsufficientScope(
                "a token cannot request another token", hint="send a key, in the header X-Bridge-Key"
            )
        if not TOKEN_SCOPES[request.scope][1] <= principal.effects:
            raise InsufficientScope("a token of this key may only read", hint="request the scope read")
        owners = {stored.principal.owner: stored.signing_secret for stored in self._keys}
        if principal.owner not in owners:
            raise InvalidKey("the key has been replaced")
        now = self._utc()
        issued = now.replace(microsecond=0)  # claims have whole seconds
        expires = issued + timedelta(seconds=request.ttl_s + (now > issued))  # never shorter than requested
        token_id = secrets.token_hex(8)
        profile = profile or next(iter(principal.profiles), "")
        claims = TokenClaims(principal.owner, request.scope, issued, expires, token_id, request.audience, profile)
        return encode_token(claims, owners[principal.owner]), claims

    def is_still_valid(self, principal: Principal) -> bool:
        """Whether its keys are still configured and its token, if it is one, has not expired."""
        principals = [stored.principal for stored in self._keys]
        if principal in principals:  # it is a key itself
            return True
        has_key = any(
            each.owner == principal.owner
            and principal.effects <= each.effects
            and set(principal.profiles) <= set(each.profiles)
            for each in principals
        )
        if principal.expires is None:
            return has_key
        return has_key and principal.issuer_key == self._full_fingerprint and self._utc() < principal.expires


def key_from_headers(headers: CIMultiDictProxy[str]) -> bytes | None:
    """The key or token of a request, as the bytes that were sent; None if there is none, or several that differ.

    `Authorization: Bearer` is read only if there is no `X-Bridge-Key`.
    """
    values: Sequence[str] = headers.getall("X-Bridge-Key", ())
    if not values:
        parts = (value.partition(" ") for value in headers.getall("Authorization", ()))
        values = [token.strip() if scheme.lower() == "bearer" else "" for scheme, _, token in parts]
    if len(set(values)) != 1 or not values[0]:
        return None
    return values[0].encode("utf-8", "surrogateescape")
