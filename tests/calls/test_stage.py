"""Stages folded into one function: the outermost is entered first and gets the response last."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.calls.stage import Proceed, Stage, fold
from ibkr_bridge.errors import Busy
from tests.calls.stage_setup import OK, FakeUpstream, context_for


class RecordingStage:
    """A stage that records when it is entered and left."""

    def __init__(self, name: str, steps: list[str]) -> None:
        self._name = name
        self._steps = steps

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        self._steps.append(f"into {self._name}")
        response = await proceed(context)
        self._steps.append(f"out of {self._name}")
        return response


class RespondingStage:
    """A stage that responds itself."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        return Response(204, {}, b"")


class RetryingStage:
    """A stage that sends a call twice."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        await proceed(context.attempt())
        return await proceed(context.attempt())


async def test_stages_are_entered_in_order_and_left_in_reverse() -> None:
    """The order of the list is the order in which a call passes the stages."""
    steps: list[str] = []
    stages: list[Stage] = [RecordingStage("outer", steps), RecordingStage("inner", steps)]

    response = await fold(stages, FakeUpstream())(context_for("GET", "/portfolio/accounts"))

    assert response is OK
    assert steps == ["into outer", "into inner", "out of inner", "out of outer"]


async def test_a_stage_that_responds_ends_the_call() -> None:
    """A call that is answered from the cache must not be sent as well."""
    upstream = FakeUpstream()

    response = await fold([RespondingStage(), RetryingStage()], upstream)(context_for("GET", "/portfolio/accounts"))

    assert (response.status, upstream.contexts) == (204, [])


async def test_a_stage_may_send_a_call_more_than_once() -> None:
    """Each attempt passes all following stages."""
    upstream, steps = FakeUpstream(), list[str]()

    await fold([RetryingStage(), RecordingStage("inner", steps)], upstream)(context_for("GET", "/portfolio/accounts"))

    assert len(upstream.contexts) == 2
    assert steps == ["into inner", "out of inner"] * 2


async def test_without_stages_the_last_step_is_returned() -> None:
    """A pipeline without stages is the dispatch."""
    upstream = FakeUpstream()

    assert fold([], upstream) is upstream


async def test_an_error_passes_every_stage_unchanged() -> None:
    """Its class says whether the call was sent."""
    steps: list[str] = []

    with pytest.raises(Busy):
        await fold([RecordingStage("outer", steps)], FakeUpstream(Busy("full")))(
            context_for("GET", "/portfolio/accounts")
        )

    assert steps == ["into outer"]
