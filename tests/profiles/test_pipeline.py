"""The stages of a call folded into one function, and the same pipeline without some of them."""

from __future__ import annotations

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.profiles.pipeline import Pipeline
from tests.calls.stage_setup import OK, FakeUpstream, context_for


class Outer:
    """A stage that appends its name to the source."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        context.source += " outer"
        return await proceed(context)


class Inner:
    """A second stage that appends its name."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        context.source += " inner"
        return await proceed(context)


async def test_a_call_passes_every_stage_and_is_sent() -> None:
    """The outermost stage comes first."""
    upstream, context = FakeUpstream(), context_for("GET", "/portfolio/accounts", source="")

    assert await Pipeline([Outer(), Inner()], upstream)(context) is OK
    assert (context.source, len(upstream.contexts)) == (" outer inner", 1)


async def test_reads_for_a_call_pass_the_same_stages() -> None:
    """The session and the limits apply to these reads too."""
    context = context_for("GET", "/portfolio/accounts")
    pipeline = Pipeline([], FakeUpstream())

    await pipeline(context)

    assert context.execute is pipeline


async def test_without_some_stages_the_others_stay_in_order() -> None:
    """The original pipeline keeps all of its stages."""
    upstream = FakeUpstream()
    whole = Pipeline([Outer(), Inner()], upstream)
    context = context_for("GET", "/portfolio/accounts", source="")

    await whole.without(Outer)(context)

    assert (context.source, repr(whole.without(Outer, Inner)), len(whole.stages)) == (" inner", "<Pipeline >", 2)


def test_the_repr_of_a_pipeline_shows_its_stages_in_order() -> None:
    """The text helps a person who debugs a pipeline."""
    assert repr(Pipeline([Outer(), Inner()], FakeUpstream())) == "<Pipeline Outer → Inner>"
