"""The vault: seals the credentials of profiles before a store gets them, and opens them for the profile they belong to.

Plain secrets are in memory only. What a store has is bound to user, profile, purpose and version. A vault without a key
says so, and everything that needs no credential goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ibkr_bridge.vault.sealed_record import KeyMissing, KeySource, Place, SealError, key_id_of, seal, unseal
from ibkr_bridge.vault.store_port import EXCHANGE, CredentialStore, Listed, Owner, SealedRow, StoreError


class VaultLocked(Exception):
    """There is no key that opens the credential. The message says what to do."""


class CredentialMissing(Exception):
    """Nobody has imported a credential for this profile."""


class CredentialUnreadable(Exception):
    """The stored credential does not open: it was changed, or copied from elsewhere."""


@dataclass(frozen=True)
class PlainCredential:
    """A credential as it is used, in memory."""

    kind: str
    bundle: bytes = field(repr=False)
    access_token: str | None = field(default=None, repr=False)
    account_id: str | None = field(default=None, repr=False)
    token_expiry: datetime | None = None


@dataclass(frozen=True)
class Checked:
    """What `vault check` found of one credential."""

    listed: Listed
    problem: str | None
    """None if it opens."""
    is_newest: bool
    """Whether the newest key seals it."""


class Vault:
    """The credentials of one bridge.

    Args:
        store: where they are kept.
        keys: wraps their data keys; None if no key could be read.
        locked: why there is no key, in words for a person.
    """

    def __init__(self, store: CredentialStore, keys: KeySource | None, locked: str = "") -> None:
        self.store = store
        self._keys = keys
        self.locked = locked if keys is None else ""
        """Why no credential can be opened; empty if they can."""

    def __repr__(self) -> str:
        return f"<Vault in {self.store.place}{', locked' if self.locked else ''}>"

    async def load(self, owner: Owner) -> PlainCredential:
        """Open the credential of a profile.

        Raises:
            VaultLocked: its key is missing.
            CredentialMissing: there is none.
            CredentialUnreadable: it does not open.
            StoreError: the store cannot be read.
        """
        row = await self.store.load(owner)
        if row is None:
            raise CredentialMissing("no credential was imported for this profile")
        return await self._open(row)

    async def _open(self, row: SealedRow) -> PlainCredential:
        keys = self._unlocked()
        try:
            plain = {name: await unseal(value, _place(row, name), keys) for name, value in row.sealed_columns.items()}
        except KeyMissing as exc:
            raise VaultLocked(str(exc)) from exc
        except SealError as exc:
            raise CredentialUnreadable(str(exc)) from exc
        token = plain["access_token"].decode() if "access_token" in plain else None
        return PlainCredential(row.kind, plain["bundle"], token, row.account_id, row.token_expiry)

    async def save(self, owner: Owner, credential: PlainCredential) -> None:
        """Seal a credential, in the place of an earlier one.

        Raises:
            VaultLocked: there is no key.
            StoreError: it cannot be written, or somebody else wrote it meanwhile.
        """
        earlier = await self.store.load(owner)
        row = SealedRow(
            *(owner, credential.kind, (earlier.version if earlier else 0) + 1, b"", None, None),
            *(credential.account_id, credential.token_expiry),
            created_at=earlier.created_at if earlier else None,
        )
        plain = {"bundle": credential.bundle}
        if credential.access_token is not None:
            plain["access_token"] = credential.access_token.encode()
        await self.store.save(await self._sealed(row, plain))

    async def _sealed(self, row: SealedRow, plain: Mapping[str, bytes]) -> SealedRow:
        keys = self._unlocked()
        sealed = {name: await seal(value, _place(row, name), keys) for name, value in plain.items()}
        return replace(row, bundle=sealed["bundle"], access_token=sealed.get("access_token"))

    async def forget(self, owner: Owner) -> bool:
        """Remove a credential. Returns whether there was one."""
        return await self.store.remove(owner)

    async def rotate(self) -> int:
        """Wrap every data key with the newest key. Returns how many credentials changed.

        Raises:
            VaultLocked: a key is missing; credentials before that one are done.
            CredentialUnreadable, StoreError: one does not open, or cannot be written.
        """
        keys, changed = self._unlocked(), 0
        for listed in await self.store.listed():
            row = await self.store.load(listed.owner)
            if row is None or all(keys.is_newest(key_id_of(value)) for value in row.sealed_columns.values()):
                continue
            await self._rewrap(row, keys)
            changed += 1
        return changed

    async def _rewrap(self, row: SealedRow, keys: KeySource) -> None:
        """Seal a row for its next version; its place has another version then, so its content is sealed anew."""
        following = replace(row, version=row.version + 1)
        try:
            plain = {name: await unseal(value, _place(row, name), keys) for name, value in row.sealed_columns.items()}
        except KeyMissing as exc:
            raise VaultLocked(f"{row.owner.profile}: {exc}") from exc
        except SealError as exc:
            raise CredentialUnreadable(f"{row.owner.profile}: {exc}") from exc
        await self.store.save(await self._sealed(following, plain))

    async def check(self) -> list[Checked]:
        """Open every credential, and say which cannot be opened."""
        return [await self._checked(listed) for listed in await self.store.listed()]

    async def _checked(self, listed: Listed) -> Checked:
        row = await self.store.load(listed.owner)
        if row is None:
            return Checked(listed, "it was removed meanwhile", False)
        try:
            await self._open(row)
        except (VaultLocked, CredentialUnreadable) as exc:
            return Checked(listed, str(exc), False)
        newest = self._keys is not None and all(
            self._keys.is_newest(key_id_of(value)) for value in row.sealed_columns.values()
        )
        return Checked(listed, None, newest)

    async def move(self, target: CredentialStore) -> int:
        """Copy every credential into another store, read each back and open it, then remove it here. Returns how many.

        Raises:
            StoreError: the target has a credential of this profile already, or cannot be written.
            VaultLocked, CredentialUnreadable: a copy does not open.
        """
        moved = 0
        for listed in await self.store.listed():
            row = await self.store.load(listed.owner)
            if row is None:
                continue
            plain = await self._open(row)
            there = Vault(target, self._keys, self.locked)
            if await target.load(row.owner) is not None:
                raise StoreError(f"{target.place} has a credential of {row.owner.profile} already")
            await there.save(row.owner, plain)
            if await there.load(row.owner) != plain:
                raise CredentialUnreadable(f"{row.owner.profile}: the copy differs")
            await self.store.remove(row.owner)
            moved += 1
        return moved

    def _unlocked(self) -> KeySource:
        if self._keys is None:
            raise VaultLocked(self.locked or "there is no key")
        return self._keys


def _place(row: SealedRow, purpose: str) -> Place:
    return Place(purpose, row.owner.user, EXCHANGE, row.owner.profile, row.version)
