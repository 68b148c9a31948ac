"""Stages folded into one function: the outermost is entered first, and sees the response last."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.calls.stage import Proceed, Stage, fold
from ibkr_bridge.errors import Busy
from tests.calls.road import OK, Road, context_for


class Noting:
    """A stage that notes when it is entered and left."""

    def __init__(self, name: str, steps: list[str]) -> None:
        self._name = name
        self._steps = steps

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        self._steps.append(f"into {self._name}")
        response = await proceed(context)
        self._steps.append(f"out of {self._name}")
        return response


class Answering:
    """A stage that answers by itself."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        return Response(204, {}, b"")


class Twice:
    """A stage that sends a call two times."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        await proceed(context.attempt())
        return await proceed(context.attempt())


async def test_stages_are_entered_from_the_outermost_in_and_left_in_reverse() -> None:
    """The order of the list is the order of a call's road."""
    steps: list[str] = []
    stages: list[Stage] = [Noting("outer", steps), Noting("inner", steps)]

    response = await fold(stages, Road())(context_for("GET", "/portfolio/accounts"))

    assert response is OK
    assert steps == ["into outer", "into inner", "out of inner", "out of outer"]


async def test_a_stage_that_answers_keeps_the_call_from_what_is_behind_it() -> None:
    """An answer from the cache must not be sent as well."""
    road = Road()

    response = await fold([Answering(), Twice()], road)(context_for("GET", "/portfolio/accounts"))

    assert (response.status, road.came) == (204, [])


async def test_a_stage_may_send_a_call_more_than_once() -> None:
    """Each sending takes the whole rest of the road."""
    road, steps = Road(), list[str]()

    await fold([Twice(), Noting("inner", steps)], road)(context_for("GET", "/portfolio/accounts"))

    assert len(road.came) == 2
    assert steps == ["into inner", "out of inner"] * 2


async def test_no_stages_leave_the_last_step_alone() -> None:
    """The pipeline without stages is the dispatch."""
    road = Road()

    assert fold([], road) is road


async def test_an_error_passes_every_stage_unchanged() -> None:
    """Its class says whether something was sent."""
    steps: list[str] = []

    with pytest.raises(Busy):
        await fold([Noting("outer", steps)], Road(Busy("full")))(context_for("GET", "/portfolio/accounts"))

    assert steps == ["into outer"]
