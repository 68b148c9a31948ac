"""Sealed records: only their own place and an intact key open them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.vault.key_file import FileKeySource, KeyEncryptionKey
from ibkr_bridge.vault.sealed_record import MARK, KeyMissing, Place, SealError, key_id_of, seal, unseal

PLACE = Place("bundle", "user-17", "ibkr", "anna", 3)
OLD, NEW = KeyEncryptionKey(b"o" * 32), KeyEncryptionKey(b"n" * 32)
KEYS = FileKeySource((NEW, OLD))


@given(st.binary(max_size=5000))
async def test_what_was_sealed_is_opened(content: bytes) -> None:
    """Of any length, the empty one too."""
    assert await unseal(await seal(content, PLACE, KEYS), PLACE, KEYS) == content


@pytest.mark.parametrize(
    "place",
    [
        replace(PLACE, purpose="access_token"),
        replace(PLACE, user="user-18"),
        replace(PLACE, exchange="other"),
        replace(PLACE, profile="ben"),
        replace(PLACE, version=4),
        replace(PLACE, user="user-1", exchange="7ibkr"),
    ],
)
async def test_a_record_opens_at_its_own_place_alone(place: Place) -> None:
    """A row that was copied to another user must not open there."""
    sealed = await seal(b"secret", PLACE, KEYS)

    with pytest.raises(SealError, match="belongs to another user or profile"):
        await unseal(sealed, place, KEYS)


async def test_no_changed_byte_is_accepted() -> None:
    """Each byte of a record is authenticated: the key's id, the wrapped key, the nonce and the content."""
    sealed = await seal(b"a secret of some length", PLACE, KEYS)

    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(SealError):
            await unseal(changed, PLACE, KEYS)


async def test_no_shortened_record_is_accepted() -> None:
    """A write that was cut off is no secret."""
    sealed = await seal(b"secret", PLACE, KEYS)

    for length in range(len(sealed)):
        with pytest.raises(SealError):
            await unseal(sealed[:length], PLACE, KEYS)


@pytest.mark.parametrize("text", [b"c2VjcmV0", b"secret", b"{}", b"", MARK, MARK + b"\x00\x00", MARK + b"\xff\xff"])
async def test_anything_else_is_an_error(text: bytes) -> None:
    """Base64 and plain text are never taken for a secret."""
    with pytest.raises(SealError):
        await unseal(text, PLACE, KEYS)


@given(st.binary(max_size=300))
async def test_no_bytes_crash_the_reader(data: bytes) -> None:
    """A file or a database may have anything."""
    for each in (data, MARK + data):
        with pytest.raises(SealError):
            await unseal(each, PLACE, KEYS)


async def test_the_newest_key_seals_and_an_older_one_still_opens() -> None:
    """So a key can be replaced while the bridge runs."""
    by_old = await seal(b"secret", PLACE, FileKeySource((OLD,)))
    by_both = await seal(b"secret", PLACE, KEYS)

    assert await unseal(by_old, PLACE, KEYS) == b"secret"
    assert (KEYS.is_newest(key_id_of(by_old)), KEYS.is_newest(key_id_of(by_both))) == (False, True)
    with pytest.raises(KeyMissing):
        await unseal(by_both, PLACE, FileKeySource((OLD,)))


async def test_the_same_content_never_looks_alike() -> None:
    """A data key and a nonce are used once."""
    records = {await seal(b"secret", PLACE, KEYS) for _ in range(50)}

    assert len(records) == 50


async def test_nothing_of_the_content_shows() -> None:
    """Whoever reads the disk learns the length and no more."""
    sealed = await seal(b"A-SECRET-TOKEN", PLACE, KEYS)

    assert b"SECRET" not in sealed
    assert "SECRET" not in repr(KEYS) + repr(NEW)
    assert "nnn" not in repr(NEW)
