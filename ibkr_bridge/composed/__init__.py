"""Answers made of several calls, or of a part of one, where IBKR's own calls are a trap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ibkr_bridge.upstream.base import Answer, Call

Ask = Callable[[Call], Awaitable[Answer]]
"""Asks one of the calls that an answer is made of."""
