"""Key-encryption keys from a file: a credential of systemd, or a file that only its owner can read.

One key in each line, the newest first: 32 random bytes in Base64, as `bridge.py vault key` prints them. The first key
wraps new data keys, and any of them unwraps. A key is named by the beginning of its digest, which reveals nothing of
it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ibkr_bridge.file_trust import distrust, open_regular
from ibkr_bridge.vault.sealed_record import NONCE_BYTES, KeyMissing, Place, SealError, WrappedKey

KEY_BYTES, ID_BYTES = 32, 8
MAX_KEYS = 32
MAX_FILE_BYTES = 16_384


class KeyFileProblem(Exception):
    """The file cannot be used. The message is for a person, and has nothing of a key."""


@dataclass(frozen=True)
class KeyEncryptionKey:
    """A key that wraps data keys."""

    key: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """Names the key, and reveals nothing of it."""
        return hashlib.sha256(b"ibkr-bridge key id\0" + self.key).digest()[:ID_BYTES]


def new_key_line() -> str:
    """A new key as a line of the file."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")


def parse_keys(text: str) -> tuple[KeyEncryptionKey, ...]:
    """The keys of a file, the newest first. Empty lines and lines that begin with `#` are left out.

    Raises:
        KeyFileProblem: a line is no key, there is none, or there are too many.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    keys = tuple(_parse_key(number, line) for number, line in lines if line and not line.startswith("#"))
    if not keys or len(keys) > MAX_KEYS or len({each.key for each in keys}) < len(keys):
        raise KeyFileProblem(f"the file must have 1 to {MAX_KEYS} keys, each once: bridge.py vault key makes one")
    return keys


def _parse_key(number: int, line: str) -> KeyEncryptionKey:
    try:
        key = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileProblem(
            f"line {number} is no key: 32 bytes in Base64 are needed, as bridge.py vault key makes them"
        )
    return KeyEncryptionKey(key)


def read_key_file(path: Path) -> tuple[KeyEncryptionKey, ...]:
    """The keys of a file that only its owner can read.

    Raises:
        KeyFileProblem: it is missing, others can read it, or it has another form.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            status = os.fstat(file.fileno())
            if reason := distrust(status):
                raise KeyFileProblem(f"the file of keys {reason}")
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileProblem("other users can read the file of keys: chmod 400")
            text = file.read(MAX_FILE_BYTES).decode("ascii")
    except FileNotFoundError as exc:
        raise KeyFileProblem("the file of keys is missing: IBKR_BRIDGE_VAULT_KEYS names it") from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise KeyFileProblem(f"the file of keys cannot be read: {reason}") from exc
    return parse_keys(text)


class FileKeySource:
    """A `KeySource` of the keys of a file.

    Args:
        keys: the newest first.
    """

    def __init__(self, keys: tuple[KeyEncryptionKey, ...]) -> None:
        self._keys = keys
        self._by_id = {each.id: each for each in keys}

    def __repr__(self) -> str:
        return f"<FileKeySource with {len(self._keys)} keys>"

    def is_newest(self, key_id: bytes) -> bool:
        """See `KeySource.is_newest`."""
        return bool(self._keys) and key_id == self._keys[0].id

    async def wrap(self, data_key: bytes, place: Place) -> WrappedKey:
        """See `KeySource.wrap`."""
        if not self._keys:
            raise KeyMissing("there is no key to seal with")
        newest, nonce = self._keys[0], secrets.token_bytes(NONCE_BYTES)
        encrypted = AESGCM(newest.key).encrypt(nonce, data_key, newest.id + place.associated_data)
        return WrappedKey(newest.id, nonce + encrypted)

    async def unwrap(self, wrapped: WrappedKey, place: Place) -> bytes:
        """See `KeySource.unwrap`."""
        kek = self._by_id.get(wrapped.key_id)
        if kek is None:
            raise KeyMissing("the key that sealed this record is missing")
        nonce, encrypted = wrapped.wrapped[:NONCE_BYTES], wrapped.wrapped[NONCE_BYTES:]
        try:
            return AESGCM(kek.key).decrypt(nonce, encrypted, kek.id + place.associated_data)
        except (InvalidTag, ValueError) as exc:
            raise SealError("the record was changed, or belongs to another user or profile") from exc
