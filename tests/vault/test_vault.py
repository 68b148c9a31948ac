"""The vault: a credential goes in plain and comes out plain, and between the two nobody can read it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge.vault.file_store import FileStore
from ibkr_bridge.vault.key_file import FileKeySource, KeyEncryptionKey
from ibkr_bridge.vault.store_port import Owner, StoreError
from ibkr_bridge.vault.vault import CredentialMissing, CredentialUnreadable, PlainCredential, Vault, VaultLocked

OLD, NEW = KeyEncryptionKey(b"o" * 32), KeyEncryptionKey(b"n" * 32)
ANNA, BEN = Owner("user-17", "anna"), Owner("user-18", "ben")
CREDENTIAL = PlainCredential("oauth1a", b'{"secret":"CANARY"}', "CANARY-TOKEN", None, datetime(2027, 1, 1, tzinfo=UTC))


def vault(tmp_path: Path, *keys: KeyEncryptionKey, name: str = "credentials") -> Vault:
    """A vault with these keys; locked without one."""
    return Vault(FileStore(tmp_path / name), FileKeySource(keys) if keys else None, "the file of keys is missing")


def files(tmp_path: Path) -> bytes:
    """Everything that is on the disk."""
    return b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())


async def test_a_credential_is_sealed_on_the_disk_and_plain_in_memory(tmp_path: Path) -> None:
    """Neither the bundle nor the token can be read there, in Base64 either."""
    await vault(tmp_path, NEW).save(ANNA, CREDENTIAL)

    assert await vault(tmp_path, NEW).load(ANNA) == CREDENTIAL
    assert b"CANARY" not in files(tmp_path)
    assert b"Q0FOQVJZ" not in files(tmp_path)
    assert "CANARY" not in repr(CREDENTIAL)


async def test_a_vault_without_its_key_says_so(tmp_path: Path) -> None:
    """The words name what to do; listing needs no key."""
    await vault(tmp_path, NEW).save(ANNA, CREDENTIAL)

    with pytest.raises(VaultLocked, match="the file of keys is missing"):
        await vault(tmp_path).load(ANNA)
    with pytest.raises(VaultLocked, match="the key that sealed this record is missing"):
        await vault(tmp_path, OLD).load(ANNA)
    with pytest.raises(VaultLocked):
        await vault(tmp_path).save(BEN, CREDENTIAL)
    assert [each.owner for each in await vault(tmp_path).store.listed()] == [ANNA]


async def test_a_file_that_was_copied_to_another_user_does_not_open(tmp_path: Path) -> None:
    """Somebody who may write the disk gets no other user's account."""
    await vault(tmp_path, NEW).save(ANNA, CREDENTIAL)
    directory = tmp_path / "credentials"
    stolen = (directory / "anna.json").read_text().replace("user-17", "user-18").replace('"anna"', '"ben"')
    (directory / "ben.json").write_text(stolen)

    with pytest.raises(CredentialUnreadable):
        await vault(tmp_path, NEW).load(BEN)
    with pytest.raises(CredentialMissing):
        await vault(tmp_path, NEW).load(Owner("user-19", "anna"))


async def test_a_new_credential_replaces_the_old_one(tmp_path: Path) -> None:
    """Its version counts up, and the sealed bytes are bound to it."""
    made = vault(tmp_path, NEW)
    await made.save(ANNA, CREDENTIAL)
    await made.save(ANNA, PlainCredential("oauth2", b"other"))

    loaded = await made.load(ANNA)

    assert (loaded.kind, loaded.bundle, loaded.access_token) == ("oauth2", b"other", None)
    assert [each.version for each in await made.store.listed()] == [2]


async def test_after_a_rotation_the_old_key_is_not_needed(tmp_path: Path) -> None:
    """The order: put the new key first, rotate, check, remove the old key."""
    await vault(tmp_path, OLD).save(ANNA, CREDENTIAL)
    await vault(tmp_path, OLD).save(BEN, CREDENTIAL)
    both = vault(tmp_path, NEW, OLD)

    before = [each.is_newest for each in await both.check()]
    assert (before, await both.rotate(), await both.rotate()) == ([False, False], 2, 0)
    assert [(each.is_newest, each.problem) for each in await both.check()] == [(True, None), (True, None)]
    assert await vault(tmp_path, NEW).load(BEN) == CREDENTIAL
    with pytest.raises(VaultLocked):
        await vault(tmp_path, OLD).load(ANNA)


async def test_a_check_names_what_does_not_open(tmp_path: Path) -> None:
    """The other credentials are checked all the same."""
    await vault(tmp_path, OLD).save(ANNA, CREDENTIAL)
    await vault(tmp_path, NEW).save(BEN, CREDENTIAL)

    found = {each.listed.owner.profile: each.problem for each in await vault(tmp_path, NEW).check()}

    assert found == {"anna": "the key that sealed this record is missing", "ben": None}


async def test_credentials_move_to_another_store(tmp_path: Path) -> None:
    """Each is read back and opened there before it is removed here."""
    source, target = vault(tmp_path, NEW), vault(tmp_path, NEW, name="elsewhere")
    await source.save(ANNA, CREDENTIAL)
    await source.save(BEN, CREDENTIAL)

    assert await source.move(target.store) == 2
    assert await source.store.listed() == []
    assert await target.load(ANNA) == CREDENTIAL


async def test_a_move_replaces_nothing(tmp_path: Path) -> None:
    """What stands in the target may be newer."""
    source, target = vault(tmp_path, NEW), vault(tmp_path, NEW, name="elsewhere")
    await source.save(ANNA, CREDENTIAL)
    await target.save(ANNA, PlainCredential("oauth1a", b"newer"))

    with pytest.raises(StoreError, match="already"):
        await source.move(target.store)
    assert (await source.load(ANNA), (await target.load(ANNA)).bundle) == (CREDENTIAL, b"newer")


async def test_a_forgotten_credential_is_gone(tmp_path: Path) -> None:
    """Nothing of it stays on the disk."""
    made = vault(tmp_path, NEW)
    await made.save(ANNA, CREDENTIAL)

    assert (await made.forget(ANNA), await made.forget(ANNA)) == (True, False)
    with pytest.raises(CredentialMissing):
        await made.load(ANNA)
