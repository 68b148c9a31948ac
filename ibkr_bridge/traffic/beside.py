"""The Gateway as the keeper asks it: beside the places of callers, yet counted in IBKR's limits, and remembered.

IBKR counts calls whoever makes them. What the keeper asks spends callers' budget, so that both together stay within it,
and what it was told is told to callers, who would otherwise have to wait until it may be asked again.
"""

from __future__ import annotations

from collections.abc import Callable

from ibkr_bridge.catalogue import met
from ibkr_bridge.endpoint import Endpoint
from ibkr_bridge.errors import Paced
from ibkr_bridge.traffic.reads import Reads
from ibkr_bridge.traffic.turns import Turns
from ibkr_bridge.upstream.base import Answer, Call, Left, nobody
from ibkr_bridge.upstream.gateway import Gateway

Noticing = Callable[[], Callable[[Endpoint, Call, Answer], None]]


class Beside:
    """One Gateway, for its keeper.

    Args:
        gateway: who is asked.
        turns: where it is counted.
        reads: where answers are remembered; None where they are not.
        noticing: is told that somebody asks, and then what they were answered.
    """

    def __init__(self, gateway: Gateway, turns: Turns, reads: Reads | None, noticing: Noticing) -> None:
        self._gateway = gateway
        self._turns = turns
        self._reads = reads
        self._noticing = noticing

    async def ask(self, call: Call, left: Left = nobody, *, within: float | None = None) -> Answer:
        """See `Upstream.ask`.

        Raises:
            Paced: a caller asked this so short a time ago that IBKR would refuse it now; nothing was sent.
        """
        row = met(call.method, call.target)
        counted = self._turns.beside(row)
        if counted is None:
            left()
            raise Paced("this was asked a moment ago", retry_after=row.pace.seconds if row.pace else None)

        def answered() -> None:
            counted()
            left()

        notice = self._noticing()
        learn = self._reads.learning(row, call) if self._reads is not None and row.shareable else None
        answer = await self._gateway.ask(call, answered, within=within)
        notice(row, call, answer)
        if learn is not None:
            learn(answer)
        return answer
