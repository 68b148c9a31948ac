"""Sealed credentials in a real PostgreSQL: no row of another user is seen, whatever a program forgets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from ibkr_bridge.vault.key_file import FileKeySource, KeyEncryptionKey
from ibkr_bridge.vault.postgres_store import MAX_CONNECTIONS, PostgresStore
from ibkr_bridge.vault.store_port import Listed, Owner, RowChanged, SealedRow, StoreError
from ibkr_bridge.vault.vault import PlainCredential, Vault
from tests.harness import with_timeout
from tests.vault.postgres import address

ANNA, BEN = Owner("user-17", "anna"), Owner("user-18", "ben")


@pytest.fixture
async def store(server: Path, database: str) -> AsyncIterator[PostgresStore]:
    """A store as the bridge opens it."""
    made = PostgresStore(address(server, "ibkr_bridge", database))
    yield made
    await made.close()


@pytest.fixture
async def connection(server: Path, database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection as the bridge has it, on which nothing was set."""
    made = await asyncpg.connect(address(server, "ibkr_bridge", database))
    yield made
    await made.close()


def row(owner: Owner = ANNA, version: int = 1, token: bytes | None = b"token") -> SealedRow:
    """A row; its bytes stand for sealed ones."""
    return SealedRow(owner, "oauth1a", version, f"bundle of {owner.profile}".encode(), token)


async def test_a_row_is_read_as_it_was_written(store: PostgresStore) -> None:
    """And listed without its secrets."""
    await store.save(row())
    await store.save(row(BEN, token=None))
    loaded = await store.load(ANNA)

    assert loaded is not None
    assert (loaded.bundle, loaded.access_token, loaded.kind, loaded.version) == (
        b"bundle of anna",
        b"token",
        "oauth1a",
        1,
    )
    assert loaded.created_at is not None
    assert await store.listed() == [Listed(ANNA, "oauth1a", "new", 1), Listed(BEN, "oauth1a", "new", 1)]
    assert (await store.remove(ANNA), await store.remove(ANNA), await store.load(ANNA)) == (True, False, None)


async def test_a_change_that_somebody_else_overtook_is_refused(store: PostgresStore) -> None:
    """The newer credential must not be lost."""
    await store.save(row())
    await store.save(row(version=2))

    for version in (1, 2, 4):
        with pytest.raises(RowChanged):
            await store.save(row(version=version))


async def test_another_user_gets_nothing(store: PostgresStore) -> None:
    """Neither by reading, nor by changing, nor by removing; nor under a name that is in use."""
    await store.save(row())
    thief = Owner("user-18", "anna")

    assert await store.load(thief) is None
    assert await store.remove(thief) is False
    with pytest.raises(RowChanged):
        await store.save(row(thief))
    with pytest.raises(RowChanged):
        await store.save(row(thief, 2))
    assert await store.load(ANNA) is not None


