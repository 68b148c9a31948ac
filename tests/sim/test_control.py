"""The simulator's controls for another process."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.control import Control, ControlError, send
from tests.sim.wire import Wire

STATUS = "/v1/api/iserver/auth/status"


@pytest.fixture
async def path(sim: Simulator, tmp_path: Path) -> AsyncIterator[Path]:
    control = Control(sim, tmp_path / "control")
    await control.start()
    yield tmp_path / "control"
    await control.stop()


async def test_only_its_owner_can_open_the_socket(path: Path) -> None:
    """The mode is 0600."""
    mode = path.stat().st_mode

    assert stat.S_IMODE(mode) == 0o600


async def test_faults_are_added_listed_and_cleared(path: Path, wire: Wire) -> None:
    """Each response lists the active faults."""
    added = await send(path, "POST", "/faults", {"kind": "status", "status": 418})
    spoilt = await wire.call("GET", STATUS)
    cleared = await send(path, "DELETE", "/faults?kind=status")

    assert [each["kind"] for each in added["active"]] == ["status"]
    assert spoilt.status == 418
    assert cleared["active"] == []
    assert "silence" in (await send(path, "GET", "/faults"))["kinds"]


async def test_a_login_can_be_requested(path: Path, sim: Simulator, wire: Wire) -> None:
    """It is needed after a restart, for example."""
    sim.log_out()
    await send(path, "POST", "/login")

    assert (await wire.call("GET", STATUS)).json()["authenticated"] is True


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"kind": "nonsense"}, "known are: 429"),
        ({}, "member `kind` is missing; known are: 429"),
        ({"kind": "big", "x": 1}, "no option x"),
    ],
)
async def test_an_invalid_request_is_explained(path: Path, body: dict[str, object], message: str) -> None:
    """The message is for people."""
    with pytest.raises(ControlError, match=message):
        await send(path, "POST", "/faults", body)


async def test_a_missing_simulator_is_reported(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(ControlError, match="no simulator listens"):
        await send(tmp_path / "nothing", "GET", "/faults")
