"""IBKR's questions: to the caller unchanged, confirmed where the caller said so beforehand, declined after a minute.

A question belongs to the key whose order it is about, and its id is good once. The bridge says yes by itself only to
messages that the request names, all of them; it says no where nobody answers in time, as a question that hangs keeps
everybody else from placing orders.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ibkr_bridge.calls.content_encoding import unpacked
from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.header_policy import upwards
from ibkr_bridge.calls.messages import Answer, Call, whole
from ibkr_bridge.errors import BadRequest, BridgeError, OrderInProgress, OrderNotPlaced, OrderUnknown, ReplyNotFound
from ibkr_bridge.ibkr.catalogue import REPLY, target
from ibkr_bridge.ibkr.endpoint import Order
from ibkr_bridge.orders.exchange import Dealing, Step
from ibkr_bridge.orders.journal.order_record import Flight, Record, Spoken
from ibkr_bridge.orders.journal.repository import Book
from ibkr_bridge.orders.journal.transitions import State, What
from ibkr_bridge.orders.replay import joined, retold
from ibkr_bridge.orders.request import Departure, Wish
from ibkr_bridge.orders.response import Question, Verdict, read_answer, read_one
from ibkr_bridge.orders.serialization import Chain, Hanging
from ibkr_bridge.orders.tickets import once_each

SHORTLY = 1.0  # seconds; others wait for the line meanwhile, and IBKR forgets its question with the session anyhow
AT_LEISURE = 10.0  # seconds; longer than a session takes to be found ready after a start
MOST_ROUNDS = 20  # questions the bridge confirms for one call; clients that loop allow as many
JSON = (("Content-Type", "application/json"),)
NOBODY = "nobody replied in time"
BY_CALLER = "its caller declined"
CANCELLED = "a cancel came in between, which ends IBKR's question"
Reply = Callable[[Call, float], Awaitable[None]]
"""Sends a call of our own, waits so many seconds for session and turn, and does not mind what comes of it."""


class Questions:
    """The questions of one line."""

    def __init__(self, book: Book, chain: Chain) -> None:
        self._book = book
        self._chain = chain
        self._to_decline: deque[str] = deque()
        self.dealing = Dealing(book, self.decline_later)

    def __repr__(self) -> str:
        return f"<Questions {self._chain.hanging!r}, {len(self._to_decline)} to decline>"

    async def go_through(self, record: Record, wish: Wish, answer: Answer, verdict: Verdict) -> Answer:
        """Confirm what the caller said may be confirmed; the last answer is the caller's, a question hangs.

        Raises:
            BridgeError: a confirmation left and its answer was lost.
        """
        rounds = 0
        while (question := verdict.question) is not None:
            if rounds >= MOST_ROUNDS or not _may_confirm(wish, question):
                self._chain.hang(record, question, wish.asked)
                return answer
            rounds += 1
            try:
                answer, verdict = await self._say_yes(record, wish, question.replies[0])
            except (BridgeError, CallerGone):
                if record.state is not State.QUESTION:
                    raise
                self._chain.hang(record, question, wish.asked)  # it did not leave: the caller may still answer
                return answer
        return answer

    async def _say_yes(self, record: Record, wish: Wish, reply: str) -> tuple[Answer, Verdict]:
        facts = {"reply": reply, "by": "X-Bridge-Confirm", "request": wish.request}
        asked = replace(wish.asked, order=Order.REPLY, declines=False)
        step = Step(reply_call(reply, confirmed=True), asked, What.CONFIRMED, facts, read_answer)
        return await self.dealing.exchange(record, wish, step)

    # -- replies of callers

    async def reply(self, wish: Wish) -> Answer:
        """Pass on a caller's reply to a question that hangs.

        Raises:
            ReplyNotFound: there is none of this id, or it is over.
            OrderInProgress: it is another key's, or another reply to it is on its way.
            BridgeError: nothing left, or it was lost.
        """
        reply, hanging = wish.subject, self._chain.hanging
        of_this = hanging is not None and reply in hanging.question.replies
        record = hanging.record if hanging is not None and of_this else self._book.register.by_reply(reply)
        if record is None:
            raise ReplyNotFound("no question of this bridge has this id")
        if record.owner != wish.owner:
            raise OrderInProgress("this question was asked to the owner of another key")
        wish.record = record
        if reply in record.replied:
            return await self._once_more(record, wish)
        if hanging is None or not of_this:
            raise ReplyNotFound("this question is over")
        return await self._answered(hanging, record, wish)

    async def _once_more(self, record: Record, wish: Wish) -> Answer:
        fingerprint, spoken = record.replied[wish.subject]
        if fingerprint != wish.fingerprint:
            raise ReplyNotFound("this question has been answered otherwise")
        flight = record.flight
        if flight is not None and not flight.done.is_set():
            wish.source = "shared"
            return await joined(record, flight, wish)
        wish.source = "cache" if spoken is not None else "bridge"
        if spoken is None and record.state is State.NOT_PLACED:
            raise declined(record)
        return spoken.answer if spoken is not None else retold(record)

    async def _answered(self, hanging: Hanging, record: Record, wish: Wish) -> Answer:
        declines = declining(wish.call.body)
        if hanging.is_answered:
            raise OrderInProgress("another reply to this question is on its way", retry_after=1.0)
        hanging.is_answered = True
        wish.asked = replace(hanging.asked, order=wish.asked.order, declines=declines)
        flight = record.flight = Flight(wish.fingerprint, [wish.is_there])
        work = self._no(record, wish) if declines else self._yes(record, wish)
        try:
            return await flight.carry(work)
        finally:
            record.flight = None
            if record.state is State.QUESTION and self._chain.hanging is hanging:
                hanging.is_answered = False  # it did not leave
            elif record.state is not State.QUESTION and not hanging.is_over:
                self._chain.leave(record)

    async def _yes(self, record: Record, wish: Wish) -> Answer:
        await wish.weigh()
        facts = {"reply": wish.subject, "by": "its caller", "request": wish.request, "fingerprint": wish.fingerprint}
        rest = tuple(reply for reply in record.asked if reply != wish.subject)
        step = Step(wish.call, wish.asked, What.CONFIRMED, facts, lambda status, body: read_one(status, body, rest))
        answer, verdict = await self.dealing.exchange(record, wish, step)
        return await self.go_through(record, wish, answer, verdict)

    async def _no(self, record: Record, wish: Wish) -> Answer:
        await wish.weigh()
        facts = {"reply": wish.subject, "error": BY_CALLER, "request": wish.request, "fingerprint": wish.fingerprint}

        is_written = False

        async def write_entry() -> None:
            nonlocal is_written
            if record.state is not State.QUESTION:
                raise ReplyNotFound("this question is over")
            try:
                await self._book.write(record, What.LOST if record.order_ids else What.DECLINED, facts)
            finally:
                is_written = record.state is not State.QUESTION

        leaving = Departure(write_entry)
        try:
            answer = unpacked(await whole(await wish.send(wish.call, wish.asked, leaving, wish.is_there, nobody_minds)))
        except OrderUnknown as exc:  # of the no alone: what was never confirmed is never placed
            raise declined(record) from exc
        except BaseException as exc:
            if is_written and not leaving.has_left:
                self.decline_later(wish.subject)  # the journal says no already: IBKR is told when there is time
                if isinstance(exc, (BridgeError, CallerGone)):
                    raise declined(record) from exc
            raise
        record.replied[wish.subject] = (wish.fingerprint, Spoken.of(answer))
        return answer

    # -- questions nobody answers

    def killed(self) -> None:
        """An order call went out in between: IBKR has forgotten whatever it asked."""
        hanging = self._chain.hanging
        if hanging is not None and hanging.record.state is State.QUESTION:
            self._book.end_question(hanging.record, What.DROPPED, {"error": CANCELLED})
            self._chain.leave(hanging.record)

    def decline_later(self, reply: str) -> None:
        """A question nobody waits for: it is declined at the next chance."""
        self._to_decline.append(reply)
        self._chain.hung()  # whoever declines looks now

    async def tidy(self, now: float, send: Reply) -> None:
        """Decline what has waited too long, and what nobody waits for.

        Args:
            now: by the chain's clock.
            send: see `Reply`.
        """
        await self._decline_left_ones(send)
        hanging = self._chain.hanging
        if hanging is None or now < hanging.until or hanging.record.state is not State.QUESTION:
            return
        if self._book.is_writing(hanging.record):
            return  # a reply is about to leave; it moves the order, and then this is looked at once more
        hanging.is_over = True  # a reply that still waits for its turn is too late
        self._book.end_question(hanging.record, What.DECLINED, {"error": NOBODY})
        try:
            for reply in hanging.question.replies:
                await send(reply_call(reply, confirmed=False), SHORTLY)
        finally:
            self._chain.leave(hanging.record)

    async def _decline_left_ones(self, send: Reply) -> None:
        """Each in a turn of its own. Where somebody has the line, their order ends IBKR's question anyhow; a no of ours
        would end theirs."""
        while self._to_decline:
            reply = self._to_decline.popleft()
            if self._chain.enter_at_once(reply):
                try:
                    await send(reply_call(reply, confirmed=False), AT_LEISURE)
                finally:
                    self._chain.leave(reply)


def _may_confirm(wish: Wish, question: Question) -> bool:
    """Whether the caller confirmed all of it beforehand, and is still there to hear what comes of it."""
    return question.can_be_confirmed and wish.confirm.issuperset(question.messages) and wish.is_there()


def reply_call(reply: str, *, confirmed: bool) -> Call:
    """A reply of our own to a question; its id is made of plain characters, see `verdict.REPLY_ID`."""
    body = json.dumps({"confirmed": confirmed}, separators=(",", ":")).encode()
    return Call("POST", target((*REPLY, reply)), upwards(JSON), body, changes=True)


def declining(body: bytes) -> bool:
    """Whether a caller's reply says no.

    Raises:
        BadRequest: it says neither yes nor no, or both.
    """
    try:
        told = json.loads(body, object_pairs_hook=once_each)
    except (ValueError, RecursionError):
        told = None
    confirmed = told.get("confirmed") if isinstance(told, dict) else None
    spelled = [name for name in told if name.lower() == "confirmed"] if isinstance(told, dict) else []
    if not isinstance(confirmed, bool) or len(spelled) > 1:
        raise BadRequest("the reply says neither yes nor no", hint='send {"confirmed": true} or {"confirmed": false}')
    return not confirmed


def declined(record: Record) -> OrderNotPlaced:
    """What is told of a no whose answer was lost, or forgotten over a restart."""
    return OrderNotPlaced(f"order {record.id} was declined, and is not placed")


def nobody_minds(_: Answer) -> None:
    """The late answer to a no: it changes nothing."""
