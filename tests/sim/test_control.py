"""The simulator's controls for another process."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.control import BRIDGE_STAYS, GHOSTS_STAY, ORDERS_STAY, Control, ControlError, not_restored, send
from ibkr_bridge.sim.faults import KINDS
from tests.clocks import ManualClock
from tests.sim.wire import Wire

STATUS = "/v1/api/iserver/auth/status"
TICKET = {"conid": 265598, "orderType": "LMT", "side": "BUY", "quantity": 1, "tif": "DAY", "price": 150}
ORDER = {"orders": [TICKET]}


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


async def test_ended_faults_leave_nothing_behind_at_ibkr(path: Path, sim: Simulator, wire: Wire) -> None:
    """The penalty, a session that another program has taken, and calls that are held."""
    await send(path, "POST", "/faults", {"kind": "competing"})
    await send(path, "POST", "/faults", {"kind": "done-silence", "path": "/portfolio/accounts"})
    sim.market.pacing.in_penalty_until = sim.clock.now() + 900
    held = asyncio.create_task(wire.call("GET", "/v1/api/portfolio/accounts"))
    await sim.wait_for_calls("/portfolio/accounts")

    await send(path, "DELETE", "/faults")

    assert (await asyncio.wait_for(held, 5)).status == 200
    assert (sim.market.pacing.in_penalty_until, sim.calls_in_slots()) == (0.0, 0)
    assert (await wire.call("GET", STATUS)).json()["competing"] is False


async def test_the_bridge_of_a_demo_is_restored_too(sim: Simulator, wire: Wire, tmp_path: Path) -> None:
    """Only if a fault occurred; what only it knows is then not named as left behind."""
    restored: list[None] = []

    async def restore() -> None:
        restored.append(None)

    control = Control(sim, tmp_path / "demo", restore)
    await control.start()
    untouched = await send(tmp_path / "demo", "DELETE", "/faults")
    await send(tmp_path / "demo", "POST", "/faults", {"kind": "429"})
    await wire.call("GET", STATUS)
    cleared = await send(tmp_path / "demo", "DELETE", "/faults")
    await control.stop()

    assert (untouched["not_restored"], cleared["not_restored"], restored) == ([], [], [None])


@pytest.mark.parametrize(
    ("kinds", "texts"),
    [
        ({"status", "delay", "gzip"}, []),
        ({"done-cut-before"}, [ORDERS_STAY]),
        ({"drop"}, [GHOSTS_STAY]),
        ({"429"}, [BRIDGE_STAYS]),
        ({"429", "done-restart-during"}, [ORDERS_STAY, GHOSTS_STAY, BRIDGE_STAYS]),
    ],
)
def test_what_cannot_be_undone_is_named(kinds: set[str], texts: list[str]) -> None:
    """For a simulator without a bridge of its own."""
    with_orders = {kind: bool(KINDS[kind].defaults.get("done")) for kind in kinds}

    assert list(not_restored(with_orders, has_bridge=False)) == texts


@pytest.mark.parametrize(
    ("method", "target", "stays"),
    [
        ("POST", "/v1/api/iserver/account/DU1234567/orders", True),
        ("POST", "/v1/api/iserver/reply/abc", True),
        ("POST", "/v1/api/iserver/account/DU1234567/orders/whatif", False),
        ("GET", "/v1/api/iserver/account/orders", False),
        ("GET", "/v1/api/portfolio/accounts", False),
    ],
)
async def test_only_an_order_that_was_carried_out_stays(
    path: Path, wire: Wire, method: str, target: str, stays: bool
) -> None:
    """After a fault of a read, or one that no call has met, nothing is left behind."""
    await send(path, "POST", "/faults", {"kind": "done-timeout-503", "seconds": 0})
    unmet = await send(path, "DELETE", "/faults")
    await send(path, "POST", "/faults", {"kind": "done-timeout-503", "seconds": 0})
    await wire.call(method, target, ORDER if method == "POST" else None)
    met = await send(path, "DELETE", "/faults")

    assert (unmet["not_restored"], met["not_restored"]) == ([], [ORDERS_STAY] * stays)


async def test_the_end_of_one_fault_says_nothing_of_the_orders_of_another(path: Path, wire: Wire) -> None:
    """It is said when that one ends."""
    await send(path, "POST", "/faults", {"kind": "done-timeout-503", "seconds": 0})
    await wire.call("POST", "/v1/api/iserver/account/DU1234567/orders", ORDER)
    await send(path, "POST", "/faults", {"kind": "gzip"})

    other = await send(path, "DELETE", "/faults?kind=gzip")
    own = await send(path, "DELETE", "/faults?kind=done-timeout-503")

    assert (other["not_restored"], own["not_restored"]) == ([], [ORDERS_STAY])


@pytest.mark.parametrize("kind", ["brokerage-lost", "no-bridge", "disconnected", "never-established"])
async def test_an_event_that_has_ended_by_itself_is_not_listed(
    path: Path, wire: Wire, clock: ManualClock, kind: str
) -> None:
    """A bridge opens the session again; the list then shows what still goes wrong, and no more."""
    during = await send(path, "POST", "/faults", {"kind": kind})
    await wire.call("POST", "/v1/api/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    clock.advance(1)

    assert [each["kind"] for each in during["active"]] == [kind]
    assert (await send(path, "GET", "/faults"))["active"] == []
