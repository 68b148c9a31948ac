"""Fixtures of the stories, which run in front of the simulated Gateway and, if there is one, in front of a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.gateways import REAL, MakeGate, certificates, kind, make_real, sign_in

__all__ = ["certificates", "kind", "make_real"]


@pytest.fixture
async def sim(kind: str, make_real: MakeGate) -> AsyncIterator[MarketStage]:
    """A Gateway with a login."""
    async with make_real() if kind == REAL else Simulator() as gate:
        if kind == REAL:
            await sign_in(gate)
        yield gate
