"""Sealed credentials in files of the state directory: one JSON file for each, with the sealed bytes in Base64.

A file that has another form is an error, and is never read as a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ibkr_bridge.state_file import check_private, load_text, write_atomic
from ibkr_bridge.vault.store_port import EXCHANGE, Listed, Owner, RowChanged, SealedRow, StoreError

SUFFIX = ".json"


class _FileRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file."""

    user_id: str
    exchange: str
    profile: str
    kind: str
    version: int
    bundle: bytes
    access_token: bytes | None
    refresh_token: bytes | None
    account_id: str | None
    token_expiry: datetime | None
    status: str
    status_since: datetime | None
    created_at: datetime | None
    updated_at: datetime | None


class FileStore:
    """A `CredentialStore` in a directory.

    Args:
        directory: made with mode 0700 when the first credential is saved.
        utc: returns the time.
    """

    def __init__(self, directory: Path, utc: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._directory = directory
        self._utc = utc

    def __repr__(self) -> str:
        return f"<FileStore {self._directory}>"

    @property
    def place(self) -> str:
        """See `CredentialStore.place`."""
        return f"files in {self._directory}"

    async def listed(self) -> list[Listed]:
        """See `CredentialStore.listed`."""
        if not self._directory.exists():
            return []
        try:
            names = sorted(each.stem for each in self._directory.iterdir() if each.suffix == SUFFIX)
        except OSError as exc:
            raise StoreError(f"{self.place} cannot be listed: {exc.strerror}") from exc
        rows = (self._read(name) for name in names)
        return [Listed(row.owner, row.kind, row.status, row.version) for row in rows if row is not None]

    async def load(self, owner: Owner) -> SealedRow | None:
        """See `CredentialStore.load`. The file of another user counts as none."""
        row = self._read(owner.profile)
        return row if row is not None and row.owner == owner else None

    async def save(self, row: SealedRow) -> None:
        """See `CredentialStore.save`."""
        stored, now = self._read(row.owner.profile), self._utc()
        if stored is not None and stored.owner != row.owner:
            raise StoreError("this profile has a credential of another user: forget it first")
        if (stored.version if stored else 0) != row.version - 1:
            raise RowChanged("the credential was changed meanwhile: try again")
        began = stored.created_at if stored is not None and stored.created_at else row.created_at or now
        self._write(replace(row, created_at=began, updated_at=now, status_since=row.status_since or now))

    async def remove(self, owner: Owner) -> bool:
        """See `CredentialStore.remove`."""
        if await self.load(owner) is None:
            return False
        try:
            self._path(owner.profile).unlink()
        except OSError as exc:
            raise StoreError(f"the credential cannot be removed: {exc.strerror}") from exc
        return True

    def on_change(self, subscriber: Callable[[Owner], None]) -> None:
        """See `CredentialStore.on_change`: only the bridge writes these files."""

    async def close(self) -> None:
        """See `CredentialStore.close`."""

    def _path(self, profile: str) -> Path:
        return self._directory / f"{profile}{SUFFIX}"

    def _read(self, profile: str) -> SealedRow | None:
        try:
            text = load_text(self._path(profile))
            file = msgspec.json.decode(text, type=_FileRow)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is no sealed credential"
            raise StoreError(f"the credential of {profile} cannot be read: {reason}") from exc
        if file.profile != profile or file.exchange != EXCHANGE:
            raise StoreError(f"the file of {profile} belongs to another profile")
        return _row_of(file)

    def _write(self, row: SealedRow) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_private(self._directory)
            write_atomic(self._path(row.owner.profile), msgspec.json.encode(_file_of(row)).decode())
        except OSError as exc:
            raise StoreError(f"the credential cannot be written: {exc.strerror}") from exc


def _row_of(file: _FileRow) -> SealedRow:
    members = msgspec.structs.asdict(file)
    owner = Owner(members.pop("user_id"), members.pop("profile"))
    del members["exchange"]
    return SealedRow(owner, **members)


def _file_of(row: SealedRow) -> _FileRow:
    members = {each.name: getattr(row, each.name) for each in fields(row) if each.name != "owner"}
    return _FileRow(user_id=row.owner.user, exchange=EXCHANGE, profile=row.owner.profile, **members)
