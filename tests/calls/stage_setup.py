"""Contexts of calls, and an upstream behind a stage under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.facts import facts_of_call
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.ibkr.catalogue import decode_segments, endpoint_of

OK = Response(200, {"Content-Type": "application/json"}, b"{}")


def context_for(method: str, path: str, body: bytes = b"", **attributes: Any) -> CallContext:
    """The context of a call to this path below `/v1/api`."""
    endpoint = endpoint_of(method, path)
    path_alone, _, query = path.partition("?")
    facts = facts_of_call(endpoint, decode_segments(path_alone), query, parse_order_tickets(body))
    return CallContext(
        Call(method, f"/v1/api{path}", body=body, is_change=not endpoint.is_read), endpoint, facts, **attributes
    )


class FakeUpstream:
    """Stands in for all that is behind a stage: it runs a call's checks and callbacks as an upstream does.

    Args:
        responses: in order, the last one repeatedly; an exception is raised before anything is sent.
    """

    def __init__(self, *responses: Response | BaseException) -> None:
        self._responses = list(responses or (OK,))
        self.contexts: list[CallContext] = []
        self.sent = 0
        """How many calls were sent."""
        self.while_connecting: Callable[[], object] = lambda: None
        """Called when the connection is open and no byte has been sent."""

    async def __call__(self, context: CallContext) -> Response:
        """See `Proceed`."""
        self.contexts.append(context)
        response = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
        try:
            self.while_connecting()
            for check in context.preconditions:
                check(context)
            if isinstance(response, BaseException):
                raise response
            context.is_sent = True
            for notify in context.on_sent:
                notify(context)
            self.sent += 1
        finally:
            for release in context.on_released:
                release(context)
        return response

    @property
    def targets(self) -> list[str]:
        """The targets of the calls that arrived, without `/v1/api`."""
        return [context.call.target.removeprefix("/v1/api") for context in self.contexts]
