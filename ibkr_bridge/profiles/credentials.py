"""The credentials of the profiles, as the bridge uses them: sealed in the vault, plain only in memory.

A credential may come in two parts: first the keys that the bridge has made, then the tokens that IBKR's page shows.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.oauth.credential import (
    FIRST_PARTY,
    Credential,
    CredentialProblem,
    parse_credential,
    secrets_of,
    to_bytes,
)
from ibkr_bridge.profiles.sealed_store import NoCredential, SealedStore
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.vault.store_port import Owner

LoadCredential = Callable[[], Awaitable[Credential]]
"""Returns the credential of one profile, or raises `NoCredential`."""
KEYS_ONLY = "keys"
"""The kind of a credential that still lacks what IBKR gives."""
TOKEN_MEMBERS = ("consumer_key", "access_token", "access_token_secret")
KEY_MEMBERS = ("signature_key", "encryption_key", "dh_parameters")
KIND = "kind"
SECRET_MEMBERS = (*TOKEN_MEMBERS, *KEY_MEMBERS, "client_id", "key_id", "private_key", "username")


async def no_credential() -> Credential:
    """The `LoadCredential` of a profile that has none."""
    raise NoCredential("credential_missing", "there is no credential")


@dataclass(frozen=True)
class Imported:
    """What was stored."""

    kind: str
    missing: tuple[str, ...]
    """What has to be imported yet; empty if the credential is complete."""


@dataclass(frozen=True)
class Stored:
    """What the vault has of a profile."""

    kind: str | None = None
    """`KEYS_ONLY` while the tokens are missing; None if there is nothing."""
    members: Mapping[str, object] = field(default_factory=dict, repr=False)


class Credentials:
    """The credentials of one bridge.

    Args:
        store: has them sealed.
        redactor: gets every secret.
    """

    def __init__(self, store: SealedStore, redactor: Redactor) -> None:
        self._store = store
        self._redactor = redactor

    def __repr__(self) -> str:
        return f"<Credentials {self._store!r}>"

    async def load(self, profile: Settings) -> Credential:
        """The credential of a profile, opened.

        Raises:
            NoCredential: there is none that can be used.
        """
        kind, data = await self._store.load(_owner(profile))
        if kind is None or kind == KEYS_ONLY:
            missing = "no credential was imported" if kind is None else "the tokens of IBKR's page were not imported"
            raise NoCredential("credential_missing", f"{missing}: profile import {profile.profile}")
        try:
            credential = parse_credential(data)
        except CredentialProblem as exc:
            raise NoCredential("credential_unreadable", str(exc)) from None
        self._hide(secrets_of(credential))
        return credential

    async def stored(self, profile: Settings) -> Stored:
        """What there is of a profile's credential, complete or not.

        Raises:
            NoCredential: the vault is locked, or has something that cannot be opened.
        """
        kind, data = await self._store.load(_owner(profile))
        members = json.loads(data) if data else {}
        return Stored(kind, members if isinstance(members, dict) else {})

    async def import_members(self, profile: Settings, members: Mapping[str, object]) -> Imported:
        """Store a credential, or the part of one that is known; what was stored before stays where it is not replaced.

        Raises:
            CredentialProblem: a member cannot be used.
            NoCredential: the vault is locked, or has something that cannot be opened.
        """
        self._hide(value for name, value in members.items() if name in SECRET_MEMBERS and isinstance(value, str))
        merged = {KIND: FIRST_PARTY, **(await self.stored(profile)).members, **members}
        needed = (*TOKEN_MEMBERS, *KEY_MEMBERS) if merged[KIND] != "oauth2" else ()
        missing = tuple(name for name in needed if name not in merged)
        if missing and missing != TOKEN_MEMBERS:
            raise CredentialProblem(f"the credential lacks {', '.join(missing)}", "import them together")
        if missing:
            await self._store.save(_owner(profile), KEYS_ONLY, json.dumps(merged).encode())
            return Imported(KEYS_ONLY, missing)
        return await self.replace(profile, parse_credential(json.dumps(merged).encode()))

    async def replace(self, profile: Settings, credential: Credential) -> Imported:
        """Store a complete credential in the place of what was there.

        Raises:
            NoCredential: the vault is locked, or cannot be written.
        """
        self._hide(secrets_of(credential))
        data = to_bytes(credential)
        kind = str(json.loads(data)[KIND])
        await self._store.save(_owner(profile), kind, data, getattr(credential, "access_token", None))
        return Imported(kind, ())

    async def forget(self, profile: Settings) -> bool:
        """Remove the credential of a profile. Returns whether there was one.

        Raises:
            NoCredential: the store cannot be used.
        """
        return await self._store.forget(_owner(profile))

    def _hide(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            self._redactor.add_secret(secret, permanent=True)


def _owner(profile: Settings) -> Owner:
    return Owner(profile.user or profile.profile, profile.profile)
