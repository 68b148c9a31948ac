"""The parts of the page, as far as the stream's tests do not show them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ibkr_bridge.api.page import topics
from ibkr_bridge.api.page.topics import PageState
from ibkr_bridge.api.plain import orders as plain_orders
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.orders import OrderList
from ibkr_bridge.server.app_keys import REQUEST_CONTEXT
from ibkr_bridge.server.keyring import READ_ONLY, Principal
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.api.plain.order_helpers import ACCOUNT, FAR_LIMIT, MARKET, place
from tests.clocks import NOON
from tests.harness import Harness

Reader = Callable[[PageState], Awaitable[dict[str, Any]]]


def page_of(harness: Harness, effects: frozenset[Effect] = READ_ONLY) -> PageState:
    """A page that is open."""
    request: web.Request = make_mocked_request("GET", "/page/events", app=harness.application)
    request[REQUEST_CONTEXT] = RequestContext("1", 0.0, Principal("token", effects, "owner", NOON))
    return PageState(request)


async def test_open_orders_come_first_and_in_words(harness: Harness) -> None:
    """With IBKR's question, and without the number of the account."""
    await harness.wait_until_checked(SessionState.READY)
    await place(harness, FAR_LIMIT)
    await place(harness, MARKET, {"X-Bridge-Wait": "0"})

    listed = (await topics.orders(page_of(harness)))["orders"]

    assert listed[0]["words"] == "BUY 10 AAPL LMT 150.25, IBKR asks something first"
    assert listed[0]["question"]["texts"]
    assert listed[0]["account"] == "DU*****67"
    assert "DU1234567" not in str(listed)


async def test_words_of_ibkr_are_shown_without_the_account(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question or a warning can name it."""
    join = plain_orders.join_orders

    async def with_words(*args: Any) -> OrderList:
        listed = await join(*args)
        (order,) = listed.orders
        assert order.question is not None
        question = msgspec.structs.replace(order.question, texts=["DU1234567 has no permission"])
        return msgspec.structs.replace(
            listed, orders=[msgspec.structs.replace(order, question=question, warnings=["DU1234567 is short"])]
        )

    monkeypatch.setattr(topics, "join_orders", with_words)
    await harness.wait_until_checked(SessionState.READY)
    await place(harness, FAR_LIMIT)

    (shown,) = (await topics.orders(page_of(harness)))["orders"]

    assert shown["question"]["texts"] == ["DU*****67 has no permission"]
    assert shown["warnings"] == ["DU*****67 is short"]


@pytest.mark.unanswered
async def test_a_lost_order_is_looked_for_until_a_time(harness: Harness, sim: Simulator) -> None:
    """The time is in the words."""
    await harness.wait_until_checked(SessionState.READY)
    sim.faults.add("silence", path=f"{ACCOUNT}/orders", times=1)
    await place(harness, MARKET)

    words = [each["words"] for each in (await topics.orders(page_of(harness)))["orders"]]

    assert any(each.startswith("BUY 2 MSFT MKT, looked for until ") for each in words)


async def test_the_bridge_says_what_the_page_may_do(harness: Harness) -> None:
    """Only a token that trades answers questions."""
    assert (await topics.bridge(page_of(harness)))["may_trade"] is False
    assert (await topics.bridge(page_of(harness, frozenset(Effect))))["may_trade"] is True


@pytest.mark.parametrize("read", [topics.traffic, topics.history, topics.status, topics.requests, topics.demo])
async def test_each_part_can_be_read_at_any_time(harness: Harness, read: Reader) -> None:
    """Also before the first request."""
    assert isinstance(await read(page_of(harness)), dict)
