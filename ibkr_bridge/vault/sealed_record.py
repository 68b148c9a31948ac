"""Seals records with AES-256-GCM. Pure but for the random numbers of the system.

Each record has a data key of its own, and a key-encryption key (KEK) wraps the data key. So a key management service,
which takes 4096 bytes at most, can hold the KEK. The associated data bind a record to its place: a row that was copied
to another user does not open. They do not notice that a whole row was set back to an earlier state.

The form: the mark, the length and the bytes of the key's id, the length and the bytes of the wrapped data key, a nonce,
and the content with its tag. Everything before the content is authenticated with it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = b"IBS1"  # the form of what follows
DATA_KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
MAX_BYTES = 1_000_000
MAX_PART_BYTES = 4096  # of a key's id, and of a wrapped data key


class SealError(Exception):
    """A record cannot be opened. The message is for a person, and has nothing of the record."""


class KeyMissing(SealError):
    """The key that wrapped the data key is not there."""


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


@dataclass(frozen=True)
class WrappedKey:
    """A data key, encrypted by the key-encryption key with this id."""

    key_id: bytes
    wrapped: bytes = field(repr=False)

    @property
    def encoded(self) -> bytes:
        """The bytes that stand in a record."""
        return b"".join(len(part).to_bytes(2, "big") + part for part in (self.key_id, self.wrapped))


class KeySource(Protocol):
    """Wraps and unwraps data keys of 32 bytes: a file of keys, or a key management service (KMS)."""

    async def wrap(self, data_key: bytes, place: Place) -> WrappedKey:
        """Wrap a data key with the newest key, bound to its place.

        Raises:
            KeyMissing: there is no key.
        """
        ...

    async def unwrap(self, wrapped: WrappedKey, place: Place) -> bytes:
        """The data key.

        Raises:
            SealError: it was not wrapped for this place.
            KeyMissing: its key is not there.
        """
        ...

    def is_newest(self, key_id: bytes) -> bool:
        """Whether a key with this id wraps new data keys."""
        ...


async def seal(content: bytes, place: Place, keys: KeySource) -> bytes:
    """Seal a record.

    Raises:
        KeyMissing: there is no key.
    """
    data_key, nonce = secrets.token_bytes(DATA_KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    wrapped = await keys.wrap(data_key, place)
    return _encrypt(content, data_key, nonce, wrapped, place)


async def unseal(sealed: bytes, place: Place, keys: KeySource) -> bytes:
    """Open a record.

    Raises:
        SealError: it is no sealed record, belongs to another place, was changed, or its key is missing.
    """
    wrapped, nonce, _ = _parts(sealed)
    data_key = await keys.unwrap(wrapped, place)
    return _decrypt(sealed, data_key, nonce, place)


def key_id_of(sealed: bytes) -> bytes:
    """The id of the key that wrapped the data key of a record.

    Raises:
        SealError: it is no sealed record.
    """
    return _parts(sealed)[0].key_id


def _encrypt(content: bytes, data_key: bytes, nonce: bytes, wrapped: WrappedKey, place: Place) -> bytes:
    head = MARK + wrapped.encoded + nonce
    return head + AESGCM(data_key).encrypt(nonce, content, head + place.associated_data)


def _decrypt(sealed: bytes, data_key: bytes, nonce: bytes, place: Place) -> bytes:
    head = sealed[: len(sealed) - len(_parts(sealed)[2])]
    try:
        return AESGCM(data_key).decrypt(nonce, sealed[len(head) :], head + place.associated_data)
    except InvalidTag as exc:
        raise SealError("the record was changed, or belongs to another user or profile") from exc


def _parts(sealed: bytes) -> tuple[WrappedKey, bytes, bytes]:
    """The wrapped data key, the nonce, and the content with its tag."""
    if len(sealed) > MAX_BYTES or not sealed.startswith(MARK):
        raise SealError("this is no sealed record")
    key_id, at = _part(sealed, len(MARK))
    wrapped, at = _part(sealed, at)
    nonce, content = sealed[at : at + NONCE_BYTES], sealed[at + NONCE_BYTES :]
    if len(nonce) < NONCE_BYTES or len(content) < TAG_BYTES:
        raise SealError("the record is damaged: it ends too early")
    return WrappedKey(key_id, wrapped), nonce, content


def _part(sealed: bytes, at: int) -> tuple[bytes, int]:
    length = int.from_bytes(sealed[at : at + 2], "big")
    part = sealed[at + 2 : at + 2 + length]
    if not 1 <= length <= MAX_PART_BYTES or len(part) < length:
        raise SealError("the record is damaged: a part is missing")
    return part, at + 2 + length
