"""The status of a profile: every part is in it, under the name and with the type that the documentation has."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Priority
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.status import ProfileStatus, profile_status, to_json
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, Placed, settings_for
from tools.status_fields import Member, members

DOCUMENTED = {member.name: member for member in members()}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def found_members(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All members of the JSON with their values; the names inside a map belong to its value."""
    if name:
        yield name, value
    if isinstance(value, dict) and (not name or DOCUMENTED[name].json_type == "object"):
        for inner, each in value.items():
            yield from found_members(each, f"{name}.{inner}" if name else inner)
    if isinstance(value, list):
        for each in value:
            for inner, one in each.items():
                yield from found_members(one, f"{name}[].{inner}")


def has_type(value: Any, member: Member) -> bool:
    """Whether a value of the JSON is one that the documentation allows."""
    if value is None:
        return member.is_nullable
    if member.json_type == "time":
        return isinstance(value, str) and TIME.fullmatch(value) is not None
    if member.json_type == "map of integer":
        return all(type(each) is int for each in value.values())
    kinds = {"string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)}
    return type(value) in {**kinds, "object": (dict,), "list": (list,)}[member.json_type]


@pytest.fixture
async def polite_harness(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge as an operator has it, with limits and a cache."""
    async with Harness(settings_for(sim.url, tmp_path), options=ProfileOptions()) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


def status_of(harness: Harness, session: Session | None = None) -> ProfileStatus:
    """The status of the usual profile."""
    return profile_status(harness.bridge.profile, is_draining=False, session=session)


async def test_the_json_of_a_running_bridge_has_the_documented_members(polite_harness: Harness) -> None:
    """All of them, no other, each with its type: dashboards are built from the page."""
    profile = polite_harness.bridge.profile
    await asyncio.gather(*(polite_harness.get("/portfolio/accounts") for _ in range(3)))
    await polite_harness.post(Placed().target, Placed().body)
    await polite_harness.post("/gateway/pause")
    profile.penalty_box.on_429(endpoint_of("GET", "/v1/api/iserver/account/trades"), 7.5)

    told = (await polite_harness.get("/gateway/status")).json
    found = list(found_members(told))

    assert list(dict.fromkeys(name for name, _ in found)) == list(DOCUMENTED)
    assert [(name, value) for name, value in found if not has_type(value, DOCUMENTED[name])] == []


async def test_without_limits_and_pause_they_are_null(harness: Harness) -> None:
    """A member is never missing."""
    told = (await harness.get("/gateway/status")).json

    assert {name for name, value in found_members(told) if value is None} >= {"budget", "paused"}
    assert [name for name, value in found_members(told) if not has_type(value, DOCUMENTED[name])] == []


async def test_reads_that_needed_no_call_are_counted(polite_harness: Harness) -> None:
    """One was sent, one joined it, one came from the cache."""
    path = "/portfolio/DU1234567/ledger"
    await asyncio.gather(*(polite_harness.get(path) for _ in range(2)))
    await polite_harness.get(path)

    cache = status_of(polite_harness).cache

    assert (cache.hits, cache.shared, cache.entries > 0, cache.bytes > 0) == (1, 1, True, True)
    assert cache.hit_rate == pytest.approx(2 / cache.lookups, abs=0.001)


async def test_what_ibkr_refuses_is_told_in_whole_seconds(harness: Harness) -> None:
    """Rounded up, so that whoever waits so long waits long enough."""
    harness.bridge.profile.penalty_box.on_429(endpoint_of("GET", "/v1/api/iserver/account/trades"), 7.5)
    one = status_of(harness).penalty
    harness.bridge.profile.penalty_box.enter(60.2)

    assert (one.box_s, dict(one.endpoints)) == (0, {"/iserver/account/trades": 8})
    assert status_of(harness).penalty.box_s == 61


async def test_calls_that_wait_are_told_by_priority(polite_harness: Harness) -> None:
    """Each priority has its member."""
    waiting = status_of(polite_harness).waiting

    assert list(to_json(waiting)) == [priority.name.lower() for priority in Priority]


async def test_a_fresher_session_is_told_instead_of_the_last_one(harness: Harness) -> None:
    """It has only been so from now on."""
    silent = Session(SessionState.SILENT, Observation.TIMEOUT, 0.0)
    before = harness.bridge.profile.keeper.utc()

    known, fresh = status_of(harness).session, status_of(harness, silent).session

    assert (known.state, known.authenticated) == ("ready", True)
    assert (fresh.state, fresh.authenticated, fresh.reason) == ("silent", False, silent.reason)
    assert known.since <= before <= fresh.since


@pytest.mark.parametrize(
    ("numbers", "is_paper", "kinds"),
    [
        ({"DU1234567", "U7654321"}, None, ["paper", "unknown"]),
        ({"DU1234567"}, False, ["live"]),
        ({"U7654321"}, True, ["paper"]),
    ],
)
async def test_the_kind_of_an_account_is_what_ibkr_says(
    harness: Harness, numbers: set[str], is_paper: bool | None, kinds: list[str]
) -> None:
    """Only where IBKR says nothing does the number count, and then for paper alone."""
    keeper = harness.bridge.profile.keeper
    keeper.accounts = replace(keeper.accounts, numbers=frozenset(numbers), paper=is_paper)

    accounts = status_of(harness).accounts

    assert [each.kind for each in accounts] == kinds
    assert not any(number in each.account for each in accounts for number in numbers)


async def test_a_drain_and_a_pause_are_told(harness: Harness) -> None:
    """Both explain why calls are refused."""
    await harness.post("/gateway/pause")

    flags = profile_status(harness.bridge.profile, is_draining=True).flags

    assert flags.draining is True
    assert flags.paused is not None
    assert flags.paused.by == "full key"


async def test_the_status_is_json_as_it_is(harness: Harness) -> None:
    """No class of Python is left in it, and times are written in UTC."""
    status = status_of(harness)
    later = replace(status, session=replace(status.session, since=datetime(2026, 6, 17, 16, 0, 0, 5, UTC)))

    assert json.loads(json.dumps(later.as_json())) == later.as_json()
    assert later.as_json()["since"] == "2026-06-17T16:00:00Z"
