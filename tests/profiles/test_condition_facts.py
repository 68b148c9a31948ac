"""The conditions of a running profile."""

from __future__ import annotations

from ibkr_bridge.profiles.condition_facts import facts_of, find_conditions, session_condition
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness


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
