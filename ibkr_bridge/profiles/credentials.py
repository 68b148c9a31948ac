"""The credentials of the profiles, as the bridge uses them: sealed in the vault, plain only in memory.

A credential may come in two parts: first the keys that the bridge has made, then the tokens that IBKR's page shows. The
vault is opened when the first profile needs it, as it loads `cryptography`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.oauth.credential import (
    FIRST_PARTY,
    Credential,
    CredentialProblem,
    parse_credential,
    secrets_of,
    to_bytes,
)
from ibkr_bridge.redaction import Redactor

if TYPE_CHECKING:
    from ibkr_bridge.vault.store_port import Owner
    from ibkr_bridge.vault.vault import Vault

LoadCredential = Callable[[], Awaitable[Credential]]
"""Returns the credential of one profile, or raises `NoCredential`."""
KEYS_ONLY = "keys"
"""The kind of a credential that still lacks what IBKR gives."""
TOKEN_MEMBERS = ("consumer_key", "access_token", "access_token_secret")
KEY_MEMBERS = ("signature_key", "encryption_key", "dh_parameters")
KIND = "kind"
SECRET_MEMBERS = (*TOKEN_MEMBERS, *KEY_MEMBERS, "client_id", "key_id", "private_key", "username")


class NoCredential(Exception):
    """A profile cannot sign in, for a reason that is not IBKR's.

    Args:
        reason: `vault_locked`, `credential_missing` or `credential_unreadable`.
        detail: why, in words for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


async def no_credential() -> Credential:
    """The `LoadCredential` of a profile that has none."""
    raise NoCredential("credential_missing", "there is no credential")


@dataclass(frozen=True)
class Imported:
    """What was stored."""

    kind: str
    missing: tuple[str, ...]
    """What has to be imported yet; empty if the credential is complete."""


class Credentials:
    """The credentials of one bridge.

    Args:
        settings: name the store and the file of keys.
        redactor: gets every secret.
    """

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self._settings = settings
        self._redactor = redactor
        self._vault: Vault | None = None

    def __repr__(self) -> str:
        return f"<Credentials {self._vault!r}>"

    async def load(self, profile: Settings) -> Credential:
        """The credential of a profile, opened.

        Raises:
            NoCredential: there is none that can be used.
        """
        kind, data = await self._stored(profile)
        if kind is None or kind == KEYS_ONLY:
            missing = "no credential was imported" if kind is None else "the tokens of IBKR's page were not imported"
            raise NoCredential("credential_missing", f"{missing}: profile import {profile.profile}")
        try:
            credential = parse_credential(data)
        except CredentialProblem as exc:
            raise NoCredential("credential_unreadable", str(exc)) from None
        self._hide(secrets_of(credential))
        return credential

    async def import_members(self, profile: Settings, members: Mapping[str, object]) -> Imported:
        """Store a credential, or the part of one that is known; what was stored before stays where it is not replaced.

        Raises:
            CredentialProblem: a member cannot be used.
            NoCredential: the vault is locked, or has something that cannot be opened.
        """
        self._hide(value for name, value in members.items() if name in SECRET_MEMBERS and isinstance(value, str))
        merged = {KIND: FIRST_PARTY, **await self._earlier_members(profile), **members}
        needed = (*TOKEN_MEMBERS, *KEY_MEMBERS) if merged[KIND] != "oauth2" else ()
        missing = tuple(name for name in needed if name not in merged)
        if missing and missing != TOKEN_MEMBERS:
            raise CredentialProblem(f"the credential lacks {', '.join(missing)}", "import them together")
        if missing:
            await self._save(profile, KEYS_ONLY, json.dumps(merged).encode(), None)
            return Imported(KEYS_ONLY, missing)
        credential = parse_credential(json.dumps(merged).encode())
        self._hide(secrets_of(credential))
        await self._save(profile, str(merged[KIND]), to_bytes(credential), getattr(credential, "access_token", None))
        return Imported(str(merged[KIND]), ())

    async def forget(self, profile: Settings) -> bool:
        """Remove the credential of a profile. Returns whether there was one.

        Raises:
            NoCredential: the store cannot be used.
        """
        from ibkr_bridge.vault.store_port import StoreError

        try:
            return await self._opened().forget(_owner(profile))
        except StoreError as exc:
            raise NoCredential("credential_unreadable", str(exc)) from exc

    def on_change(self, subscriber: Callable[[str], None]) -> None:
        """Call a function with the name of a profile whose credential another program has changed."""
        self._opened().store.on_change(lambda owner: subscriber(owner.profile))

    async def close(self) -> None:
        """Release the connections to a database."""
        if self._vault is not None:
            await self._vault.store.close()

    async def _earlier_members(self, profile: Settings) -> dict[str, object]:
        _, data = await self._stored(profile)
        members = json.loads(data) if data else {}
        return members if isinstance(members, dict) else {}

    async def _stored(self, profile: Settings) -> tuple[str | None, bytes]:
        """The kind and the bytes of what is stored; no kind if nothing is."""
        from ibkr_bridge.vault.store_port import StoreError
        from ibkr_bridge.vault.vault import CredentialMissing, CredentialUnreadable, VaultLocked

        try:
            plain = await self._opened().load(_owner(profile))
        except CredentialMissing:
            return None, b""
        except VaultLocked as exc:
            raise NoCredential("vault_locked", str(exc)) from exc
        except (CredentialUnreadable, StoreError) as exc:
            raise NoCredential("credential_unreadable", str(exc)) from exc
        return plain.kind, plain.bundle

    async def _save(self, profile: Settings, kind: str, bundle: bytes, access_token: str | None) -> None:
        from ibkr_bridge.vault.store_port import StoreError
        from ibkr_bridge.vault.vault import PlainCredential, VaultLocked

        try:
            await self._opened().save(_owner(profile), PlainCredential(kind, bundle, access_token))
        except VaultLocked as exc:
            raise NoCredential("vault_locked", str(exc)) from exc
        except StoreError as exc:
            raise NoCredential("credential_unreadable", str(exc)) from exc

    def _opened(self) -> Vault:
        """The vault. A file of keys that was missing is looked for again each time."""
        if self._vault is None or self._vault.locked:
            from ibkr_bridge.vault.opening import open_store, open_vault

            store = self._vault.store if self._vault is not None else open_store(self._settings)
            self._vault = open_vault(self._settings, store)
        return self._vault

    def _hide(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            self._redactor.add_secret(secret, permanent=True)


def _owner(profile: Settings) -> Owner:
    from ibkr_bridge.vault.store_port import Owner

    return Owner(profile.user or profile.profile, profile.profile)
