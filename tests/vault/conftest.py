"""A PostgreSQL server for the tests that need one, started once for each worker."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from ibkr_bridge.vault.schema import migrate
from tests.vault.postgres import address, programs, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The folder of a server's socket."""
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    with running_server(binaries) as folder:
        yield folder


@pytest.fixture
async def database(server: Path) -> AsyncIterator[str]:
    """The name of a database with the table, in its newest form."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(address(server))
    await admin.execute(f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(address(server, database=name))
    assert await migrate(connection) == 1
    await connection.close()
    yield name
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
