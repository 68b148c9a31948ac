"""The daemon: its parts before the start, what a failed start leaves, reloads, and the end."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pytest

from ibkr_bridge import events
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.named_keys import KeyScope, add_key, save_named_keys
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import NOON
from tests.harness import KEY, PREVIOUS_KEY, Harness, Placement, settings_for, with_timeout

OTHER = "another-key-for-tests-0123456789-abcd"


def bridge_of(settings: Settings) -> Bridge:
    """A bridge that has not been started."""
    return Bridge(settings, Bus(), Redactor())


@pytest.mark.parametrize("read_part", [lambda bridge: bridge.profile, lambda bridge: bridge.service_status])
async def test_a_part_cannot_be_used_before_the_start(tmp_path: Path, read_part: Callable[[Bridge], object]) -> None:
    """An error at the first use is clearer than a None that fails later."""
    with pytest.raises(RuntimeError):
        read_part(bridge_of(settings_for("https://127.0.0.1:1", tmp_path)))


async def test_a_taken_port_is_an_error_that_leaves_no_file(tmp_path: Path) -> None:
    """The bridge that has the port also has the journal, so this one must not open it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        bridge = bridge_of(settings_for("https://127.0.0.1:1", tmp_path / "state", IBKR_BRIDGE_URL=url))

        with pytest.raises(OSError, match="in use"):
            await bridge.start()

    assert not (tmp_path / "state").exists()


