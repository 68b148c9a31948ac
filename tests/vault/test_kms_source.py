"""Keys in a key management service, played by a fake with its limit."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ibkr_bridge.vault.kms_source import MAX_PLAIN_BYTES, KmsKeySource, KmsRefused
from ibkr_bridge.vault.sealed_record import KeyMissing, Place, SealError, seal, unseal

PLACE = Place("bundle", "user-17", "ibkr", "anna", 1)


class FakeKms:
    """A service that encrypts at most 4096 bytes, and decrypts them in the same context alone."""

    def __init__(self) -> None:
        self._keys = {"alias/old": AESGCM(secrets.token_bytes(32)), "alias/new": AESGCM(secrets.token_bytes(32))}
        self.encrypted_bytes: list[int] = []

    async def encrypt(self, key_name: str, plain: bytes, context: Mapping[str, str]) -> bytes:
        """See `KmsClient.encrypt`."""
        if len(plain) > MAX_PLAIN_BYTES:
            raise ValueError("1 validation error detected: Value at 'plaintext' must have length at most 4096")
        self.encrypted_bytes.append(len(plain))
        nonce = secrets.token_bytes(12)
        return nonce + self._keys[key_name].encrypt(nonce, plain, json.dumps(context, sort_keys=True).encode())

    async def decrypt(self, key_name: str, encrypted: bytes, context: Mapping[str, str]) -> bytes:
        """See `KmsClient.decrypt`."""
        aad = json.dumps(context, sort_keys=True).encode()
        try:
            return self._keys[key_name].decrypt(encrypted[:12], encrypted[12:], aad)
        except InvalidTag as exc:
            raise KmsRefused from exc


async def test_a_credential_larger_than_the_limit_is_sealed() -> None:
    """The service gets the data key alone: two PEM keys, tokens and parameters have about 4.5 kB."""
    service, credential = FakeKms(), b"x" * 10_000
    keys = KmsKeySource(service, ["alias/new"])

    assert await unseal(await seal(credential, PLACE, keys), PLACE, keys) == credential
    assert service.encrypted_bytes == [32]
    with pytest.raises(ValueError, match="4096"):
        await service.encrypt("alias/new", credential, {})


async def test_the_context_binds_a_record_to_its_place() -> None:
    """The service itself refuses another user."""
    keys = KmsKeySource(FakeKms(), ["alias/new"])
    sealed = await seal(b"secret", PLACE, keys)

    with pytest.raises(SealError):
        await unseal(sealed, replace(PLACE, user="user-18"), keys)


async def test_keys_are_replaced_as_in_a_file() -> None:
    """The newest name wraps, an older one still unwraps."""
    service = FakeKms()
    sealed = await seal(b"secret", PLACE, KmsKeySource(service, ["alias/old"]))
    both = KmsKeySource(service, ["alias/new", "alias/old"])

    assert await unseal(sealed, PLACE, both) == b"secret"
    assert (both.is_newest(b"alias/new"), both.is_newest(b"alias/old")) == (True, False)
    with pytest.raises(KeyMissing):
        await unseal(sealed, PLACE, KmsKeySource(service, ["alias/new"]))
    with pytest.raises(KeyMissing):
        await seal(b"secret", PLACE, KmsKeySource(service, []))
