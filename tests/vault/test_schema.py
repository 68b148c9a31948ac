"""The migrations: each runs once, and two programs at a time run none twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from ibkr_bridge.vault.schema import MIGRATIONS, migrate
from tests.vault.postgres import address


async def test_a_second_run_changes_nothing(server: Path, database: str) -> None:
    """The version is in the database."""
    connection = await asyncpg.connect(address(server, database=database))

    assert await migrate(connection) == 0
    assert await connection.fetchval("SELECT max(version) FROM ibkr_bridge_schema") == len(MIGRATIONS)
    await connection.close()


async def test_two_at_a_time_run_each_once(server: Path) -> None:
    """Two bridges may start in the same moment."""
    admin = await asyncpg.connect(address(server))
    await admin.execute("CREATE DATABASE twice")
    both = [await asyncpg.connect(address(server, database="twice")) for _ in range(2)]

    assert sorted(await asyncio.gather(*map(migrate, both))) == [0, len(MIGRATIONS)]
    for connection in both:
        await connection.close()
    await admin.execute("DROP DATABASE twice")
    await admin.close()
