"""The Gateway with the configuration in `deploy/inputs`: which addresses and which login pages it accepts."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.gateway.rules import Settings
from ibkr_bridge.sim.market_stage import MarketStage
from tests.contract.conftest import OpenGate
from tests.deploy.conftest import DEPLOY
from tests.deploy.yaml_reader import read_plain
from tests.harness import with_timeout
from tests.sim.wire import connect

STATUS = "/v1/api/iserver/auth/status"


@pytest.fixture
async def gate(open_gate: OpenGate) -> MarketStage:
    """A Gateway with that configuration; somebody has signed in at it."""
    conf = read_plain(DEPLOY / "inputs" / "conf.yaml")
    lists = {name: tuple(addresses) for name, addresses in conf["ips"].items()}
    return await open_gate(settings=Settings(cors=conf["cors"]["origin.allowed"], **lists))


@pytest.mark.parametrize(("source", "status"), [("127.0.0.1", 200), ("127.0.0.2", 404)])
async def test_it_accepts_the_listed_addresses(gate: MarketStage, source: str, status: int) -> None:
    """A person signs in from loopback."""
    wire = await connect(gate, source)

    response = await with_timeout(wire.call("GET", STATUS))
    wire.abort()

    assert response.status == status


@pytest.mark.parametrize(
    ("origin", "status"), [("https://localhost:5000", 200), ("https://127.0.0.1:5000", 200), ("http://127.0.0.1", 403)]
)
async def test_it_serves_only_its_own_login_page(gate: MarketStage, origin: str, status: int) -> None:
    """The form of that page sends the Gateway's own origin, which must pass."""
    wire = await connect(gate)

    response = await with_timeout(wire.call("GET", STATUS, headers={"Origin": origin}))
    wire.abort()

    assert response.status == status
