"""The stage that answers the list of orders from the stream where IBKR's limits allow no call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import RateLimited
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.streamed_orders import ANSWER_TIMEOUT_S, POLL_INTERVAL_S, StreamedOrders
from tests.calls.stage_setup import OK, context_for
from tests.clocks import ManualClock
from tests.harness import with_timeout

LIST = "/iserver/account/orders"
ONE = {"orderId": 1, "acct": "DU1", "status": "Filled"}
TWO = {"orderId": 2, "acct": "DU2", "status": "Submitted"}
RECENT = {"orderId": 3, "acct": "DU1", "order_ref": "mine"}


class StageSetup:
    """The stage, its hub, and a pipeline behind it that refuses the list."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = Hub(self.clock)
        self.commands: list[str] = []
        self.recent: list[dict[str, Any]] = []
        self.result: Response | Exception = RateLimited("used up", retry_after=3.0)
        self.stage = StreamedOrders(self.hub, self.clock, lambda: self.recent)

    def connect(self) -> None:
        """Connect the feed."""
        self.hub.mark_fresh(self.commands.append, "somebody")

    def stream(self, *rows: dict[str, Any]) -> None:
        """IBKR sends these orders."""
        self.hub.on_message({"topic": "sor", "args": list(rows)})

    async def proceed(self, _: CallContext) -> Response:
        """The stages behind."""
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def call(self, target: str = LIST, **options: Any) -> tuple[Response, CallContext]:
        """Let a read pass the stage, and move the clock while it waits."""
        context = context_for("GET", target, **options)
        task = asyncio.create_task(self.stage(context, self.proceed))
        while not task.done():
            await asyncio.sleep(0)
            if self.clock._alarms:
                self.clock.advance(POLL_INTERVAL_S)
        return await with_timeout(task), context


@pytest.fixture
async def setup() -> StageSetup:
    """A stage whose feed is connected."""
    setup = StageSetup()
    setup.connect()
    return setup


def rows_of(response: Response) -> list[dict[str, Any]]:
    """The orders of a response in IBKR's form."""
    body = json.loads(response.body)
    assert body["snapshot"] is True
    return list(body["orders"])


async def test_a_list_that_ibkr_would_refuse_comes_from_the_stream(setup: StageSetup) -> None:
    """With every change since; the first such call makes IBKR stream orders."""
    waiting = asyncio.create_task(setup.stage(context_for("GET", LIST), setup.proceed))
    await with_timeout(setup.clock.wait_for_sleepers(1))
    setup.stream(ONE, TWO)
    setup.clock.advance(POLL_INTERVAL_S)
    first = await with_timeout(waiting)
    setup.stream({"orderId": 2, "status": "Cancelled"})

    second, context = await setup.call()

    assert rows_of(first) == [ONE, TWO]
    assert rows_of(second) == [ONE, {**TWO, "status": "Cancelled"}]
    assert (context.source, setup.commands) == ("stream", ["sor+{}"])


async def test_a_list_that_ibkr_allows_is_ibkrs_own(setup: StageSetup) -> None:
    """The stream is the second choice."""
    setup.result = OK

    response, context = await setup.call()

    assert (response, context.source, setup.commands) == (OK, "gateway", [])


@pytest.mark.parametrize(("query", "ids"), [("", [1, 2, 3]), ("?accountId=DU1", [1, 3]), ("?accountId=DU9", [])])
async def test_the_journal_knows_what_the_stream_has_not_shown_yet(
    setup: StageSetup, query: str, ids: list[int]
) -> None:
    """An order that was confirmed a moment ago is in the list, once; a list of one account stays one."""
    setup.recent = [RECENT, {"orderId": 1, "acct": "DU1"}]
    setup.stage._streamed_orders()
    setup.stream(ONE, TWO)

    response, _ = await setup.call(LIST + query)

    assert [row["orderId"] for row in rows_of(response)] == ids


@pytest.mark.parametrize("case", ["down", "silent", "stale"])
async def test_without_a_fresh_stream_the_refusal_stays(setup: StageSetup, case: str) -> None:
    """An old list would hide what happened since."""
    if case == "stale":
        setup.stage._streamed_orders()
        setup.stream(ONE)
    if case != "silent":
        setup.hub.mark_stale("stream_timeout")
    began = setup.clock.now()

    with pytest.raises(RateLimited):
        await setup.call()

    assert setup.clock.now() - began <= ANSWER_TIMEOUT_S + POLL_INTERVAL_S


@pytest.mark.parametrize(
    ("target", "options"), [("/iserver/account/trades", {}), (LIST, {"serves_order": True})], ids=["trades", "search"]
)
async def test_other_reads_and_the_search_for_orders_keep_their_refusal(
    setup: StageSetup, target: str, options: dict[str, Any]
) -> None:
    """Only IBKR's own list proves that an order does not exist."""
    setup.stage._streamed_orders()
    setup.stream(ONE)

    with pytest.raises(RateLimited):
        await setup.call(target, **options)
