"""A Gateway that answers by a script, for what is made of several calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Endpoint


class Scripted:
    """Answers each path by its list, the last one again and again; remembers what it was asked."""

    def __init__(self, script: Mapping[str, list[Response | Exception]]) -> None:
        self.asked: list[str] = []
        self._script = {path: list(responses) for path, responses in script.items()}

    async def send(self, call: Call) -> Response:
        """The next answer of the call's path."""
        path = call.target.partition("?")[0].removeprefix("/v1/api")
        self.asked.append(call.target.removeprefix("/v1/api"))
        responses = self._script[path]
        response = responses.pop(0) if len(responses) > 1 else responses[0]
        if isinstance(response, Exception):
            raise response
        return response

    def errand(self, call: Call) -> Asking:
        """A caller's call."""
        return Asking(self, endpoint_of(call.method, call.target), call)


@dataclasses.dataclass
class Asking:
    """An errand to it."""

    gateway: Scripted
    endpoint: Endpoint
    call: Call

    async def send(self, _: float) -> Response:
        """See `Errand.send`."""
        return await self.gateway.send(self.call)

    async def fetch(self, call: Call) -> Response:
        """See `Errand.other`."""
        return await self.gateway.send(call)

    async def fetch_fresh(self, call: Call) -> Response:
        """See `Errand.anew`."""
        return await self.gateway.send(call)


def good(body: str) -> Response:
    """An answer of 200."""
    return Response(200, {"Content-Type": "application/json"}, body.encode())
