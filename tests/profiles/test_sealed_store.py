"""The vault as profiles use it: what is wrong has one form, and a key that comes back needs no restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.profiles.sealed_store import NoCredential, SealedStore
from ibkr_bridge.vault.key_file import new_key_line
from ibkr_bridge.vault.store_port import Owner
from tests.harness import settings_for

ANNA = Owner("user-17", "anna")


@pytest.fixture
def main(tmp_path: Path) -> Settings:
    """The settings of a bridge with a file of keys."""
    keys, state = tmp_path / "keys", tmp_path / "state"
    state.mkdir(mode=0o700)
    keys.write_text(new_key_line())
    keys.chmod(0o400)
    return replace(settings_for("https://127.0.0.1:1", state), vault_keys=keys)


@pytest.fixture
def sealed_store(main: Settings) -> SealedStore:
    return SealedStore(main)


async def test_what_is_saved_is_loaded_and_forgotten(sealed_store: SealedStore, tmp_path: Path) -> None:
    """On the disk it is sealed."""
    before = await sealed_store.load(ANNA)
    await sealed_store.save(ANNA, "oauth1a", b"CANARY", "TOKEN")

    assert (before, await sealed_store.load(ANNA)) == ((None, b""), ("oauth1a", b"CANARY"))
    assert b"CANARY" not in (tmp_path / "state" / "credentials" / "anna.json").read_bytes()
    assert [await sealed_store.forget(ANNA), await sealed_store.forget(ANNA)] == [True, False]
    await sealed_store.close()


async def test_a_locked_vault_is_tried_again(main: Settings, tmp_path: Path) -> None:
    """The file of keys may be on a disk that comes later."""
    keys = tmp_path / "keys"
    text = keys.read_text()
    keys.unlink()
    store = SealedStore(main)
    with pytest.raises(NoCredential) as caught:
        await store.save(ANNA, "oauth1a", b"CANARY")
    keys.write_text(text)
    keys.chmod(0o400)
    await store.save(ANNA, "oauth1a", b"CANARY")

    assert caught.value.reason == "vault_locked"
    assert (await store.load(ANNA))[0] == "oauth1a"


async def test_what_does_not_open_is_named(sealed_store: SealedStore, tmp_path: Path) -> None:
    """The file of somebody else, or a changed one."""
    await sealed_store.save(ANNA, "oauth1a", b"CANARY")
    file = tmp_path / "state" / "credentials" / "anna.json"
    file.write_text(file.read_text().replace('"version":1', '"version":2'))

    with pytest.raises(NoCredential) as caught:
        await sealed_store.load(ANNA)
    assert caught.value.reason == "credential_unreadable"
