"""The vault as profiles use it: opened when the first secret is needed, since it loads `cryptography`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.vault.store_port import Owner, StoreError

if TYPE_CHECKING:
    from ibkr_bridge.vault.vault import Vault


class NoCredential(Exception):
    """A secret cannot be used, for a reason that is not IBKR's.

    Args:
        reason: `vault_locked`, `credential_missing` or `credential_unreadable`.
        detail: why, in words for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class SealedStore:
    """The sealed secrets of one bridge.

    Args:
        settings: name the store and the file of keys.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vault: Vault | None = None

    def __repr__(self) -> str:
        return f"<SealedStore {self._vault!r}>"

    async def load(self, owner: Owner) -> tuple[str | None, bytes]:
        """The kind and the bytes of what is stored; no kind if nothing is.

        Raises:
            NoCredential: the vault is locked, or has something that cannot be opened.
        """
        from ibkr_bridge.vault.vault import CredentialMissing, CredentialUnreadable, VaultLocked

        try:
            plain = await self._opened().load(owner)
        except CredentialMissing:
            return None, b""
        except VaultLocked as exc:
            raise NoCredential("vault_locked", str(exc)) from exc
        except (CredentialUnreadable, StoreError) as exc:
            raise NoCredential("credential_unreadable", str(exc)) from exc
        return plain.kind, plain.bundle

    async def save(self, owner: Owner, kind: str, bundle: bytes, access_token: str | None = None) -> None:
        """Seal something, in the place of what was stored earlier.

        Raises:
            NoCredential: the vault is locked, or the store cannot be written.
        """
        from ibkr_bridge.vault.vault import PlainCredential, VaultLocked

        try:
            await self._opened().save(owner, PlainCredential(kind, bundle, access_token))
        except VaultLocked as exc:
            raise NoCredential("vault_locked", str(exc)) from exc
        except StoreError as exc:
            raise NoCredential("credential_unreadable", str(exc)) from exc

    async def forget(self, owner: Owner) -> bool:
        """Remove what is stored. Returns whether there was something.

        Raises:
            NoCredential: the store cannot be used.
        """
        try:
            return await self._opened().forget(owner)
        except StoreError as exc:
            raise NoCredential("credential_unreadable", str(exc)) from exc

    def on_change(self, subscriber: Callable[[str], None]) -> None:
        """Call a function with the name of a profile whose credential another program has changed."""
        self._opened().store.on_change(lambda owner: subscriber(owner.profile))

    async def close(self) -> None:
        """Release the connections to a database."""
        if self._vault is not None:
            await self._vault.store.close()

    def _opened(self) -> Vault:
        """The vault. A file of keys that was missing is looked for again each time."""
        if self._vault is None or self._vault.locked:
            from ibkr_bridge.vault.opening import open_store, open_vault

            store = self._vault.store if self._vault is not None else open_store(self._settings)
            self._vault = open_vault(self._settings, store)
        return self._vault
