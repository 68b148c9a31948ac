"""The Gateways under test: always the simulated one, and a real one if CPGW_DIR names the user's copy of it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.real_gateway import Certificates, RealGateway, missing_for_real_gateway
from tests.harness import with_timeout

SIMULATED, REAL = "simulated", "real"
SIMULATED_TICKLE_INTERVAL_S = 0.5  # the real Gateway's interval cannot be shortened
ADDRESSES = (f"127.77.{high}.{low}" for high, low in itertools.product(range(256), range(1, 255)))
SOURCE = os.environ.get("CPGW_DIR", "")

MakeGate = Callable[..., MarketStage]


@pytest.fixture(params=(SIMULATED, REAL) if SOURCE else (SIMULATED,))
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of Gateway that this test uses; each test runs once for each kind."""
    return str(request.param)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The certificates of the market behind the real Gateway."""
    if reason := missing_for_real_gateway(SOURCE):
        pytest.fail(reason)
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def make_real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MakeGate:
    """A real Gateway, not yet started."""

    def make(**options: Any) -> MarketStage:
        certificates: Certificates = request.getfixturevalue("certificates")
        return RealGateway(Path(SOURCE), tmp_path_factory.mktemp("gateway"), certificates, next(ADDRESSES), **options)

    return make


@pytest.fixture
def make_gate(kind: str, make_real: MakeGate) -> MakeGate:
    """A Gateway of this test's kind, not yet started, with short delays and nobody signed in."""
    defaults = {"logged_in": False, "auth_delay_s": 0.2, "tickle_interval_s": SIMULATED_TICKLE_INTERVAL_S}
    return make_real if kind == REAL else lambda **options: Simulator(**{**defaults, **options})


async def sign_in(gate: MarketStage) -> None:
    """Sign in through the login pages, wait for the end of the Gateway's login chain, and clear the log."""
    gate.market.log.clear()
    await gate.log_in_by_browser()
    await with_timeout(gate.wait_for_calls("/iserver/accounts"))
    gate.market.log.clear()
