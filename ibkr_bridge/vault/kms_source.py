"""Key-encryption keys in a key management service (KMS), such as that of a cloud: the keys never leave it.

The service is a small interface, so each needs an adapter of some lines. It encrypts at most 4096 bytes, which is
enough for a data key and too little for a credential: that is why each record has a data key of its own. Nobody of this
project has used it with a real service; the tests have a fake with the same limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ibkr_bridge.vault.sealed_record import KeyMissing, Place, SealError, WrappedKey

MAX_PLAIN_BYTES = 4096  # of AWS KMS and of Google Cloud KMS is 64 KiB: the smaller one holds


class KmsRefused(Exception):
    """The service does not decrypt it: another context, another key, or changed bytes."""


class KmsClient(Protocol):
    """What is needed of a service. The context is what AWS calls the encryption context: it must be the same again."""

    async def encrypt(self, key_name: str, plain: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt at most 4096 bytes."""
        ...

    async def decrypt(self, key_name: str, encrypted: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypt them.

        Raises:
            KmsRefused: they were not encrypted by this key in this context.
        """
        ...


class KmsKeySource:
    """A `KeySource` whose keys are in a KMS.

    Args:
        client: the service.
        key_names: the names of its keys, the newest first.
    """

    def __init__(self, client: KmsClient, key_names: Sequence[str]) -> None:
        self._client = client
        self._key_names = tuple(key_names)

    def __repr__(self) -> str:
        return f"<KmsKeySource with {len(self._key_names)} keys>"

    def is_newest(self, key_id: bytes) -> bool:
        """See `KeySource.is_newest`."""
        return bool(self._key_names) and key_id == self._key_names[0].encode()

    async def wrap(self, data_key: bytes, place: Place) -> WrappedKey:
        """See `KeySource.wrap`."""
        if not self._key_names:
            raise KeyMissing("no key of the service is configured")
        newest = self._key_names[0]
        return WrappedKey(newest.encode(), await self._client.encrypt(newest, data_key, _context(place)))

    async def unwrap(self, wrapped: WrappedKey, place: Place) -> bytes:
        """See `KeySource.unwrap`."""
        name = next((each for each in self._key_names if each.encode() == wrapped.key_id), None)
        if name is None:
            raise KeyMissing("the key that sealed this record is not among those of the service")
        try:
            return await self._client.decrypt(name, wrapped.wrapped, _context(place))
        except KmsRefused as exc:
            raise SealError("the record was changed, or belongs to another user or profile") from exc


def _context(place: Place) -> dict[str, str]:
    return {
        "purpose": place.purpose,
        "user": place.user,
        "exchange": place.exchange,
        "profile": place.profile,
        "version": str(place.version),
    }
