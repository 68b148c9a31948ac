"""`bridge.py reload`: what a running bridge makes of new settings."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from ibkr_bridge.cli import reload as module
from ibkr_bridge.cli.reload import TIMEOUT_S, reload_bridge, signal_and_wait
from ibkr_bridge.server.running_mark import RunningMark
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, KEY, ROOT, Demo, Place, free_port

OTHER_KEY = "another-key-for-the-command-line-tests-0123"


@pytest.fixture
def mark(tmp_path: Path) -> RunningMark:
    """The mark of a bridge in this process."""
    mark = RunningMark(tmp_path)
    mark.open()
    return mark


def test_the_demo_reloads(running: Demo, place: Place) -> None:
    """A signal without a handler would end it."""
    result = place.run("reload")

    assert result.returncode == EXIT_OK, result.stderr
    assert running.get("/gateway/status").status_code == 200


def test_a_refused_reload_fails_with_the_reason(tmp_path: Path) -> None:
    """Both for a person and for the unit of systemd, which passes the process."""
    place, url = Place(tmp_path), f"http://127.0.0.1:{free_port()}"
    place.write_dotenv(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_BRIDGE_URL={url}\n")
    with place.running("serve") as bridge:
        bridge.wait_for("bridge.started")
        good = place.run("reload", "--json")
        place.write_dotenv(f"IBKR_BRIDGE_KEY=short\nIBKR_BRIDGE_URL={url}\n")
        bad = place.run("reload", "--process", str(bridge.process.pid))

    assert good.returncode == EXIT_OK, good.stdout
    assert json.loads(good.stdout)["reloaded"] is True
    assert bad.returncode == EXIT_FAILURE
    assert "the former settings stay: IBKR_BRIDGE_KEY" in bad.stderr


def test_damaged_named_keys_refuse_the_reload(tmp_path: Path) -> None:
    """The keys that are in force stay in force."""
    place = Place(tmp_path)
    place.write_dotenv(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_BRIDGE_URL=http://127.0.0.1:{free_port()}\n")
    with place.running("serve") as bridge:
        bridge.wait_for("bridge.started")
        (tmp_path / "state" / "keys.json").write_text("[]")
        result = place.run("reload")

    assert result.returncode == EXIT_FAILURE
    assert "keys.json has an error" in result.stderr


def test_without_a_bridge_nothing_is_sent(tmp_path: Path) -> None:
    """The process of a bridge that ended may be another program by now."""
    assert reload_bridge(tmp_path).is_running is False
    assert reload_bridge(None).is_running is False


def test_a_bridge_that_does_not_answer_is_reported(tmp_path: Path, mark: RunningMark) -> None:
    """The time is moved by hand."""
    times = iter([0.0, TIMEOUT_S / 2, TIMEOUT_S + 1])

    result = signal_and_wait(tmp_path, os.getpid(), lambda *_: None, lambda _: None, lambda: next(times))

    assert not result.is_done
    assert "has not reloaded within 15 s" in result.text
    mark.close()


def test_an_earlier_outcome_is_not_taken_for_this_one(tmp_path: Path, mark: RunningMark) -> None:
    """A refusal of yesterday says nothing about the settings of today."""
    mark.count_reload("of yesterday")

    result = signal_and_wait(tmp_path, os.getpid(), lambda *_: mark.count_reload(None), lambda _: None)

    assert result.is_done
    mark.close()


def test_root_asks_systemd_on_an_installed_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unit copies the settings, which the bridge's own user cannot read."""
    commands = tmp_path / "systemctl"
    commands.write_text('#!/bin/sh\necho "$*" >> "$0.log"\n[ "$1" = is-active ]\n')
    commands.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "is_installed", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    result = reload_bridge(tmp_path)

    assert (tmp_path / "systemctl.log").read_text() == "is-active --quiet ibkr-bridge\nreload ibkr-bridge\n"
    assert "was refused" in result.text
    assert not result.is_done


def test_a_process_without_a_mark_gets_the_signal(place: Place) -> None:
    """Where there is no state directory, `systemctl reload` works as before."""
    received = []
    former = signal.signal(signal.SIGHUP, lambda *_: received.append(1))
    try:
        result = place.run("reload", "--process", str(os.getpid()), IBKR_BRIDGE_STATE_DIR=str(place.home / "none"))
    finally:
        signal.signal(signal.SIGHUP, former)

    assert result.returncode == EXIT_OK
    assert received == [1]


def test_the_unit_waits_for_the_outcome() -> None:
    """A plain `kill -HUP` succeeds whatever the bridge makes of it."""
    unit = (ROOT / "deploy/systemd/ibkr-bridge.service").read_text()

    assert "bridge.py reload --process $MAINPID\n" in unit
    assert "kill -HUP" not in unit
