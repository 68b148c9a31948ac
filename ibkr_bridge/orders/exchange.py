"""One exchange with IBKR about an order, written down before its first byte leaves and when its answer has come.

Whatever ends the exchange is written too. Before the first byte an error leaves the order as it was; behind it, it is
known that IBKR would not even look at the call, or else nobody knows what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ibkr_bridge.calls.content_encoding import unpacked
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.calls.messages import Answer, Call, Late, whole
from ibkr_bridge.errors import BridgeError, GatewayDeniesUs, NotNow, OrderUnknown, ReplyNotFound, UpstreamRefused
from ibkr_bridge.ibkr.endpoint import Order
from ibkr_bridge.orders.journal.order_record import Record, Spoken
from ibkr_bridge.orders.journal.repository import ENDED, Book
from ibkr_bridge.orders.journal.transitions import State, What
from ibkr_bridge.orders.replay import unknown
from ibkr_bridge.orders.request import Departure, Wish
from ibkr_bridge.orders.response import Verdict

NOT_LOOKED_AT = (NotNow, UpstreamRefused, GatewayDeniesUs)
"""What an answer of IBKR's or the Gateway's doors becomes: behind them nobody has seen the order."""
GONE = "caller_gone", "its caller hung up before it was sent"
STOPPED = "stopping", "its call was ended before it was sent"
TOO_LONG = "IBKR's answer is too long to be one"
LATE_QUESTION = "IBKR asked when nobody waited for it any more"
Read = Callable[[int, bytes], Verdict]
Decline = Callable[[str], None]
"""Is told the id of a question that has to be answered with no when there is time."""


@dataclass(frozen=True)
class Step:
    """What is sent, and what the journal says of it before it leaves."""

    call: Call
    asked: Asked
    what: What
    facts: Mapping[str, object]
    read: Read

    @property
    def follows(self) -> State | None:
        """The state an order has to be in for it."""
        return None if self.what is What.SENT else State.QUESTION


class Dealing:
    """Exchanges of one line.

    Args:
        decline: see `Decline`.
    """

    def __init__(self, book: Book, decline: Decline) -> None:
        self._book = book
        self._decline = decline

    async def exchange(self, record: Record, wish: Wish, step: Step) -> tuple[Answer, Verdict]:
        """Write down, send, read, write down.

        Raises:
            BridgeError: nothing left, or it was lost; the record tells which.
        """

        async def write_entry() -> None:
            if record.state is not step.follows:
                raise ReplyNotFound("this question is over")  # it was declined while the reply waited for its turn
            await self._book.write(record, step.what, step.facts)
            if record.state is not State.SENDING:
                raise ReplyNotFound("this question is over")  # it was ended while the disk took the entry

        leaving = Departure(write_entry)
        is_wanted = record.flight.is_wanted if record.flight is not None else wish.is_there
        try:
            answer = await wish.send(step.call, step.asked, leaving, is_wanted, self._late(record, step.read))
            answer = unpacked(await whole(answer))
            if answer.rest is not None:
                answer.rest.close()
                raise OrderUnknown(TOO_LONG)
        except BaseException as exc:
            ended = self._ended(record, wish, exc) if leaving.has_left else self._stopped(record, step, exc)
            if ended is exc:
                raise
            raise ended from exc
        return answer, self._written(record, wish, step.read, answer)

    def _written(self, record: Record, wish: Wish, read: Read, answer: Answer) -> Verdict:
        verdict = read(answer.status, answer.body)
        own = wish.kind is not Order.REPLY
        facts = {**told(verdict), "request": wish.request, "own": own, "answer": Spoken.of(answer).facts}
        self._book.note(record, verdict.what, facts)
        return verdict

    def _stopped(self, record: Record, step: Step, exc: BaseException) -> BaseException:
        """Nothing left. Where its entry stands on disk, a further one says so; else nothing has happened."""
        if record.state is State.SENDING:
            code, why = reason(exc)
            said = {"code": code, "error": why, "stopped": True}
            if step.follows is State.QUESTION:
                self._book.note(record, What.HELD_BACK, {**said, "reply": step.facts.get("reply")})
            else:
                self._book.note(record, What.REFUSED, said)
                self._book.register.refused(record)
        return exc

    def _ended(self, record: Record, wish: Wish, exc: BaseException) -> BaseException:
        if isinstance(exc, NOT_LOOKED_AT):
            self._book.note(record, What.TURNED_DOWN, {"error": exc.detail, "code": exc.code, "again": True})
            return exc
        why = exc.detail if isinstance(exc, BridgeError) else ENDED
        self._book.note(record, What.LOST, {"error": why, "request": wish.request})
        return unknown(record) if isinstance(exc, BridgeError) else exc

    def _late(self, record: Record, read: Read) -> Late:
        """For an answer that comes when its order has been given up: the best evidence there is."""

        def hear(answer: Answer) -> None:
            verdict = read(answer.status, unpacked(answer).body)
            if verdict.question is None:
                if verdict.what is not What.LOST:
                    self._book.note(record, verdict.what, {**told(verdict), "late": True})
            elif self._book.note(record, What.DECLINED, {"error": LATE_QUESTION, "late": True}):
                for reply in verdict.question.replies:
                    self._decline(reply)

        return hear


def reason(exc: BaseException) -> tuple[str, str]:
    """Why nothing left, as the journal keeps it: a code and words."""
    if isinstance(exc, BridgeError):
        return exc.code, exc.detail
    return STOPPED if isinstance(exc, asyncio.CancelledError) else GONE


def told(verdict: Verdict) -> dict[str, object]:
    """A verdict as the journal keeps it."""
    question = verdict.question
    asked = {"replies": list(question.replies), "messages": list(question.messages)} if question else {}
    ids = {"order_ids": list(verdict.order_ids)} if verdict.order_ids else {}
    said = {"status": verdict.status, "error": verdict.error}
    again = {"again": True} if verdict.again else {}
    return {**asked, **ids, **again, **{name: text for name, text in said.items() if text}}
