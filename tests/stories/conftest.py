"""Fixtures of the stories. They run in front of the simulated Gateway and, if there is one, in front of a real one.
Those of `BY_OAUTH_TOO` run also without a Gateway, in front of a simulated api.ibkr.com.

A story with the mark `gateway_only` concerns a Gateway: its reason says what api.ibkr.com does not have or do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.profiles.credentials import Credentials
from ibkr_bridge.profiles.sealed_store import SealedStore
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.api_host import ApiHost, Registration
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.vault.key_file import new_key_line
from tests.conftest import OpenHarness
from tests.contract.gateways import REAL, SIMULATED, SOURCE, MakeGate, certificates, make_real, sign_in
from tests.harness import Harness, settings_for

__all__ = ["certificates", "make_real"]

OAUTH = "oauth"
ACCOUNTS = ("DU1234567", "DU7654321")
"""Those of the simulated Gateway."""
BY_OAUTH_TOO = ("test_orders", "test_streams")
"""The modules whose stories run over both roads. The guard, keys and shares work before a road is chosen, so the other
modules would show nothing more; `test_without_gateway.py` has what only this road has.
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each story once for each kind of road that it has."""
    if "kind" not in metafunc.fixturenames:
        return
    kinds = [SIMULATED, *([REAL] if SOURCE else [])]
    is_of_gateway = metafunc.definition.get_closest_marker("gateway_only") is not None
    if metafunc.module.__name__.rpartition(".")[2] in BY_OAUTH_TOO and not is_of_gateway:
        kinds.append(OAUTH)
    metafunc.parametrize("kind", kinds, indirect=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """What stands between the bridge and IBKR."""
    return str(request.param)


@pytest.fixture
async def host(kind: str) -> AsyncIterator[ApiHost | None]:
    """A simulated api.ibkr.com; None on the road through a Gateway."""
    if kind != OAUTH:
        yield None
        return
    async with ApiHost() as running:
        yield running


@pytest.fixture
def user(host: ApiHost | None) -> Registration | None:
    """A user of it."""
    return host.register("anna", accounts=ACCOUNTS) if host is not None else None


@pytest.fixture
async def sim(
    kind: str, host: ApiHost | None, user: Registration | None, make_real: MakeGate
) -> AsyncIterator[MarketStage]:
    """A Gateway with a login, or the market of a user without one."""
    if host is not None and user is not None:
        host.follow(user.market.faults)  # the faults of this user hit the connections too
        yield user.market
        return
    async with make_real() if kind == REAL else Simulator() as gate:
        if kind == REAL:
            await sign_in(gate)
        yield gate


@pytest.fixture
async def open_harness(
    request: pytest.FixtureRequest,
    sim: MarketStage,
    host: ApiHost | None,
    user: Registration | None,
    tmp_path: Path,
) -> AsyncIterator[OpenHarness]:
    """A function that starts a bridge; its arguments are settings. See the fixture of `tests/conftest.py`."""
    timeout = "1.5" if request.node.get_closest_marker("unanswered") else "10"
    async with AsyncExitStack() as stack:

        async def open_bridge(*, ready: bool = True, gateway: str | None = None, **env: str) -> Harness:
            env.setdefault("IBKR_GATEWAY_TIMEOUT", timeout)
            if host is not None:
                env |= vault_of(tmp_path) | {"IBKR_BRIDGE_ROAD": "oauth", "IBKR_BRIDGE_API_URL": host.url}
            settings = settings_for(gateway or sim.url, tmp_path / "state", **env)
            if user is not None:
                await import_credential(settings, user)
            harness = Harness(settings)
            await stack.enter_async_context(harness)
            if ready:
                await harness.wait_until(SessionState.READY)
            return harness

        yield open_bridge


def vault_of(tmp_path: Path) -> dict[str, str]:
    """The setting of a file with the key of the vault, which is made once for each test."""
    file = tmp_path / "vault-keys"
    if not file.exists():
        file.write_text(new_key_line())
        file.chmod(0o400)
    return {"IBKR_BRIDGE_VAULT_KEYS": str(file)}


async def import_credential(settings: Settings, user: Registration) -> None:
    """Seal what a user brings, as `profile import` does."""
    assert settings.state_dir is not None
    settings.state_dir.mkdir(mode=0o700, exist_ok=True)
    members = {
        "consumer_key": user.consumer_key,
        "access_token": user.access_token,
        "access_token_secret": user.access_token_secret,
        "signature_key": user.signature_key_pem,
        "encryption_key": user.encryption_key_pem,
        "dh_parameters": user.dhparam_pem,
    }
    await Credentials(SealedStore(settings), Redactor()).import_members(settings, members)
