"""A Gateway that answers by a script, for what is made of several calls."""

from __future__ import annotations

from collections.abc import Mapping

from ibkr_bridge.catalogue import met
from ibkr_bridge.composed.courtesy import Errand
from ibkr_bridge.upstream.base import Answer, Call


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

    def errand(self, call: Call) -> Errand:
        """A caller's call."""

        async def send(_: float) -> Answer:
            return await self.ask(call)

        return Errand(met(call.method, call.target), call, send, self.ask, self.ask)


def good(body: str) -> Answer:
    """An answer of 200."""
    return Answer(200, {"Content-Type": "application/json"}, body.encode())
