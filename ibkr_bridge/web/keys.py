"""Who is calling? Keys are compared as digests, all of them each time, so that time tells nothing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace

from multidict import CIMultiDictProxy

from ibkr_bridge.endpoint import Effect
from ibkr_bridge.settings import Settings


@dataclass(frozen=True)
class Key:
    """A key a caller proved to know: its name for the log, and what it may do."""

    label: str
    effects: frozenset[Effect]
    owner: str = ""
    """Which key it is, whatever its name after a rotation; a digest's beginning, so that it tells nothing."""


READ_ONLY = frozenset({Effect.READ})
EVERYTHING = frozenset(Effect)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class KeyRing:
    """The keys that open the door."""

    def __init__(self, settings: Settings) -> None:
        self._keys: tuple[tuple[bytes, Key], ...] = ()
        self.edition = 0
        """How often they were replaced."""
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Take these keys instead; who is inside already stays."""
        rows = (
            (settings.key, Key("full", EVERYTHING)),
            (settings.key_previous, Key("previous", EVERYTHING)),
            (settings.readonly_key, Key("read-only", READ_ONLY)),
        )
        self.edition += 1
        known = ((_digest(secret.encode()), key) for secret, key in rows if secret)
        self._keys = tuple((digest, replace(key, owner=_digest(digest).hex()[:12])) for digest, key in known)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(key.label for _, key in self._keys)}>"

    def find(self, presented: bytes) -> Key | None:
        """The key that was presented, or None."""
        digest = _digest(presented)
        found = None
        for known, key in self._keys:
            if hmac.compare_digest(known, digest):
                found = key
        return found


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
