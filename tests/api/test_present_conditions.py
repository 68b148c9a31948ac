"""All surfaces show the same conditions in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.conditions.state_directory import DirectoryState
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness


async def read_all(harness: Harness) -> tuple[str, str, list[Any], list[Any]]:
    """What /readyz, systemd, the status and the session show."""
    ready = (await harness.get("/readyz", key=None)).body.decode()
    status, session = (await harness.get("/gateway/status")).json, (await harness.get("/session")).json
    return ready, harness.bridge.conditions.summary("main"), status["conditions"], session["conditions"]


async def test_a_lost_login_is_told_everywhere_in_the_same_words(harness: Harness, sim: Simulator) -> None:
    """With the page at which to sign in."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    ready, summary, of_status, of_session = await read_all(harness)

    first = of_status[0]
    assert (first["id"], first["profile"], first["severity"], first["url"]) == (
        "signed_out",
        "main",
        "critical",
        sim.url,
    )
    assert ready == f"signed_out: {first['text']}; {first['do']}"
    assert summary.startswith(ready)
    same = ("id", "severity", "text", "do", "url")
    assert [of_session[0][name] for name in same] == [first[name] for name in same]


async def test_a_disk_without_space_is_told_everywhere(harness: Harness) -> None:
    """Every order is refused then, so the bridge is not ready, and its apps cannot trade."""
    harness.bridge.state_directory.state = DirectoryState(None, 1024)
    journal = harness.bridge.profile.orders.repository.journal
    journal._journal.problem = "the disk is full"

    ready, summary, of_status, of_session = await read_all(harness)
    session = (await harness.get("/session")).json

    assert ready.startswith("journal_unavailable: ")
    assert summary.endswith("(and 1 more)")
    assert [each["id"] for each in of_status if each["id"] != "login_ends"] == ["journal_unavailable", "disk_low"]
    assert [each["id"] for each in of_session] == [each["id"] for each in of_status]
    assert (session["ready"], session["can_trade"]) == (True, False)


async def test_a_session_that_is_not_checked_in_time_is_not_ready(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board has the last good check; the surface does not believe it any more."""
    keeper = harness.bridge.profile.keeper
    sim.faults.add("silence", path="auth/status")
    monkeypatch.setattr(keeper, "checked_at", float("-inf"))

    assert (await harness.get("/readyz", key=None)).body.startswith(b"gateway_timeout: ")


async def test_a_refused_reload_is_a_condition_until_one_succeeds(harness: Harness, tmp_path: Path) -> None:
    """The former settings stay, which nobody would notice."""
    harness.bridge.unapplied.refusal = "IBKR_BRIDGE_KEY: too short"
    refused = (await harness.get("/gateway/status")).json["conditions"]
    harness.bridge.reload(lambda: harness.bridge.settings)
    after = (await harness.get("/gateway/status")).json["conditions"]

    assert "reload_refused" in [each["id"] for each in refused]
    assert "reload_refused" not in [each["id"] for each in after]
