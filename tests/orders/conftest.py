"""An order submitter for the tests of orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.orders.submitter_setup import SubmitterSetup


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[SubmitterSetup]:
    """An order submitter with a journal of its own; the journal is closed at the end."""
    setup = SubmitterSetup(tmp_path / "main.orders.db")
    yield setup
    await setup.repository.close()
