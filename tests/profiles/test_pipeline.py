"""The stages of a call, folded, and the same without some of them."""

from __future__ import annotations

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.profiles.pipeline import Pipeline
from tests.calls.stage_setup import OK, FakeUpstream, context_for


class Outer:
    """A stage that notes its name in the source."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        context.source += " outer"
        return await proceed(context)


class Inner:
    """Another one."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        context.source += " inner"
        return await proceed(context)


async def test_a_call_takes_every_stage_and_is_sent() -> None:
    """From the outermost in."""
    upstream, context = FakeUpstream(), context_for("GET", "/portfolio/accounts", source="")

    assert await Pipeline([Outer(), Inner()], upstream)(context) is OK
    assert (context.source, len(upstream.contexts)) == (" outer inner", 1)


async def test_other_reads_for_a_call_take_the_same_stages() -> None:
    """Session and limits hold for them, too."""
    context = context_for("GET", "/portfolio/accounts")
    pipeline = Pipeline([], FakeUpstream())

    await pipeline(context)

    assert context.execute is pipeline


async def test_without_some_stages_the_others_stay_in_order() -> None:
    """The pipeline it was made of has them still."""
    upstream = FakeUpstream()
    whole = Pipeline([Outer(), Inner()], upstream)
    context = context_for("GET", "/portfolio/accounts", source="")

    await whole.without(Outer)(context)

    assert (context.source, repr(whole.without(Outer, Inner)), len(whole.stages)) == (" inner", "<Pipeline >", 2)


def test_a_pipeline_shows_its_stages_in_order() -> None:
    """For people who debug one."""
    assert repr(Pipeline([Outer(), Inner()], FakeUpstream())) == "<Pipeline Outer → Inner>"
