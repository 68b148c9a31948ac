"""Collects all facts, at the same time and in bounded time."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from ibkr_bridge.cli.doctor import collect as module
from ibkr_bridge.cli.doctor.collect import collect
from tests.cli.command_runner import Demo, free_port
from tests.cli.doctor.healthy import settings


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of this checkout, and no demo of another test."""
    (tmp_path / ".env").touch(mode=0o600)
    monkeypatch.chdir(tmp_path)


def test_all_facts_of_a_demo_are_collected(running: Demo, tmp_path: Path) -> None:
    """From the disk to the app."""
    app = tmp_path / ".env.local"
    app.write_text(f"IBKR_BRIDGE_URL={running.url}\nIBKR_BRIDGE_KEY={running.key}\n")
    used = settings(**running.env, IBKR_BRIDGE_STATE_DIR=str(tmp_path / "state"))

    facts = collect(used, app)

    assert facts.state is not None
    assert facts.gateway is not None
    assert facts.bridge is not None
    assert facts.app is not None
    assert (facts.gateway.status, facts.bridge.is_ready, facts.app.is_tried) == (403, True, True)
    assert facts.unit is None  # another bridge than the installed one


def test_when_everything_hangs_it_still_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bridge and the Gateway accept connections and never answer."""
    monkeypatch.setattr(module, "PROBES_TIMEOUT_S", 0.5)
    monkeypatch.setattr(module, "CHILD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(module, "look_at_state", lambda _: time.sleep(60))
    monkeypatch.setattr(module, "read_other_addresses", lambda: time.sleep(60))
    with socket.create_server(("127.0.0.1", 0)) as gateway, socket.create_server(("127.0.0.1", 0)) as bridge:
        used = settings(
            IBKR_BRIDGE_URL=f"http://127.0.0.1:{bridge.getsockname()[1]}",
            IBKR_GATEWAY_URL=f"https://127.0.0.1:{gateway.getsockname()[1]}",
            IBKR_BRIDGE_STATE_DIR=str(tmp_path),
        )
        begin = time.monotonic()
        facts = collect(used)
        lasted_s = time.monotonic() - begin

    assert (facts.state, facts.gateway, facts.bridge) == (None, None, None)
    assert lasted_s < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can pass a firewall")
def test_root_tries_the_addresses_as_somebody_without_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall rule lets root through and keeps the others out."""
    monkeypatch.setattr(module, "reachable_addresses", lambda addresses, port: [f"uid {os.geteuid()}"])

    facts = collect(settings(IBKR_GATEWAY_URL=f"https://127.0.0.1:{free_port()}", IBKR_BRIDGE_STATE_DIR="/nowhere"))

    assert facts.exposed_addresses != ("uid 0",)


def test_a_gateway_elsewhere_is_meant_to_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own machine has the firewall."""
    monkeypatch.setattr(module, "reachable_addresses", lambda addresses, port: ["10.0.0.1"])
    remote = settings(IBKR_GATEWAY_URL="https://10.0.0.9:5000", IBKR_GATEWAY_FINGERPRINT="00" * 32)

    assert module._find_exposed(settings()) == ["10.0.0.1"]
    assert module._find_exposed(remote) == []
