"""The status of a profile: every member has the documented name and type."""

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
from ibkr_bridge.profiles.status import ProfileStatus, to_json
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, Placement, settings_for
from tools.status_fields import Member, members

DOCUMENTED = {member.name: member for member in members()}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def walk_members(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All members of the JSON with their values. The names inside a map are not members."""
    if name:
        yield name, value
    if isinstance(value, dict) and (not name or DOCUMENTED[name].json_type == "object"):
        for inner, each in value.items():
            yield from walk_members(each, f"{name}.{inner}" if name else inner)
    if isinstance(value, list):
        for each in value:
            for inner, one in each.items() if isinstance(each, dict) else ():
                yield from walk_members(one, f"{name}[].{inner}")


def has_type(value: Any, member: Member) -> bool:
    """Whether a value has the documented type."""
    if value is None:
        return member.is_nullable
    if member.json_type == "time":
        return isinstance(value, str) and TIME.fullmatch(value) is not None
    if member.json_type == "map of integer":
        return all(type(each) is int for each in value.values())
    kinds = {"string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)}
    return type(value) in {**kinds, "object": (dict,), "list": (list,)}[member.json_type.partition(" of ")[0]]


@pytest.fixture
async def limited_harness(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge with the options of an operator: with limits and a cache."""
    async with Harness(settings_for(sim.url, tmp_path), options=ProfileOptions()) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


def status_of(harness: Harness, session: Session | None = None) -> ProfileStatus:
    """The status of the profile `main`."""
    return harness.bridge.profile.status(is_draining=False, session=session)


async def test_the_json_of_a_running_bridge_has_the_documented_members(limited_harness: Harness) -> None:
    """Developers of dashboards rely on the names and types of the page."""
    profile = limited_harness.bridge.profile
    await asyncio.gather(*(limited_harness.get("/portfolio/accounts") for _ in range(3)))
    await limited_harness.post(Placement().target, Placement().body)
    await limited_harness.post("/gateway/pause")
    profile.penalty_box.on_429(endpoint_of("GET", "/v1/api/iserver/account/trades"), 7.5)

    body = (await limited_harness.get("/gateway/status")).json
    present = list(walk_members(body))

    assert list(dict.fromkeys(name for name, _ in present)) == list(DOCUMENTED)
    assert [(name, value) for name, value in present if not has_type(value, DOCUMENTED[name])] == []


async def test_members_without_a_value_are_null(harness: Harness) -> None:
    """A member is never missing."""
    body = (await harness.get("/gateway/status")).json

    assert {name for name, value in walk_members(body) if value is None} >= {"budget", "paused"}
    assert [name for name, value in walk_members(body) if not has_type(value, DOCUMENTED[name])] == []


async def test_reads_without_a_call_are_counted(limited_harness: Harness) -> None:
    """Of three reads one was sent, one shared its response, and one came from the cache."""
    path = "/portfolio/DU1234567/ledger"
    await asyncio.gather(*(limited_harness.get(path) for _ in range(2)))
    await limited_harness.get(path)

    cache = status_of(limited_harness).cache

    assert (cache.hits, cache.shared, cache.entries > 0, cache.bytes > 0) == (1, 1, True, True)
    assert cache.hit_rate == pytest.approx(2 / cache.lookups, abs=0.001)


async def test_penalties_are_in_whole_seconds(harness: Harness) -> None:
    """The seconds are rounded up, so that a caller that waits them waits long enough."""
    harness.bridge.profile.penalty_box.on_429(endpoint_of("GET", "/v1/api/iserver/account/trades"), 7.5)
    one = status_of(harness).penalty
    harness.bridge.profile.penalty_box.enter(60.2)

    assert (one.box_s, dict(one.endpoints)) == (0, {"/iserver/account/trades": 8})
    assert status_of(harness).penalty.box_s == 61


async def test_waiting_calls_are_counted_by_priority(limited_harness: Harness) -> None:
    """Each priority has a member."""
    waiting = status_of(limited_harness).waiting

    assert list(to_json(waiting)) == [priority.name.lower() for priority in Priority]


async def test_a_fresher_session_replaces_that_of_the_keeper(harness: Harness) -> None:
    """The state of the newer session began now."""
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
    """Without IBKR's flag the form of the number decides, but only for paper accounts."""
    keeper = harness.bridge.profile.keeper
    keeper.accounts = replace(keeper.accounts, numbers=frozenset(numbers), paper=is_paper)

    accounts = status_of(harness).accounts

    assert [each.kind for each in accounts] == kinds
    assert not any(number in each.account for each in accounts for number in numbers)


async def test_a_drain_and_a_pause_are_reported(harness: Harness) -> None:
    """Both explain why calls are refused."""
    await harness.post("/gateway/pause")

    flags = harness.bridge.profile.status(is_draining=True).flags

    assert flags.draining is True
    assert flags.paused is not None
    assert flags.paused.by == "full key"


async def test_the_status_can_be_written_as_json(harness: Harness) -> None:
    """The status has no Python classes, and its times are in UTC."""
    status = status_of(harness)
    later = replace(status, session=replace(status.session, since=datetime(2026, 6, 17, 16, 0, 0, 5, UTC)))

    assert json.loads(json.dumps(later.as_json())) == later.as_json()
    assert later.as_json()["since"] == "2026-06-17T16:00:00Z"
