"""A Gateway with scripted responses, for reads that need several calls."""

from __future__ import annotations

from collections.abc import Mapping

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, FetchCall, Response
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.quirks.completion import CompleteReads


class ScriptedFetch:
    """Responds to each path with its list of responses, the last one repeatedly; lists the targets of the calls."""

    def __init__(self, script: Mapping[str, list[Response | Exception]]) -> None:
        self.targets: list[str] = []
        self._script = {path: list(responses) for path, responses in script.items()}

    async def send(self, call: Call) -> Response:
        """Return the next response for the path of the call."""
        path = call.target.partition("?")[0].removeprefix("/v1/api")
        self.targets.append(call.target.removeprefix("/v1/api"))
        responses = self._script[path]
        response = responses.pop(0) if len(responses) > 1 else responses[0]
        if isinstance(response, Exception):
            raise response
        return response

    async def complete(self, completion: CompleteReads, call: Call) -> Response:
        """Send a caller's call through the stage, and return its response."""
        context = context_of(self.send, call)

        async def proceed(part: CallContext) -> Response:
            return await self.send(part.call)

        return await completion(context, proceed)


def context_of(fetch: FetchCall, call: Call) -> CallContext:
    """The context of a call; other calls that are fetched for it go to `fetch`."""
    endpoint = endpoint_of(call.method, call.target)
    context = CallContext(call, endpoint, RequestFacts(endpoint.effect, endpoint.operation))

    async def execute(part: CallContext) -> Response:
        return await fetch(part.call)

    context.execute = execute
    return context


def ok(body: str) -> Response:
    """A JSON response with status 200."""
    return Response(200, {"Content-Type": "application/json"}, body.encode())
