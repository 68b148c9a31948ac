"""Asks the running bridge, and for a quote only where that does no harm."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.cli.doctor.bridge_probe import may_fetch_quote, probe_bridge
from ibkr_bridge.config.settings import Settings
from tests.cli.command_runner import Demo, free_port
from tests.cli.doctor.healthy import KEY, status


def settings_of(demo: Demo, **env: str) -> Settings:
    """The settings with which a command reaches the demo."""
    return Settings.from_env({**demo.env, **env})


def test_a_ready_bridge_shows_its_status_and_a_quote(running: Demo) -> None:
    """The quote is the only way to see whether the user has market data."""
    answer = probe_bridge(settings_of(running))

    assert answer.is_ready
    assert answer.quote is not None
    assert answer.quote["symbol"] == "AAPL"
    assert answer.quote["kind"] == "live"


def test_a_bridge_that_is_down_is_reported() -> None:
    """With the code by which checks tell the causes apart."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}"})

    answer = probe_bridge(settings)

    assert (answer.status, answer.error_code) == (None, "bridge_unreachable")
    assert answer.fix


def test_a_wrong_key_is_reported_without_it(running: Demo) -> None:
    """The bridge runs."""
    answer = probe_bridge(settings_of(running, IBKR_BRIDGE_KEY=KEY))

    assert answer.error_code == "invalid_key"
    assert KEY not in repr(answer)


@pytest.mark.parametrize(
    "members",
    [
        {"state": "silent"},
        {"slots": {"total": 4, "taken": 1, "waiting": 0, "ghost_calls": 1}},
        {"slots": {"total": 4, "taken": 4, "waiting": 0, "ghost_calls": 0}},
        {"slots": {"total": 4, "taken": 4, "waiting": 1, "ghost_calls": 0}},
        {"penalty": {"box_s": 900, "endpoints": {}}},
        {"penalty": {"box_s": 0, "endpoints": {"/iserver/marketdata/snapshot": 30.0}}},
    ],
)
def test_no_quote_is_requested_while_the_gateway_is_in_need(members: dict[str, Any]) -> None:
    """Five calls that are not answered stop it, and each call in the penalty box makes the penalty longer."""
    assert may_fetch_quote(status())
    assert not may_fetch_quote(status(**members))
