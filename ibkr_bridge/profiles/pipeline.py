"""The stages of a call in order, folded into one function."""

from __future__ import annotations

from collections.abc import Sequence

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.calls.stage import Proceed, Stage, fold


class Pipeline:
    """Takes a call through all stages.

    Args:
        stages: the outermost first.
        dispatch: sends the call.
    """

    def __init__(self, stages: Sequence[Stage], dispatch: Proceed) -> None:
        self.stages = tuple(stages)
        self._dispatch = dispatch
        self._run = fold(self.stages, dispatch)

    def __repr__(self) -> str:
        return f"<Pipeline {' → '.join(type(stage).__name__ for stage in self.stages)}>"

    async def __call__(self, context: CallContext) -> Response:
        """Take one call through all stages. Raises what `Stage` does."""
        context.execute = self
        return await self._run(context)

    def without(self, *kinds: type) -> Pipeline:
        """The same pipeline without some stages."""
        return Pipeline([stage for stage in self.stages if not isinstance(stage, kinds)], self._dispatch)
