"""The stream of the page: what it sends, and how it ends."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from ibkr_bridge.api.page.topics import TOPICS
from ibkr_bridge.application import MAX_OPEN_PAGES
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.api.page.page_reader import cookie_of, open_page, token_for_page
from tests.conftest import OpenHarness
from tests.harness import PREVIOUS_KEY, Harness, with_timeout
from tests.stream_clients import SseReader, open_sse

ALWAYS = {topic.name for topic in TOPICS}


@asynccontextmanager
async def open_events(harness: Harness, cookie: dict[str, str]) -> AsyncIterator[SseReader]:
    """Open the stream of a page."""
    async with open_sse(harness, "/page/events", key=None, **cookie) as events:
        yield events


async def first_of_each(events: SseReader) -> dict[str, Any]:
    """The first event of each topic."""
    found: dict[str, Any] = {}
    while set(found) != ALWAYS:
        event = await events.receive()
        found.setdefault(event.name, event.data)
    return found


async def test_everything_is_sent_at_once(harness: Harness) -> None:
    """A page that opens shows all its parts."""
    await harness.wait_until_checked(SessionState.READY)
    async with open_events(harness, await open_page(harness)) as events:
        parts = await first_of_each(events)

    assert parts["bridge"]["profile"] == "main"
    assert parts["bridge"]["may_trade"] is False
    assert parts["status"]["state"] == "ready"
    assert parts["demo"] == {}
    assert [each["route"] for each in parts["requests"]["requests"]] == ["/auth/token"]


async def test_a_loss_is_shown_with_its_condition(harness: Harness, sim: Simulator) -> None:
    """On the same stream, a moment later."""
    await harness.wait_until_checked(SessionState.READY)
    async with open_events(harness, await open_page(harness)) as events:
        await first_of_each(events)
        sim.log_out()
        seen = await events.receive_until(lambda event: event.name == "status" and event.data["state"] == "signed_out")

    assert [each["id"] for each in seen[-1].data["conditions"]] == ["signed_out"]


async def test_only_new_requests_follow(harness: Harness) -> None:
    """Without the account of their path, and without the values of their query."""
    async with open_events(harness, await open_page(harness)) as events:
        await first_of_each(events)
        await harness.get("/portfolio/DU1234567/ledger?model=secret")
        seen = await events.receive_until(lambda event: event.name == "requests" and event.data["requests"])

    (request,) = seen[-1].data["requests"]
    assert (request["route"], request["parameters"]) == ("/portfolio/{accountId}/ledger", ["model"])
    assert "DU1234567" not in str(request)
    assert "secret" not in str(request)
    assert (request["status"], request["can_be_repeated"], request["bodies"]) == (200, True, None)


async def test_a_gateway_that_is_silent_stops_no_other_part(harness: Harness, sim: Simulator) -> None:
    """IBKR's list of orders is fetched beside the stream."""
    await harness.wait_until_checked(SessionState.READY)
    sim.faults.add("silence", path="/iserver/account/orders")
    async with open_events(harness, await open_page(harness)) as events:
        parts = await first_of_each(events)

    assert parts["orders"] == {"listed_at": None, "problem": "not_read_yet", "orders": []}


@pytest.mark.parametrize("ending", ["token", "keys"])
async def test_it_ends_with_its_token(harness: Harness, ending: str) -> None:
    """The last event says why."""
    token = await token_for_page(harness, expires_in=2 if ending == "token" else 60)
    async with open_events(harness, await cookie_of(harness, token)) as events:
        await first_of_each(events)
        if ending == "keys":
            harness.bridge.keys.replace(dataclasses.replace(harness.bridge.settings, key=PREVIOUS_KEY))
        end = await events.receive("end")

    assert end.data["reason"] == {"token": "token_expired", "keys": "key_rotated"}[ending]


async def test_it_ends_when_the_bridge_stops(harness: Harness) -> None:
    """The drain does not wait for it."""
    async with open_events(harness, await open_page(harness)) as events:
        await first_of_each(events)
        stopping = asyncio.create_task(harness.finish())
        end = await events.receive("end")

    assert end.data["reason"] == "shutting_down"
    assert await with_timeout(stopping) == 0


async def test_pages_are_limited_and_a_closed_one_makes_room(harness: Harness) -> None:
    """A forgotten browser full of tabs must not take the bridge's time."""
    cookie = await open_page(harness)
    async with AsyncExitStack() as pages:
        for _ in range(MAX_OPEN_PAGES):
            await (await pages.enter_async_context(open_events(harness, cookie))).receive()
        refused = await harness.get("/page/events", key=None, headers=cookie)
    async with asyncio.timeout(20):
        while True:
            async with aiohttp.ClientSession() as client:
                reply = await client.get(harness.bridge.url + "/page/events", headers=cookie)
                reply.close()
                if reply.status == 200:
                    break

    assert (refused.status, refused.code) == (503, "busy")


async def test_nothing_is_asked_of_ibkr_while_no_page_is_open(open_harness: OpenHarness, sim: Simulator) -> None:
    """And an open page asks for the list of orders alone."""
    harness = await open_harness()
    await harness.wait_until_checked(SessionState.READY)
    before = len(sim.calls("/iserver/account/orders"))
    async with open_events(harness, await open_page(harness)) as events:
        await events.receive_until(lambda event: event.name == "orders" and event.data["listed_at"] is not None)

    assert before == 0
    assert len(sim.calls("/iserver/account/orders")) >= 1
