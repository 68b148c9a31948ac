"""Orders and trades read by calls: which calls are sent, and which responses count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import RateLimited
from ibkr_bridge.profiles.topic_reads import topic_reads
from ibkr_bridge.streaming.protocol import TopicKind

ORDER, TRADE = {"orderId": 5, "status": "Filled"}, {"execution_id": "e1"}


class Pipeline:
    """Stages that answer every call with one response, or raise."""

    def __init__(self, body: Any, status: int = 200, error: Exception | None = None) -> None:
        self.body, self.status, self.error = json.dumps(body).encode(), status, error
        self.contexts: list[CallContext] = []

    async def __call__(self, context: CallContext) -> Response:
        """See `Pipeline`."""
        self.contexts.append(context)
        if self.error is not None:
            raise self.error
        return Response(self.status, {}, self.body)


async def read(pipeline: Pipeline, kind: TopicKind, **args: Any) -> list[dict[str, Any]] | None:
    """Read the rows of a kind."""
    return await topic_reads(pipeline)[kind](args)


@pytest.mark.parametrize(
    ("kind", "args", "target"),
    [
        (TopicKind.ORDERS, {}, "/v1/api/iserver/account/orders"),
        (TopicKind.TRADES, {"days": 1}, "/v1/api/iserver/account/trades"),
        (TopicKind.TRADES, {"days": 4}, "/v1/api/iserver/account/trades?days=4"),
    ],
)
async def test_the_calls_are_those_of_callers(kind: TopicKind, args: dict[str, Any], target: str) -> None:
    """The calls share the cache and the limits with those of callers. A cached list is recent enough."""
    pipeline = Pipeline([])
    await read(pipeline, kind, **args)

    [context] = pipeline.contexts
    assert (context.call.method, context.call.target, context.max_age_s) == ("GET", target, None)


async def test_rows_are_returned() -> None:
    """The rows are in the order of IBKR's list."""
    assert await read(Pipeline({"orders": [ORDER], "snapshot": True}), TopicKind.ORDERS) == [ORDER]
    assert await read(Pipeline([TRADE]), TopicKind.TRADES) == [TRADE]


@pytest.mark.parametrize("body", [{"orders": [], "snapshot": False}, {"error": "no session"}, [], "x", None])
async def test_an_incomplete_list_of_orders_does_not_count(body: Any) -> None:
    """An empty list would mean that there are no orders."""
    assert await read(Pipeline(body), TopicKind.ORDERS) is None


@pytest.mark.parametrize(
    "pipeline", [Pipeline([TRADE], 503), Pipeline({"error": "x"}), Pipeline([], error=RateLimited("later"))]
)
async def test_a_response_without_a_list_does_not_count(pipeline: Pipeline) -> None:
    """No error is raised, since the loop that reads must go on."""
    assert await read(pipeline, TopicKind.TRADES) is None
