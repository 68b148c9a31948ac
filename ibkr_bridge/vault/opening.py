"""Opens the vault that the settings describe: where the credentials are, and with which keys."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.vault.file_store import FileStore
from ibkr_bridge.vault.key_file import FileKeySource, KeyFileProblem, read_key_file
from ibkr_bridge.vault.postgres_store import PostgresStore
from ibkr_bridge.vault.store_port import CredentialStore, StoreError
from ibkr_bridge.vault.vault import Vault

CREDENTIALS = "credentials"
"""The directory of the files, in the state directory."""
NO_KEYS = "no file of keys is named: make one with bridge.py vault key, and name it in IBKR_BRIDGE_VAULT_KEYS"


def open_store(settings: Settings) -> CredentialStore:
    """The store of the settings: a database if one is named, else files.

    Raises:
        StoreError: there is neither a database nor a state directory.
    """
    if settings.database_url is not None:
        return PostgresStore(settings.database_url)
    return file_store(settings.state_dir)


def file_store(state_dir: Path | None) -> FileStore:
    """The store of files in a state directory.

    Raises:
        StoreError: there is none.
    """
    if state_dir is None:
        raise StoreError("there is no state directory: set IBKR_BRIDGE_STATE_DIR")
    return FileStore(state_dir / CREDENTIALS)


def open_vault(settings: Settings, store: CredentialStore) -> Vault:
    """The vault over a store. Without usable keys it is locked, and says why."""
    if settings.vault_keys is None:
        return Vault(store, None, NO_KEYS)
    try:
        return Vault(store, FileKeySource(read_key_file(settings.vault_keys)))
    except KeyFileProblem as exc:
        return Vault(store, None, str(exc))