async def test_a_start_that_fails_later_releases_the_port(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start must not find the port in use."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    bridge = bridge_of(settings_for("https://127.0.0.1:1", tmp_path, IBKR_BRIDGE_URL=url))

    def fail(*_: object) -> NoReturn:
        raise OSError("no such certificate")

    monkeypatch.setattr(bridge, "_application", fail)
    with pytest.raises(OSError, match="certificate"):
        await bridge.start()

    socket.create_server(("127.0.0.1", unused_tcp_port)).close()


async def test_the_event_of_the_start_has_the_actual_port(harness: Harness) -> None:
    """Port zero means any free port, so the event has the actual one."""
    assert harness.port > 0
    (started,) = await harness.wait_for_events(events.BridgeStarted)
    assert isinstance(started, events.BridgeStarted)
    assert started.url == harness.bridge.url == f"http://127.0.0.1:{harness.port}"


async def test_the_keys_of_the_settings_are_redacted(sim: Simulator, tmp_path: Path) -> None:
    """The redactor knows the keys before the first line is written."""
    async with Harness(settings_for(sim.url, tmp_path, IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS_KEY)) as harness:
        assert harness.bridge.redactor.contains_secret(KEY)
        assert harness.bridge.redactor.contains_secret(PREVIOUS_KEY)


async def test_a_reload_applies_only_the_keys(harness: Harness, tmp_path: Path) -> None:
    """The old key is refused at once, the new key is redacted, and other settings stay."""
    read = settings_for("https://127.0.0.1:1", tmp_path, IBKR_BRIDGE_KEY=OTHER, IBKR_READ_ONLY="yes")

    harness.bridge.reload(lambda: read)

    assert (await harness.get("/portfolio/accounts", key=KEY)).status == 401
    assert (await harness.get("/portfolio/accounts", key=OTHER)).status == 200
    assert not harness.bridge.settings.read_only
    assert harness.bridge.redactor.contains_secret(OTHER)
    assert await harness.wait_for_events(events.BridgeReloaded)
    (needed,) = await harness.wait_for_events(events.RestartNeeded)
    assert "IBKR_READ_ONLY" in str(needed)


async def test_the_log_has_the_name_of_a_named_key(sim: Simulator, tmp_path: Path) -> None:
    """It is read at the start. Nothing that was sent as a key is in the log."""
    keys, key = add_key((), "dashboard", KeyScope.READ, NOON)
    save_named_keys(tmp_path, keys)
    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        answer = await harness.get("/gateway/status", key=key)
        served = await harness.wait_for_events(events.RequestServed)

        assert answer.status == 200
        assert [each.key for each in served if isinstance(each, events.RequestServed)] == ["dashboard"]
        assert key not in harness.written.getvalue()


async def test_damaged_named_keys_stop_no_start(sim: Simulator, tmp_path: Path) -> None:
    """The keys of the settings are good, and the log says what is wrong."""
    (tmp_path / "keys.json").write_text("{")
    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        (problem,) = await harness.wait_for_events(events.StateUnavailable)

        assert "the named keys" in str(problem)
        assert (await harness.get("/gateway/status")).status == 200


async def test_a_directory_that_others_can_write_gives_no_keys(sim: Simulator, tmp_path: Path) -> None:
    """Else each user of the machine could add a key, at a start or at a reload."""
    keys, key = add_key((), "planted", KeyScope.TRADE, NOON)
    save_named_keys(tmp_path, keys)
    tmp_path.chmod(0o777)
    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        at_start = (await harness.get("/gateway/status", key=key)).status
        harness.bridge.reload(lambda: harness.bridge.settings)

        assert (at_start, (await harness.get("/gateway/status", key=key)).status) == (401, 401)


async def test_a_reload_names_the_settings_that_it_does_not_apply(harness: Harness) -> None:
    """A limit that does not apply yet must not look as if it did."""
    running = harness.bridge.settings
    changed = dataclasses.replace(running, max_order_quantity=Decimal(7), read_only=True)

    harness.bridge.reload(lambda: changed)
    named = (await harness.get("/gateway/status")).json["restart_needed"]
    harness.bridge.reload(lambda: running)

    assert named == ["IBKR_READ_ONLY", "IBKR_MAX_ORDER_QUANTITY"]
    assert (await harness.get("/gateway/status")).json["restart_needed"] == []
    assert len(await harness.wait_for_events(events.RestartNeeded)) == 1


async def test_a_reload_names_settings_that_would_stop_a_restart(harness: Harness) -> None:
    """The keys are applied all the same: the removal of a key must not wait for the repair of another line."""

    def refuse() -> Settings:
        return Settings.from_env({"IBKR_BRIDGE_KEY": KEY, "IBKR_READONLY": "yes"})

    assert harness.bridge.reload(lambda: harness.bridge.settings, refuse) is not None
    assert (await harness.get("/gateway/status")).json["restart_needed"] == ["IBKR_READONLY"]


async def test_a_refused_reload_changes_nothing(harness: Harness) -> None:
    """A typing error in a file must not exclude the callers of a running bridge."""

    def refuse() -> Settings:
        return Settings.from_env({"IBKR_BRIDGE_KEY": "short"})

    with pytest.raises(SettingsError):
        refuse()
    assert harness.bridge.reload(refuse) is None
    assert (await harness.get("/portfolio/accounts")).status == 200
    (refused,) = await harness.wait_for_events(events.ReloadRefused)
    assert "IBKR_BRIDGE_KEY" in str(refused)


async def test_without_a_state_directory_the_bridge_serves_and_reports_it(sim: Simulator, tmp_path: Path) -> None:
    """Reads are served, and the log says why orders are refused."""
    (tmp_path / "file").touch()

    async with Harness(settings_for(sim.url, tmp_path / "file" / "state")) as harness:
        assert (await harness.get("/health", key=None)).status == 200
        assert await harness.wait_for_events(events.StateUnavailable)


@pytest.mark.parametrize("kind", ["link", "open"])
async def test_a_state_directory_that_others_could_change_is_not_used(
    sim: Simulator, tmp_path: Path, kind: str
) -> None:
    """No file is written there, and orders are refused as without a journal."""
    real, path = tmp_path / "real", tmp_path / "state"
    real.mkdir(mode=0o700)
    if kind == "link":
        path.symlink_to(real)
    else:
        path.mkdir()
        path.chmod(0o1777)

    async with Harness(settings_for(sim.url, path)) as harness:
        await harness.wait_until(SessionState.READY)
        order = await harness.post(Placement().target, Placement().body)
        unavailable = next(each for each in harness.events_seen if "the state directory" in repr(each))

    assert (order.status, order.code) == (503, "journal_unavailable")
    assert ("link" if kind == "link" else "other users") in repr(unavailable)
    assert [*real.iterdir(), *path.iterdir()] == []


async def test_a_loop_that_ends_stops_the_bridge_as_a_failure(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd starts the process again; a bridge without a keeper would only seem to serve."""
    harness = Harness(settings_for(sim.url, tmp_path))

    async def die(*_: object) -> NoReturn:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(harness.bridge.loop_monitor, "run_loop", die)
    async with harness:
        await with_timeout(harness.bridge.stop.wait())
        alive = await harness.get("/livez", key=None)

    (died,) = await harness.wait_for_events(events.LoopDied)
    assert harness.bridge.failed
    assert alive.status == 503
    assert "ZeroDivisionError" in str(died)
    assert "secret" not in str(died)


async def test_a_stop_closes_the_port_and_counts_no_unfinished_request(harness: Harness) -> None:
    """The count of unfinished requests shows that no response was lost."""
    await harness.get("/health", key=None)
    port = harness.port

    assert await harness.finish() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert [type(event) for event in harness.events_seen][-1] is events.BridgeStopped
