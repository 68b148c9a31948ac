"""How a call is asked so that its answer is a whole one.

First what IBKR wants to be asked first; then the call; then, where it reads, once more if IBKR says that it wanted
something else before, or if its first answer is a thin one, and snapshots until they are filled. What changes something
is asked once, whatever comes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from ibkr_bridge.calls.messages import Answer, Ask, Call, let_go
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BridgeError, NotNow
from ibkr_bridge.ibkr.bodies import is_thin, wants_accounts
from ibkr_bridge.ibkr.endpoint import Endpoint, Made, Need
from ibkr_bridge.quirks.prerequisites import Firsts, Notice
from ibkr_bridge.quirks.snapshot_completion import Snapshots

SHORTLY = 0.5  # seconds that a call which changes something waits for what IBKR wants first


class Errand(Protocol):
    """One call, and the ways to ask for it and for what it takes."""

    row: Endpoint
    call: Call

    async def send(self, longer: float) -> Answer:
        """Ask for it; wait for its turn so many seconds longer than its caller would."""
        ...

    async def other(self, call: Call) -> Answer:
        """Ask another one, the whole road."""
        ...

    async def anew(self, call: Call) -> Answer:
        """The same, but for what may be remembered wrongly."""
        ...


class Courtesy:
    """What one line knows of how IBKR wants to be asked.

    Args:
        clock: time, for the pauses between two looks.
    """

    def __init__(self, clock: Clock) -> None:
        self._firsts = Firsts()
        self._snapshots = Snapshots(clock)

    def __repr__(self) -> str:
        return f"<Courtesy {self._firsts!r} {self._snapshots!r}>"

    def forget(self) -> None:
        """Another session begins anew."""
        self._firsts.forget()
        self._snapshots.forget()

    def noticing(self) -> Notice:
        """Somebody asks: what is to be told of the answer. It counts for the session in which it was asked for."""
        return self._firsts.noticing()

    async def ask(self, errand: Errand) -> Answer:
        """The answer, as whole as it can be had.

        Raises:
            BridgeError: what came of it instead.
        """
        row = errand.row
        if row.needs:
            await self._first_things(errand)
        if not row.reads:
            return await errand.send(0.0)
        answer = await self._repaired(errand, await errand.send(0.0))
        if Need.TWICE in row.needs and self._is_thin(errand, answer):
            answer = await self._second(errand, answer)
        if row.made is Made.FILLED:
            answer = await self._filled(errand, answer)
        return answer

    async def _first_things(self, errand: Errand) -> None:
        other = _letting_go(errand.other)
        if errand.row.reads:
            await self._firsts.see_to(errand.row, errand.call, other)
            return
        with suppress(BridgeError, TimeoutError):  # getting out must not depend on it; IBKR says what is missing
            async with asyncio.timeout(SHORTLY):
                await self._firsts.see_to(errand.row, errand.call, other)

    async def _repaired(self, errand: Errand, answer: Answer) -> Answer:
        """IBKR has forgotten that it was asked for the accounts: it is asked again, and so is the call."""
        if answer.status == 200 or not wants_accounts(answer.body):
            return answer
        let_go(answer)
        await self._firsts.ask_for(Need.ACCOUNTS, _letting_go(errand.anew))
        return await errand.send(0.0)

    def _is_thin(self, errand: Errand, answer: Answer) -> bool:
        if answer.status != 200 or answer.rest is not None:
            return False
        if errand.row.pace is not None:
            return is_thin(answer.body)  # a second look costs its callers seconds: only where IBKR says so
        return self._firsts.is_first(errand.call)

    async def _filled(self, errand: Errand, answer: Answer) -> Answer:
        async def again() -> Answer:
            return await errand.send(0.0)

        async def help_out(instruments: list[str]) -> None:
            await self._firsts.see_to_underlyings(instruments, _letting_go(errand.other))

        return await self._snapshots.fill(errand.call, answer, again, help_out)

    async def _second(self, errand: Errand, first: Answer) -> Answer:
        """Ask once more, as late as the row's own limit makes that; where it cannot be, the first answer has to do."""
        try:
            return await errand.send(errand.row.pace.seconds if errand.row.pace else 0.0)
        except NotNow:
            self._firsts.not_asked(errand.call)
            return replace(first, passing=True)


def _letting_go(ask: Ask) -> Ask:
    """For whoever only wants to know what stands at the beginning of an answer."""

    async def asking(call: Call) -> Answer:
        answer = await ask(call)
        let_go(answer)
        return answer

    return asking
