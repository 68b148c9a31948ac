"""A bridge for clients of other people's making, and its address where the page says they look for it."""

from __future__ import annotations

import pytest

from tests.conftest import Open
from tests.harness import KEY, Harness


@pytest.fixture
async def bridge(open_harness: Open, monkeypatch: pytest.MonkeyPatch) -> Harness:
    """Open for what the clients ask besides; the deadline is that of a slow machine, not of a test of silence."""
    harness = await open_harness(IBKR_BRIDGE_EXTRA_PREFIXES="trsrv,pa", IBKR_GATEWAY_TIMEOUT="10")
    monkeypatch.setenv("IBKR_BRIDGE_URL", harness.bridge.url)
    monkeypatch.setenv("IBKR_BRIDGE_KEY", KEY)
    return harness
