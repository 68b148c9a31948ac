"""Which vault the settings describe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.vault.file_store import FileStore
from ibkr_bridge.vault.key_file import new_key_line
from ibkr_bridge.vault.opening import NO_KEYS, file_store, open_store, open_vault
from ibkr_bridge.vault.postgres_store import PostgresStore
from ibkr_bridge.vault.store_port import StoreError
from tests.harness import settings_for


def test_files_are_the_default_and_a_database_replaces_them(tmp_path: Path) -> None:
    """No connection is made before it is needed."""
    settings = settings_for("https://127.0.0.1:1", tmp_path)

    assert isinstance(open_store(settings), FileStore)
    assert isinstance(open_store(replace(settings, database_url="postgresql://x")), PostgresStore)
    with pytest.raises(StoreError, match="IBKR_BRIDGE_STATE_DIR"):
        file_store(None)


def test_a_vault_without_keys_is_locked_and_says_why(tmp_path: Path) -> None:
    """The bridge starts all the same."""
    settings = settings_for("https://127.0.0.1:1", tmp_path)
    keys = tmp_path / "keys"
    missing = replace(settings, vault_keys=keys)

    assert open_vault(settings, open_store(settings)).locked == NO_KEYS
    assert "is missing" in open_vault(missing, open_store(missing)).locked
    keys.write_text(new_key_line())
    keys.chmod(0o400)
    assert open_vault(missing, open_store(missing)).locked == ""