async def test_a_forgotten_setting_gives_no_rows(
    store: PostgresStore, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A WHERE that names the user is not enough, and after a transaction the setting is empty, not missing."""
    await store.save(row())
    everything = "SELECT * FROM user_exchange_credentials"

    assert await connection.fetch(everything) == []
    async with connection.transaction():
        await connection.execute("SELECT set_config('app.user_id', $1, true)", ANNA.user)
        assert len(await connection.fetch(everything)) == 1
    assert await connection.fetch(everything) == []
    assert await connection.execute("DELETE FROM user_exchange_credentials") == "DELETE 0"


async def test_a_row_cannot_be_given_to_another_user(
    store: PostgresStore, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    """The policy holds for what is written too."""
    await store.save(row())

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.user_id', $1, true)", ANNA.user)
            await connection.execute("UPDATE user_exchange_credentials SET user_id = $1", BEN.user)


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE user_exchange_credentials",
        "ALTER TABLE user_exchange_credentials DISABLE ROW LEVEL SECURITY",
        "DROP TABLE user_exchange_credentials",
        "SET ROLE ibkr_bridge_owner",
        "SET LOCAL ROLE ibkr_bridge_list; SELECT bundle FROM user_exchange_credentials",
        "SET LOCAL ROLE ibkr_bridge_list; DELETE FROM user_exchange_credentials",
        "SET LOCAL row_security = off; SELECT * FROM user_exchange_credentials",
    ],
)
async def test_what_the_bridge_may_not_do(
    store: PostgresStore, connection: asyncpg.Connection[asyncpg.Record], statement: str
) -> None:
    """A stolen connection changes neither the rules nor the list."""
    await store.save(row())

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with connection.transaction():
            await connection.execute(statement)


async def test_the_owner_obeys_the_rule_too(server: Path, database: str, store: PostgresStore) -> None:
    """Row-level security is forced."""
    await store.save(row())
    admin = await asyncpg.connect(address(server, database=database))
    async with admin.transaction():
        await admin.execute("SET LOCAL ROLE ibkr_bridge_owner")
        rows = await admin.fetch("SELECT * FROM user_exchange_credentials")
    await admin.close()

    assert rows == []


async def test_a_connection_after_an_exception_shows_nothing_of_the_user_before(store: PostgresStore) -> None:
    """The pool gives the same connection to the next caller."""
    await store.save(row())
    await store.save(row(BEN))

    for _ in range(MAX_CONNECTIONS * 3):
        with pytest.raises(ZeroDivisionError):
            async with store._transaction(ANNA.user) as connection:
                assert len(await connection.fetch("SELECT 1 FROM user_exchange_credentials")) == 1
                raise ZeroDivisionError
        with pytest.raises(StoreError):
            async with store._transaction(ANNA.user) as connection:
                await connection.execute("SELECT 1 / 0")
        async with store._transaction() as connection:
            assert await connection.fetch("SELECT 1 FROM user_exchange_credentials") == []


async def read_at_random(store: PostgresStore, owners: list[Owner], times: int) -> int:
    """Read rows of users in random order; return how many were of somebody else."""
    wrong = 0
    for owner in random.choices(owners, k=times):  # noqa: S311  # an order, not a secret
        loaded = await store.load(owner)
        wrong += loaded is None or loaded.bundle != f"bundle of {owner.profile}".encode()
    return wrong


@pytest.mark.slow
async def test_two_users_on_one_pool_ten_thousand_times(store: PostgresStore) -> None:
    """No read ever shows a row of the other."""
    await store.save(row())
    await store.save(row(BEN))

    counts = await asyncio.gather(*(read_at_random(store, [ANNA, BEN], 1250) for _ in range(8)))

    assert sum(counts) == 0


async def test_two_users_on_one_pool(store: PostgresStore) -> None:
    """The same with fewer reads."""
    await store.save(row())
    await store.save(row(BEN))

    counts = await asyncio.gather(*(read_at_random(store, [ANNA, BEN], 50) for _ in range(8)))

    assert sum(counts) == 0


async def test_a_change_by_another_program_is_told(server: Path, database: str, store: PostgresStore) -> None:
    """Another bridge, or an app that writes the table."""
    told: asyncio.Queue[Owner] = asyncio.Queue()
    store.on_change(told.put_nowait)
    other = PostgresStore(address(server, "ibkr_bridge", database))
    admin = await asyncpg.connect(address(server, database=database))
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = $1"
    async with asyncio.timeout(20):
        while await admin.fetchval(listening, database) == 0:  # another process, which reports no readiness
            await asyncio.sleep(0.01)

    await other.save(row())
    await other.save(row(version=2))
    await other.remove(ANNA)

    assert [await with_timeout(told.get()) for _ in range(3)] == [ANNA] * 3
    await admin.close()
    await other.close()


async def test_no_secret_is_in_the_files_of_the_database(server: Path, database: str, store: PostgresStore) -> None:
    """Nor in its log of writes: what leaves the bridge is sealed."""
    keys = FileKeySource((KeyEncryptionKey(b"k" * 32),))
    vault = Vault(store, keys)
    await vault.save(ANNA, PlainCredential("oauth1a", b"CANARY-IN-THE-BUNDLE", "CANARY-IN-THE-TOKEN"))
    admin = await asyncpg.connect(address(server, database=database))
    await admin.execute("CHECKPOINT")
    await admin.close()
    files = b"".join(each.read_bytes() for each in (server / "data").rglob("*") if each.is_file())

    assert (await vault.load(ANNA)).bundle == b"CANARY-IN-THE-BUNDLE"
    assert b"user-17" in files
    assert b"CANARY" not in files
    assert b"Q0FOQVJZ" not in files


async def test_a_database_that_does_not_answer_is_told_without_its_address(tmp_path: Path) -> None:
    """The address may have a password."""
    store = PostgresStore(f"postgresql://ibkr_bridge:PASSWORD@/none?host={tmp_path}")

    with pytest.raises(StoreError) as caught:
        await store.load(ANNA)
    assert "PASSWORD" not in str(caught.value) + repr(store)
    await store.close()
