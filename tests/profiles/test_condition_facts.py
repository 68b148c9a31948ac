"""The conditions of a running profile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ibkr_bridge.events import ConditionBegan
from ibkr_bridge.profiles.condition_facts import facts_of, find_conditions, session_condition
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from ibkr_bridge.sim.clock import FastClock
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, settings_for


async def test_a_ready_profile_has_no_conditions(harness: Harness) -> None:
    """With all its slots free."""
    facts = facts_of(harness.bridge.profile)

    assert (facts.reason, facts.slots, facts.ghost_calls, facts.losses) == ("ready", 4, 0, 0)
    assert [found.id for found in find_conditions(harness.bridge.profile) if found.id != "login_ends"] == []


async def test_a_lost_login_is_a_condition_and_a_loss(harness: Harness, sim: Simulator) -> None:
    """Since the session came into its state."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    profile = harness.bridge.profile
    found = {each.id: each for each in find_conditions(profile)}

    assert found["signed_out"].since == profile.keeper.since
    assert facts_of(profile).losses == 1


async def test_a_session_that_was_not_checked_in_time_is_a_condition(harness: Harness) -> None:
    """Although the last check was a good one."""
    silent = Session(SessionState.SILENT, Observation.TIMEOUT, 0.0)

    condition = session_condition(harness.bridge.profile, silent)

    assert condition is not None
    assert (condition.id, condition.profile, condition.stops) == ("gateway_timeout", "main", True)
    assert session_condition(harness.bridge.profile, harness.bridge.profile.keeper.session) is None


async def test_a_clock_that_differs_from_ibkrs_is_a_condition(tmp_path: Path) -> None:
    """IBKR's time comes with the heartbeats of its stream; here it is an hour ahead, and its seconds are short."""
    clock = FastClock(rate=20.0, start=datetime.now(UTC) + timedelta(hours=1))
    async with Simulator(clock=clock) as sim, Harness(settings_for(sim.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)
        count, began = 1, dict[str, str]()
        while "clock_skewed" not in began:
            seen = await harness.wait_for_events(ConditionBegan, count)
            began = {each.condition: each.text for each in seen if isinstance(each, ConditionBegan)}
            count = len(seen) + 1

    assert "behind IBKR's" in began["clock_skewed"]
