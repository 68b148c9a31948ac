"""The protocol of a stage, and how stages are joined into one function."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response

Proceed = Callable[[CallContext], Awaitable[Response]]
"""The following stages."""


class Stage(Protocol):
    """One step that every call passes. It may respond by itself, refuse, or proceed and read the response."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """Handle one call.

        Raises:
            BridgeError: nothing was sent, or nothing usable came back; the class says which.
            CallerGone: nothing was sent, and no caller is left.
        """
        ...


def fold(stages: Sequence[Stage], last: Proceed) -> Proceed:
    """Join stages, the outermost first, and the last step into one function."""
    following = last
    for stage in reversed(stages):
        following = functools.partial(stage, proceed=following)
    return following
