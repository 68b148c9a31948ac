"""Contexts of calls, and the rest of the road behind a stage under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.facts import facts_of_call
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.ibkr.catalogue import decode_segments, endpoint_of

OK = Response(200, {"Content-Type": "application/json"}, b"{}")


def context_for(method: str, path: str, body: bytes = b"", **more: Any) -> CallContext:
    """The context of a call of somebody's, its path below `/v1/api`."""
    endpoint = endpoint_of(method, path)
    where, _, query = path.partition("?")
    facts = facts_of_call(endpoint, decode_segments(where), query, parse_order_tickets(body))
    return CallContext(
        Call(method, f"/v1/api{path}", body=body, is_change=not endpoint.is_read), endpoint, facts, **more
    )


class Road:
    """What is behind a stage: it does with a call what an upstream does, and notes which came.

    Args:
        answers: in order, the last one again and again; an exception is raised before anything is sent.
    """

    def __init__(self, *answers: Response | BaseException) -> None:
        self._answers = list(answers or (OK,))
        self.came: list[CallContext] = []
        self.sent = 0
        self.while_connecting: Callable[[], object] = lambda: None
        """What happens between "connected" and "first byte"."""

    async def __call__(self, context: CallContext) -> Response:
        """See `Proceed`."""
        self.came.append(context)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        try:
            self.while_connecting()
            for check in context.preconditions:
                check(context)
            if isinstance(answer, BaseException):
                raise answer
            context.is_sent = True
            for notify in context.on_sent:
                notify(context)
            self.sent += 1
        finally:
            for release in context.on_released:
                release(context)
        return answer

    @property
    def targets(self) -> list[str]:
        """What came, below `/v1/api`."""
        return [context.call.target.removeprefix("/v1/api") for context in self.came]
