"""Calls that IBKR requires first, twice or until the response is complete: the bridge sends them for its callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.quirks import snapshot_completion
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import READONLY_KEY, Harness, Placement, settings_for
from tests.unlimited import UNLIMITED

SNAPSHOT, ES, AAPL = "/iserver/marketdata/snapshot", 495512563, 265598
LIST, ACCOUNTS = "/iserver/account/orders", "/iserver/accounts"
ORDER = Placement()


@pytest.fixture
async def harness(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge with cache and shared calls, with a second key that may only read; its session is ready."""
    env = {"IBKR_BRIDGE_READONLY_KEY": READONLY_KEY, "IBKR_BRIDGE_EXTRA_PREFIXES": "trsrv,hmds"}
    async with Harness(
        settings_for(sim.url, tmp_path / "state", **env), options=ProfileOptions(UNLIMITED.limits)
    ) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


async def test_the_first_snapshot_has_its_fields(harness: Harness, sim: Simulator) -> None:
    """One set of calls serves all callers; they get the last response of IBKR."""
    path = f"{SNAPSHOT}?conids={AAPL},8314&fields=31,84,86,7283"

    replies = await asyncio.gather(*(harness.get(path) for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert all({"31", "84", "86", "7283"} <= set(row) for reply in replies for row in reply.json)
    assert not [reply for reply in replies if "X-Bridge-Missing" in reply.headers]
    assert len(sim.gateway_calls(SNAPSHOT)) <= 6


async def test_a_snapshot_that_stays_partial_names_what_is_missing(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown field and an unknown instrument; a response from the cache names them too."""
    monkeypatch.setattr(snapshot_completion, "FILL_TIMEOUT_S", 0.9)
    path = f"{SNAPSHOT}?conids={AAPL},77&fields=31,9999"

    first, second = [await harness.get(path) for _ in range(2)]

    assert [reply.headers["X-Bridge-Missing"] for reply in (first, second)] == [f"{AAPL}:9999;77"] * 2
    assert (second.headers["X-Bridge-Source"], "31" in first.json[0]) == ("cache", True)


async def test_a_future_has_quotes_although_its_caller_searched_for_nothing(harness: Harness, sim: Simulator) -> None:
    """The bridge searches for the underlying."""
    reply = await harness.get(f"{SNAPSHOT}?conids={ES}&fields=31")

    assert "31" in reply.json[0]
    assert len(sim.gateway_calls("/iserver/secdef/search")) == 1


@pytest.mark.parametrize("chain", ["strikes", "info"])
async def test_chains_need_no_search_by_the_caller(harness: Harness, sim: Simulator, chain: str) -> None:
    """The bridge searches once in each session, for all callers."""
    path = f"/iserver/secdef/{chain}?conid={AAPL}&sectype=OPT&month="

    replies = await asyncio.gather(*(harness.get(f"{path}{month}26") for month in ("SEP", "DEC") for _ in range(5)))

    assert all(reply.status == 200 and AAPL for reply in replies)
    assert all(reply.json if chain == "info" else reply.json["call"] for reply in replies)
    assert len(sim.gateway_calls("/iserver/secdef/search")) == 1
    sim.lose_brokerage()
    await harness.wait_until_checked(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)
    assert (await harness.get(f"{path}JUL26")).status == 200
    assert len(sim.gateway_calls("/iserver/secdef/search")) == 2


async def test_the_history_farm_is_opened_for_callers(harness: Harness, sim: Simulator) -> None:
    """Without that, the first response would be 404."""
    path = f"/hmds/history?conid={AAPL}&period=1d&bar=1h"

    replies = [await harness.get(path, headers={"X-Bridge-Max-Age": "0"}) for _ in range(2)]

    assert [reply.status for reply in replies] == [200, 200]
    assert len(sim.gateway_calls("/hmds/auth/init")) == 1


async def test_a_preview_is_made_with_quotes_and_by_keys_that_only_read(harness: Harness, sim: Simulator) -> None:
    """Without quotes its numbers would mean nothing."""
    reply = await harness.post(f"{ORDER.target}/whatif", ORDER.body, key=READONLY_KEY)

    assert (reply.status, reply.json["warn"]) == (200, None)
    assert sim.market.world.book.orders(sim.clock.now()) == []


async def test_accounts_that_ibkr_has_forgotten_are_requested_again(harness: Harness, sim: Simulator) -> None:
    """The caller does not notice."""
    await harness.get("/iserver/account/DU1234567/summary")
    brokerage = sim.market.world.sessions.brokerage
    assert brokerage is not None
    brokerage.has_read_accounts = False

    reply = await harness.get("/iserver/account/DU1234567/summary", headers={"X-Bridge-Max-Age": "0"})

    assert (reply.status, brokerage.has_read_accounts) == (200, True)


async def test_an_order_that_wants_accounts_is_not_sent_twice(harness: Harness, sim: Simulator) -> None:
    """An order is never repeated, whatever IBKR answers."""
    brokerage = sim.market.world.sessions.brokerage
    assert brokerage is not None
    brokerage.has_read_accounts = False

    reply = await harness.post(ORDER.target, ORDER.body)

    assert (reply.status, len(sim.gateway_calls(ORDER.target))) == (500, 1)


async def test_the_first_partial_list_of_orders_is_read_by_the_keeper(harness: Harness, sim: Simulator) -> None:
    """The keeper reads it when the session opens, so callers get a complete list at once."""
    await sim.wait_for_calls(LIST)
    before = len(sim.gateway_calls(LIST))

    reply = await harness.get(LIST)

    assert (before, reply.json["snapshot"], len(sim.gateway_calls(LIST))) == (1, True, 2)


@pytest.mark.parametrize(("name", "limit"), [("conids", 100), ("fields", 50)])
async def test_more_than_ibkr_accepts_is_refused_with_the_limit(
    harness: Harness, sim: Simulator, name: str, limit: int
) -> None:
    """Nothing is sent."""
    values = {"conids": "1", "fields": "31", name: ",".join(map(str, range(1, limit + 2)))}

    reply = await harness.get(f"{SNAPSHOT}?conids={values['conids']}&fields={values['fields']}")

    assert (reply.status, reply.code) == (400, "bad_request")
    assert str(limit) in reply.json["hint"]
    assert sim.gateway_calls(SNAPSHOT) == []
