"""A Gateway that answers by a script, for what is made of several calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ibkr_bridge.calls.messages import Answer, Call
from ibkr_bridge.ibkr.catalogue import met
from ibkr_bridge.ibkr.endpoint import Endpoint


class Scripted:
    """Answers each path by its list, the last one again and again; remembers what it was asked."""

    def __init__(self, script: Mapping[str, list[Answer | Exception]]) -> None:
        self.asked: list[str] = []
        self._script = {path: list(answers) for path, answers in script.items()}

    async def ask(self, call: Call) -> Answer:
        """The next answer of the call's path."""
        path = call.target.partition("?")[0].removeprefix("/v1/api")
        self.asked.append(call.target.removeprefix("/v1/api"))
        answers = self._script[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def errand(self, call: Call) -> Asking:
        """A caller's call."""
        return Asking(self, met(call.method, call.target), call)


@dataclasses.dataclass
class Asking:
    """An errand to it."""

    gateway: Scripted
    row: Endpoint
    call: Call

    async def send(self, _: float) -> Answer:
        """See `Errand.send`."""
        return await self.gateway.ask(self.call)

    async def other(self, call: Call) -> Answer:
        """See `Errand.other`."""
        return await self.gateway.ask(call)

    async def anew(self, call: Call) -> Answer:
        """See `Errand.anew`."""
        return await self.gateway.ask(call)


def good(body: str) -> Answer:
    """An answer of 200."""
    return Answer(200, {"Content-Type": "application/json"}, body.encode())
