"""Sealed credentials in files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge.vault.file_store import FileStore
from ibkr_bridge.vault.store_port import Listed, Owner, SealedRow, StoreError

OWNER = Owner("user-17", "anna")


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A store in an empty directory."""
    return FileStore(tmp_path / "credentials", lambda: datetime(2026, 12, 1, tzinfo=UTC))


def row(version: int = 1, owner: Owner = OWNER) -> SealedRow:
    """A row; its bytes stand for sealed ones."""
    return SealedRow(owner, "oauth1a", version, b"bundle", b"token")


def test_nothing_else_reads_it(store: FileStore, tmp_path: Path) -> None:
    """The directory is made when it is needed."""
    assert not (tmp_path / "credentials").exists()
    assert "credentials" in repr(store)


async def test_a_row_is_read_as_it_was_written(store: FileStore, tmp_path: Path) -> None:
    """Only its owner can read the file."""
    await store.save(row())
    loaded = await store.load(OWNER)
    file = tmp_path / "credentials" / "anna.json"

    assert loaded is not None
    assert (loaded.bundle, loaded.access_token, loaded.version, loaded.kind) == (b"bundle", b"token", 1, "oauth1a")
    assert loaded.created_at == loaded.updated_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert file.stat().st_mode & 0o777 == 0o600
    assert await store.listed() == [Listed(OWNER, "oauth1a", "new", 1)]


async def test_a_change_that_somebody_else_overtook_is_refused(store: FileStore) -> None:
    """The newer credential must not be lost."""
    await store.save(row())
    await store.save(row(2))

    for version in (1, 2, 4):
        with pytest.raises(StoreError, match="changed meanwhile"):
            await store.save(row(version))


async def test_another_user_gets_nothing(store: FileStore) -> None:
    """A name of a profile is no proof of whose it is."""
    await store.save(row())
    other = Owner("user-18", "anna")

    assert await store.load(other) is None
    assert await store.remove(other) is False
    with pytest.raises(StoreError, match="another user"):
        await store.save(row(2, other))


async def test_a_removed_credential_is_gone(store: FileStore, tmp_path: Path) -> None:
    """Nothing of it stays on the disk."""
    await store.save(row())

    assert (await store.remove(OWNER), await store.remove(OWNER)) == (True, False)
    assert list((tmp_path / "credentials").iterdir()) == []


@pytest.mark.parametrize("text", ["", "secret", "c2VjcmV0", "{}", "[1]", "[" * 100_000])
async def test_a_file_of_another_form_is_an_error(store: FileStore, tmp_path: Path, text: str) -> None:
    """It is never taken for a secret, and its content is not shown."""
    await store.save(row())
    (tmp_path / "credentials" / "anna.json").write_text(text)

    with pytest.raises(StoreError, match="no sealed credential") as caught:
        await store.load(OWNER)
    assert "c2VjcmV0" not in str(caught.value)


async def test_a_file_under_another_name_is_an_error(store: FileStore, tmp_path: Path) -> None:
    """A copy of one user's file must not become another's."""
    await store.save(row())
    directory = tmp_path / "credentials"
    (directory / "ben.json").write_text((directory / "anna.json").read_text())

    with pytest.raises(StoreError, match="another profile"):
        await store.load(Owner("user-17", "ben"))


async def test_a_member_that_nobody_knows_is_an_error(store: FileStore, tmp_path: Path) -> None:
    """A later version may have added something that matters."""
    await store.save(row())
    file = tmp_path / "credentials" / "anna.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "more": 1}))

    with pytest.raises(StoreError):
        await store.load(OWNER)


async def test_a_directory_that_others_can_write_is_not_used(store: FileStore, tmp_path: Path) -> None:
    """They could exchange a credential."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials").chmod(0o777)

    with pytest.raises(StoreError, match="cannot be written"):
        await store.save(row())
