"""The port to where sealed credentials are kept: files of the state directory, or a database.

A store sees sealed bytes and what may be read without a key: whose they are, of which kind, and since when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

EXCHANGE = "ibkr"


class StoreError(Exception):
    """The store cannot be read or written, or has something that is not ours. The message is for a person."""


class RowChanged(StoreError):
    """Somebody else wrote the row since it was read."""


@dataclass(frozen=True)
class Owner:
    """Whose credential it is."""

    user: str
    profile: str


@dataclass(frozen=True)
class SealedRow:
    """One credential as it is stored. The sealed columns are bound to owner and version."""

    owner: Owner
    kind: str
    """`oauth1a`, `oauth1a_third_party`, `oauth2`."""
    version: int
    """Counts the changes; the first is 1."""
    bundle: bytes = field(repr=False)
    """Everything of the credential, sealed."""
    access_token: bytes | None = field(repr=False)
    """IBKR's access token, sealed; None if the kind has none."""
    refresh_token: bytes | None = field(default=None, repr=False)
    """Sealed; IBKR has none today."""
    account_id: str | None = field(default=None, repr=False)
    token_expiry: datetime | None = None
    status: str = "new"
    status_since: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def sealed_columns(self) -> dict[str, bytes]:
        """The sealed columns that have a value, by name; the name is the purpose to which each is bound."""
        columns = {"bundle": self.bundle, "access_token": self.access_token, "refresh_token": self.refresh_token}
        return {name: value for name, value in columns.items() if value is not None}


@dataclass(frozen=True)
class Listed:
    """What the list of a store shows of a credential, without a key."""

    owner: Owner
    kind: str
    status: str
    version: int


class CredentialStore(Protocol):
    """Where sealed credentials are kept."""

    @property
    def place(self) -> str:
        """Where that is, in words for a person."""
        ...

    async def listed(self) -> list[Listed]:
        """All credentials, without their secrets.

        Raises:
            StoreError: they cannot be read.
        """
        ...

    async def load(self, owner: Owner) -> SealedRow | None:
        """One credential; None if there is none.

        Raises:
            StoreError: it cannot be read.
        """
        ...

    async def save(self, row: SealedRow) -> None:
        """Insert the row with version 1, or replace the row whose version is one less.

        Raises:
            RowChanged: the stored version is another one.
            StoreError: it cannot be written.
        """
        ...

    async def remove(self, owner: Owner) -> bool:
        """Remove a credential. Returns whether there was one.

        Raises:
            StoreError: it cannot be removed.
        """
        ...

    def on_change(self, subscriber: Callable[[Owner], None]) -> None:
        """Call a function when another program has changed a credential; a store of files never does."""
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...
