"""An order submitter for the tests of orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.orders.desk import Desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A submitter with a journal of its own."""
    desk = Desk(tmp_path / "main.orders.db")
    yield desk
    await desk.repository.close()
