"""Which conditions hold: one rule for each, and none holds while all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ibkr_bridge.conditions.condition import KINDS, write_condition
from ibkr_bridge.conditions.rules import (
    BridgeFacts,
    ProfileFacts,
    bridge_conditions,
    profile_conditions,
)
from ibkr_bridge.session.state_machine import REASONS, Observation

NOW = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)
GOOD = ProfileFacts(NOW, "ready", NOW - timedelta(hours=1), slots=4)
FULL_DISK = "the disk is full"
BRIDGE_CASES: list[tuple[dict[str, Any], str]] = [
    ({"is_draining": True}, "shutting_down"),
    ({"state_problem": "it belongs to root"}, "state_unavailable"),
    ({"free_bytes": 1024}, "disk_low"),
    ({"history_problem": "disk I/O error"}, "history_unavailable"),
    ({"reload_problems": "IBKR_BRIDGE_KEY: too short"}, "reload_refused"),
    ({"restart_needed": ("IBKR_REGION",)}, "restart_needed"),
    ({"mode": "paper", "wanted_mode": "live"}, "mode_differs"),
]
PROFILE_CASES: list[tuple[dict[str, Any], str]] = [
    *(({"reason": reason}, reason) for reason in REASONS.values() if reason != "ready"),
    ({"reason": "starting"}, "starting"),
    ({"reason": "gateway_timeout", "ghost_calls": 4}, "gateway_stuck"),
    ({"losses": 3}, "session_flapping"),
    ({"maintenance_until": NOW}, "maintenance"),
    ({"login_ends": NOW + timedelta(minutes=29)}, "login_ends"),
    ({"penalty_s": 1}, "penalty_box"),
    ({"closed_paths": ("/iserver/account/trades",)}, "endpoint_closed"),
    ({"paused_by": "full key", "paused_since": "2026-06-17T15:00:00+00:00"}, "trading_paused"),
    ({"journal_problem": FULL_DISK}, "journal_unavailable"),
    ({"unknown_orders": 2}, "orders_unknown"),
    ({"has_question": True}, "order_question"),
    ({"is_stream_up": False, "stream_since": NOW - timedelta(minutes=2)}, "stream_down"),
    ({"silent_topics": 1}, "topics_silent"),
    ({"clock_skew_s": 10.1}, "clock_skewed"),
    ({"clock_skew_s": -3600.0}, "clock_skewed"),
]


def found_ids(facts: ProfileFacts) -> list[str]:
    """The ids of the conditions of a profile."""
    return [found.id for found in profile_conditions(facts)]


def test_nothing_is_found_while_all_is_well() -> None:
    """An alarm that is always on is no alarm."""
    assert found_ids(GOOD) == []
    assert bridge_conditions(BridgeFacts(free_bytes=10**12, mode="paper", wanted_mode="paper")) == []


@pytest.mark.parametrize(("members", "name"), BRIDGE_CASES)
def test_each_fact_of_the_bridge_is_a_condition(members: dict[str, Any], name: str) -> None:
    """And no other one."""
    assert [found.id for found in bridge_conditions(BridgeFacts(**members))] == [name]


@pytest.mark.parametrize(("members", "name"), PROFILE_CASES)
def test_each_fact_of_a_profile_is_a_condition(members: dict[str, Any], name: str) -> None:
    """And no other one."""
    assert found_ids(replace(GOOD, **members)) == [name]


def test_every_kind_is_found_by_a_case_of_this_test() -> None:
    """A row of the table that nothing finds would be documented and never shown."""
    assert {name for _, name in (*BRIDGE_CASES, *PROFILE_CASES)} == set(KINDS)


def test_every_observation_has_a_condition() -> None:
    """A new reason of the session needs its text first."""
    assert {REASONS[each] for each in Observation} - {"ready"} <= set(KINDS)


@pytest.mark.parametrize(
    "members",
    [
        {"losses": 2},
        {"login_ends": NOW + timedelta(minutes=31)},
        {"is_stream_up": False, "stream_since": NOW - timedelta(seconds=59)},
        {"reason": "ready", "ghost_calls": 4},
        {"paused_since": "2026-06-17T15:00:00+00:00"},
    ],
)
def test_what_is_usual_is_no_condition(members: dict[str, Any]) -> None:
    """A loss a day, and a socket that opens again within a minute."""
    assert found_ids(replace(GOOD, **members)) == []


def test_a_stream_is_no_condition_of_its_own_while_the_session_is_lost() -> None:
    """It can only come back with the session."""
    facts = replace(GOOD, reason="signed_out", is_stream_up=False, stream_since=NOW - timedelta(hours=1))

    assert found_ids(facts) == ["signed_out"]


@pytest.mark.parametrize(("ready_s", "ids"), [(0, []), (59, []), (60, ["stream_down"])])
def test_a_stream_has_a_minute_from_the_moment_in_which_the_session_is_back(ready_s: int, ids: list[str]) -> None:
    """It opens just after the session. Each sign-in after an hour would be told as an hour without a stream."""
    facts = replace(GOOD, is_stream_up=False, stream_since=NOW - timedelta(hours=1))

    assert found_ids(replace(facts, session_since=NOW - timedelta(seconds=ready_s))) == ids


@pytest.mark.parametrize("since", ["", "yesterday", "2026-06-17T15:00:00"])
def test_a_pause_without_a_readable_time_is_a_condition_all_the_same(since: str) -> None:
    """Its file may be damaged; new orders are refused in any case."""
    (found,) = profile_conditions(replace(GOOD, paused_by="full key", paused_since=since))

    assert (found.id, found.since) == ("trading_paused", None)


def test_a_full_gateway_is_told_apart_from_a_silent_ibkr() -> None:
    """A restart costs the login, so it is advised only if the calls that hold the slots are known."""
    silent, stuck = (KINDS[name].do for name in ("gateway_timeout", "gateway_stuck"))

    assert "does not help" in silent
    assert "restart the Gateway" in stuck


@pytest.mark.parametrize(("skew_s", "words"), [(90.0, "90 s ahead of IBKR's"), (-90.0, "90 s behind IBKR's")])
def test_the_side_of_a_wrong_clock_is_said(skew_s: float, words: str) -> None:
    """A clock that is behind and one that is ahead have different consequences."""
    (found,) = profile_conditions(replace(GOOD, clock_skew_s=skew_s))

    assert write_condition(found, "main", NOW, None).text.endswith(words)
