"""A bridge for third-party clients, with its address and key in the environment as docs/clients.md says."""

from __future__ import annotations

import pytest

from tests.conftest import OpenHarness
from tests.harness import KEY, Harness


@pytest.fixture
async def bridge(open_harness: OpenHarness, monkeypatch: pytest.MonkeyPatch) -> Harness:
    """A bridge that opens two more prefixes. Its timeout is long, since the machine may be slow."""
    harness = await open_harness(IBKR_BRIDGE_EXTRA_PREFIXES="trsrv,pa", IBKR_GATEWAY_TIMEOUT="10")
    monkeypatch.setenv("IBKR_BRIDGE_URL", harness.bridge.url)
    monkeypatch.setenv("IBKR_BRIDGE_KEY", KEY)
    return harness
