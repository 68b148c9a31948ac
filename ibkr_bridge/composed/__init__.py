"""Answers made of several calls, or of a part of one, where IBKR's own calls are a trap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ibkr_bridge.ibkr.bodies import hides_error
from ibkr_bridge.upstream.base import Answer, Call

Ask = Callable[[Call], Awaitable[Answer]]
"""Asks one of the calls that an answer is made of."""


def says_no(answer: Answer) -> bool:
    """Whether IBKR refuses: by its status, or inside its 200."""
    return answer.status != 200 or (answer.rest is None and hides_error(answer.body))
