"""Who is calling? Keys are compared as digests, all of them each time, so that time tells nothing.

A key opens by itself, and so does a token that was asked for with it, until its time is over or a key has changed.
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
from ibkr_bridge.errors import BadKey, WrongScope
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.tokens import Claims, Scope, Wanted, read, signing_secret, write


@dataclass(frozen=True)
class Key:
    """What a caller proved to have: its name for the log, and what it may do."""

    label: str
    effects: frozenset[Effect]
    owner: str = ""
    """Which key it is, whatever its name after a rotation; a digest's beginning, so that it tells nothing."""
    expires: datetime | None = None
    """Of a token: from then on it opens nothing. A key does not expire."""
    under: str = ""
    """Of a token: the owner of the full key at that time, as another full key ends it."""

    @property
    def is_token(self) -> bool:
        """Whether it was a token; its owner is the key that asked for it."""
        return self.expires is not None


READ_ONLY = frozenset({Effect.READ})
EVERYTHING = frozenset(Effect)
TOKENS: Mapping[Scope, tuple[str, frozenset[Effect]]] = {
    Scope.READ: ("read-only token", READ_ONLY),
    Scope.TRADE: ("full token", EVERYTHING),
}


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _owner(key: str) -> str:
    return _digest(_digest(key.encode())).hex()[:12]


@dataclass(frozen=True)
class _Known:
    """A key as the ring remembers it."""

    key: Key
    digest: bytes = field(repr=False)
    signing: bytes = field(repr=False)
    """Signs its tokens."""


class KeyRing:
    """The keys that open the door, and the tokens they gave out.

    Args:
        utc: the wall's time, by which tokens expire; the machine's where left out.
    """

    def __init__(self, settings: Settings, utc: Callable[[], datetime] | None = None) -> None:
        self._known: tuple[_Known, ...] = ()
        self._full = ""
        self._utc = utc or SystemClock().utc
        self._watchers: list[Callable[[], None]] = []
        self.edition = 0
        """How often they were replaced."""
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Take these keys instead. Who is inside already stays; who watches is told, and may ask `still_opens`."""
        rows = (
            ("full", EVERYTHING, settings.key),
            ("previous", EVERYTHING, settings.key_previous),
            ("read-only", READ_ONLY, settings.readonly_key),
        )
        self.edition += 1
        self._full = _owner(settings.key)
        self._known = tuple(
            _Known(Key(label, effects, _owner(key)), _digest(key.encode()), signing_secret(settings.key, key))
            for label, effects, key in rows
            if key
        )
        for told in self._watchers:
            told()

    def watch(self, told: Callable[[], None]) -> None:
        """Call somebody whenever the keys have been replaced; they must neither wait nor fail."""
        self._watchers.append(told)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(known.key.label for known in self._known)}>"

    def find(self, presented: bytes) -> Key | None:
        """The key that was presented, or None; a token is no key."""
        digest = _digest(presented)
        found = None
        for known in self._known:
            if hmac.compare_digest(known.digest, digest):
                found = known.key
        return found

    def find_token(self, presented: bytes) -> Key | None:
        """What a token opens, or None: it is none of ours, is over, or one of its keys has changed."""
        found = None
        for known in self._known:
            claims = read(presented, known.signing)
            if claims is not None and claims.owner == known.key.owner and self._utc() < claims.expires:
                found = self._opened_by(claims, known.key)
        return found

    def _opened_by(self, claims: Claims, asking: Key) -> Key:
        label, effects = TOKENS[claims.scope]
        return Key(label, effects & asking.effects, asking.owner, claims.expires, self._full)

    def issue(self, key: Key, wanted: Wanted) -> tuple[str, Claims]:
        """A token for somebody who has shown a key, and what it says.

        Raises:
            WrongScope: it would open more than the key does, or it is asked for with a token.
            BadKey: the key was replaced since it was shown.
        """
        if key.is_token:
            raise WrongScope("a token cannot ask for another", hint="send a key, in the header X-Bridge-Key")
        if not TOKENS[wanted.scope][1] <= key.effects:
            raise WrongScope("this key may only read, and so may its tokens", hint="ask for the scope read")
        signing = next((known.signing for known in self._known if known.key.owner == key.owner), None)
        if signing is None:
            raise BadKey("the key has been replaced")
        now = self._utc()
        issued = now.replace(
            microsecond=0
        )  # a token knows whole seconds; it is good for as long as was asked, at least
        expires = issued + timedelta(seconds=wanted.seconds + (now > issued))
        claims = Claims(key.owner, wanted.scope, issued, expires, secrets.token_hex(8))
        return write(claims, signing), claims

    def still_opens(self, key: Key) -> bool:
        """Whether what opened the door once would do so now, by the keys there are and by the time."""
        is_known = any(known.key.owner == key.owner and key.effects <= known.key.effects for known in self._known)
        if key.expires is None:
            return is_known
        return is_known and key.under == self._full and self._utc() < key.expires


def presented(headers: CIMultiDictProxy[str]) -> bytes | None:
    """The key a request carries, as the bytes that were sent; None for none, or for several that differ.

    `Authorization: Bearer` counts only where `X-Bridge-Key` is absent.
    """
    given: Sequence[str] = headers.getall("X-Bridge-Key", ())
    if not given:
        given = [_bearer(value) for value in headers.getall("Authorization", ())]
    if len(set(given)) != 1 or not given[0]:
        return None
    return given[0].encode("utf-8", "surrogateescape")


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
