"""The Gateway as the keeper asks it: beside the places of callers, yet counted in IBKR's limits, and remembered.

IBKR counts calls whoever makes them. What the keeper asks spends callers' budget, so that both together stay within it,
and what it was told is told to callers, who would otherwise have to wait until it may be asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from ibkr_bridge.cache.cached_reads import Reads
from ibkr_bridge.calls.messages import Answer, Call, LastLook, Left, nobody
from ibkr_bridge.errors import Paced
from ibkr_bridge.ibkr.catalogue import met
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.limits.admission import Turns, no_second_call
from ibkr_bridge.limits.penalty_box import Penalty
from ibkr_bridge.upstream.gateway.client import Gateway

Noticing = Callable[[], Callable[[Endpoint, Call, Answer], None]]


def _once_only(row: Endpoint) -> LastLook:
    """Stops the second sending of a call whose limit has no room for it."""
    sent = False

    async def look(_: Callable[[], None]) -> None:
        nonlocal sent
        if sent and row.pace is not None:
            raise no_second_call()
        sent = True

    return look


class Beside:
    """One Gateway, for its keeper.

    Args:
        gateway: who is asked.
        turns: where it is counted.
        penalty: what IBKR refuses for now; is told of a 429.
        reads: where answers are remembered; None where they are not.
        noticing: is told that somebody asks, and then what they were answered.
        spent: is told of every call that goes out, for limits that outlive a restart.
    """

    def __init__(
        self,
        gateway: Gateway,
        turns: Turns,
        penalty: Penalty,
        reads: Reads | None,
        noticing: Noticing,
        spent: Callable[[Endpoint], None],
    ) -> None:
        self._gateway = gateway
        self._turns = turns
        self._penalty = penalty
        self._reads = reads
        self._noticing = noticing
        self._spent = spent

    async def ask(self, call: Call, left: Left = nobody, *, within: float | None = None) -> Answer:
        """See `Upstream.ask`.

        Raises:
            NotNow: IBKR refuses it for now.
            Paced: a caller asked this so short a time ago that IBKR would refuse it now; nothing was sent.
        """
        row = met(call.method, call.target)
        if row.meets or row.made:
            self._penalty.check(row)  # the session's own calls are tried all the same: once a minute, in the box
        counted = self._turns.beside(row)
        if counted is None:
            left()
            raise Paced("this was asked a moment ago", retry_after=row.pace.seconds if row.pace else None)

        def answered() -> None:
            counted()
            left()

        self._spent(row)
        notice = self._noticing()
        learn = self._reads.learning(row, call) if self._reads is not None and row.shareable else None
        answer = await self._gateway.ask(call, answered, _once_only(row), within=within)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS and row.pace is not None:
            self._penalty.refused(row, None)
        notice(row, call, answer)
        if learn is not None:
            learn(answer)
        return answer
