"""Sealed credentials in PostgreSQL, one row for each; `schema.py` has the table and its roles.

Every statement runs in a transaction that has set its user, never with a setting that stays on the connection: the next
caller of the pool would see the rows of the one before. A transaction that set nothing sees no row.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ibkr_bridge.vault.schema import CHANNEL
from ibkr_bridge.vault.store_port import EXCHANGE, Listed, Owner, RowChanged, SealedRow, StoreError

if TYPE_CHECKING:
    import asyncpg

    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

MAX_CONNECTIONS = 4  # the bridge reads a credential when a profile starts, and seldom writes one
TIMEOUT_S = 10.0
RECONNECT_S = (1.0, 5.0, 30.0, 60.0)  # between two attempts to listen again; later ones wait as long as the last
COLUMNS = tuple(each.name for each in fields(SealedRow) if each.name != "owner")
LISTED = ("kind", "status", "version")
_LIST = "SELECT user_id, profile, kind, status, version FROM user_exchange_credentials WHERE exchange = $1 ORDER BY 2"
_LOAD = (
    f"SELECT {', '.join(COLUMNS)} FROM user_exchange_credentials "  # noqa: S608  # names of our own
    "WHERE user_id = $1 AND exchange = $2 AND profile = $3"
)
_INSERT = """INSERT INTO user_exchange_credentials (user_id, exchange, profile, kind, version, bundle, access_token,
 refresh_token, account_id, token_expiry, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"""
_UPDATE = """UPDATE user_exchange_credentials SET kind = $4, version = $5, bundle = $6, access_token = $7,
 refresh_token = $8, account_id = $9, token_expiry = $10, status = $11, updated_at = now(),
 status_since = CASE WHEN status = $11 THEN status_since ELSE now() END
 WHERE user_id = $1 AND exchange = $2 AND profile = $3 AND version = $5 - 1"""
_DELETE = "DELETE FROM user_exchange_credentials WHERE user_id = $1 AND exchange = $2 AND profile = $3"


class PostgresStore:
    """A `CredentialStore` in a database.

    Args:
        url: its address; it may have a password and is never shown.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: Pool | None = None
        self._lock = asyncio.Lock()
        self._subscribers: list[Callable[[Owner], None]] = []
        self._listener: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return "<PostgresStore>"

    @property
    def place(self) -> str:
        """See `CredentialStore.place`."""
        return "the database of IBKR_BRIDGE_DATABASE_URL"

    async def listed(self) -> list[Listed]:
        """See `CredentialStore.listed`."""
        async with self._transaction() as connection:
            await connection.execute("SET LOCAL ROLE ibkr_bridge_list")
            rows = await connection.fetch(_LIST, EXCHANGE)
        return [Listed(Owner(row["user_id"], row["profile"]), *(row[name] for name in LISTED)) for row in rows]

    async def load(self, owner: Owner) -> SealedRow | None:
        """See `CredentialStore.load`."""
        async with self._transaction(owner.user) as connection:
            row = await connection.fetchrow(_LOAD, *_key(owner))
        return SealedRow(owner, **dict(row)) if row is not None else None

    async def save(self, row: SealedRow) -> None:
        """See `CredentialStore.save`."""
        values = (
            *(*_key(row.owner), row.kind, row.version, row.bundle, row.access_token, row.refresh_token),
            *(row.account_id, row.token_expiry, row.status),
        )
        async with self._transaction(row.owner.user) as connection:
            outcome = await connection.execute(_INSERT if row.version == 1 else _UPDATE, *values)
        if not outcome.endswith(" 1"):
            raise RowChanged("the credential was changed meanwhile: try again")

    async def remove(self, owner: Owner) -> bool:
        """See `CredentialStore.remove`."""
        async with self._transaction(owner.user) as connection:
            outcome = await connection.execute(_DELETE, *_key(owner))
        return bool(outcome.endswith(" 1"))

    def on_change(self, subscriber: Callable[[Owner], None]) -> None:
        """See `CredentialStore.on_change`. Changes of this bridge are told too."""
        self._subscribers.append(subscriber)
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="credentials")  # outlives its first subscriber

    async def close(self) -> None:
        """See `CredentialStore.close`."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def _transaction(self, user: str | None = None) -> AsyncIterator[Connection]:
        """A transaction that sees the rows of one user; of nobody if none is named.

        Raises:
            StoreError: the database cannot be used.
        """
        import asyncpg

        try:
            pool = await self._connected()
            async with pool.acquire() as connection, connection.transaction():
                if user is not None:
                    await connection.execute("SELECT set_config('app.user_id', $1, true)", user)
                yield connection
        except asyncpg.UniqueViolationError as exc:
            raise RowChanged("the credential was changed meanwhile: try again") from exc
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise StoreError(f"{self.place} cannot be used ({type(exc).__name__})") from exc

    async def _connected(self) -> Pool:
        import asyncpg

        async with self._lock:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url, min_size=0, max_size=MAX_CONNECTIONS, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S
                )
        return self._pool

    async def _listen(self) -> None:
        """Tell the subscribers of changes, over a connection of its own; open it again when it ends."""
        import asyncpg

        attempts = 0
        while True:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                connection = await asyncpg.connect(self._url, timeout=TIMEOUT_S)
                ended = asyncio.Event()
                connection.add_termination_listener(lambda *_, ended=ended: ended.set())
                await connection.add_listener(CHANNEL, self._on_notification)
                attempts = 0
                try:
                    await ended.wait()
                finally:
                    connection.terminate()
            await asyncio.sleep(RECONNECT_S[min(attempts, len(RECONNECT_S) - 1)])
            attempts += 1

    def _on_notification(self, _connection: object, _pid: object, _channel: object, payload: object) -> None:
        if (owner := _owner_in(payload)) is not None:
            for subscriber in self._subscribers:
                subscriber(owner)


def _key(owner: Owner) -> tuple[str, str, str]:
    return owner.user, EXCHANGE, owner.profile


def _owner_in(payload: object) -> Owner | None:
    """Whose credential a notification is about; None if it is not ours."""
    try:
        members: Any = json.loads(str(payload))
        return Owner(str(members["user_id"]), str(members["profile"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
