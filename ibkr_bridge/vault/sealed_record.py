"""Seals records with AES-256-GCM. Pure but for the random numbers of the system.

Each record has a data key of its own; the data key is sealed with a key-encryption key (KEK), which is named by an id.
So another KEK needs 60 new bytes of each record and not the record itself. The associated data bind a record to its
place: a row that was copied to another user does not open. They do not notice that a whole row was set back to an
earlier state.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = b"IBS1"  # the form of what follows
KEY_BYTES, NONCE_BYTES, TAG_BYTES, ID_BYTES = 32, 12, 16, 8
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
HEAD_BYTES = len(MARK) + ID_BYTES + WRAPPED_BYTES + NONCE_BYTES
MAX_BYTES = 1_000_000


class SealError(Exception):
    """A record cannot be opened. The message is for a person, and has nothing of the record."""


@dataclass(frozen=True)
class KeyEncryptionKey:
    """A key that seals the data keys."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    @property
    def id(self) -> bytes:
        """Names the key, and reveals nothing of it."""
        return hashlib.sha256(b"ibkr-bridge key id\0" + self.key).digest()[:ID_BYTES]


@dataclass(frozen=True)
class Place:
    """Where a record belongs."""

    purpose: str
    user: str
    exchange: str
    profile: str
    version: int

    @property
    def associated_data(self) -> bytes:
        """The place as bytes. Each part has its length in front, so that two places never read alike."""
        parts = (self.purpose, self.user, self.exchange, self.profile, str(self.version))
        encoded = (part.encode() for part in parts)
        return MARK + b"".join(len(each).to_bytes(4, "big") + each for each in encoded)


class Sealer:
    """Seals with the first of its keys, and opens with any of them.

    Args:
        keys: the newest first.
    """

    def __init__(self, keys: Sequence[KeyEncryptionKey]) -> None:
        if not keys:
            raise ValueError("there is no key")
        self._newest = keys[0]
        self._by_id = {each.id: each for each in keys}

    def __repr__(self) -> str:
        return f"<Sealer with {len(self._by_id)} keys>"

    def seal(self, content: bytes, place: Place) -> bytes:
        """Seal a record."""
        data_key, bound = secrets.token_bytes(KEY_BYTES), place.associated_data
        nonce = secrets.token_bytes(NONCE_BYTES)
        head = MARK + self._newest.id + self._wrap(data_key, bound) + nonce
        return head + AESGCM(data_key).encrypt(nonce, content, head + bound)

    def open(self, sealed: bytes, place: Place) -> bytes:
        """Open a record.

        Raises:
            SealError: it belongs to another place, was changed, or its key is missing.
        """
        kek, wrapped, nonce, rest = self._parts(sealed)
        bound = place.associated_data
        try:
            data_key = AESGCM(kek.key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], kek.id + bound)
            return AESGCM(data_key).decrypt(nonce, rest, sealed[:HEAD_BYTES] + bound)
        except InvalidTag as exc:
            raise SealError("the record was changed, or belongs to another user or profile") from exc

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is sealed with the newest key."""
        return sealed[len(MARK) : len(MARK) + ID_BYTES] == self._newest.id

    def _wrap(self, data_key: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._newest.key).encrypt(nonce, data_key, self._newest.id + bound)

    def _parts(self, sealed: bytes) -> tuple[KeyEncryptionKey, bytes, bytes, bytes]:
        if not HEAD_BYTES + TAG_BYTES <= len(sealed) <= MAX_BYTES or not sealed.startswith(MARK):
            raise SealError("this is no sealed record, or it is damaged")
        at = len(MARK)
        kek = self._by_id.get(sealed[at : at + ID_BYTES])
        if kek is None:
            raise SealError("the key that sealed this record is missing")
        at += ID_BYTES
        return kek, sealed[at : at + WRAPPED_BYTES], sealed[at + WRAPPED_BYTES : HEAD_BYTES], sealed[HEAD_BYTES:]
