"""The order desk: every order call of a line goes through here, and ends in exactly one state of the journal.

First: is it an order we know already? Then the rules, then its turn, then the journal, then the first byte. What IBKR
answers is read (`verdict.py`), written down, and told. An order that left is never sent again, by nobody here; one that
did not leave is refused in words. A lost answer makes it unknown, and `seek.py` looks for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from ibkr_bridge.calls.messages import Answer, Call
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BadRequest, BridgeError
from ibkr_bridge.ibkr.endpoint import Order
from ibkr_bridge.orders.exchange import Read, Step, reason
from ibkr_bridge.orders.journal.order_record import Flight, Record, digest, seconds_since
from ibkr_bridge.orders.journal.repository import PREFIX, Book
from ibkr_bridge.orders.journal.transitions import State, What
from ibkr_bridge.orders.questions import Questions
from ibkr_bridge.orders.reconciliation.matching import alike, wanted
from ibkr_bridge.orders.reconciliation.modify_matching import figures_in
from ibkr_bridge.orders.replay import again
from ibkr_bridge.orders.request import Wish
from ibkr_bridge.orders.response import read_answer, read_done
from ibkr_bridge.orders.serialization import Chain
from ibkr_bridge.orders.tickets import named, read_tickets

ONE_AT_A_TIME: Mapping[Order, Read] = {Order.PLACE: read_answer, Order.MODIFY: read_answer}
AT_ONCE: Mapping[Order, Read] = {Order.CANCEL: read_done, Order.ANSWER: read_done}
UNKNOWN_OPEN = "unknown-open"
SAME_REFUSAL = 60.0  # seconds in which the same refusal of the same call is one entry: a loop must not fill the disk
MOST_REFUSALS = 1000  # of them that are known again


class Desk:
    """The order desk of one line.

    Args:
        wait_open: waits until orders of an earlier run that a new one has to wait for are found; raises where they
            are not in time.
        add_names: whether orders without a cOID get one.
    """

    def __init__(
        self, book: Book, clock: Clock, wait_open: Callable[[Wish], Awaitable[None]], *, add_names: bool
    ) -> None:
        self.book = book
        self._clock = clock
        self.chain = Chain(clock)
        self.questions = Questions(book, self.chain)
        self._wait_open = wait_open
        self._add_names = add_names
        self._refusals: dict[tuple[str, str, str], Record] = {}
        self._written: deque[float] = deque(maxlen=MOST_REFUSALS)

    def __repr__(self) -> str:
        return f"<Desk {self.chain!r} {self.book.register!r}>"

    async def ask(self, wish: Wish) -> Answer:
        """Do what a caller wants, and bring what came of it.

        Raises:
            BridgeError: nothing was sent, or (`OrderUnknown`) nobody knows.
        """
        if wish.kind is Order.REPLY:
            return await self.questions.reply(wish)
        record = self._opened(wish)
        try:
            call = await self._named(record, wish)
            earlier = self.book.register.same(record, unknown_open=UNKNOWN_OPEN in wish.confirm)
        except BridgeError as exc:
            self._refused(record, wish, (exc.code, exc.detail))
            raise
        if earlier is not None:
            wish.record = earlier
            return await again(earlier, wish)
        wish.record = record
        flight = record.flight = Flight(record.fingerprint, [wish.is_there])
        self.book.register.add(record)
        try:
            return await flight.carry(self._through(wish, record, call))
        finally:
            if record.flight is flight:
                record.flight = None

    def heard(self, record: Record, *, arrived: bool) -> None:
        """An answer about an order reached its caller, or did not; that it did can turn out to be wrong."""
        if record.state in (None, State.REFUSED) or (record.heard if arrived else record.left is not None):
            return
        if not arrived and record.heard and record.was_unheard:
            return  # told, taken back and told again: once is enough to know
        record.was_unheard = record.was_unheard or (record.heard and not arrived)
        self.book.note(record, What.TOLD if arrived else What.LEFT, {})

    def _opened(self, wish: Wish) -> Record:
        """The record of a new order."""
        fresh = self.book.fresh_id()
        key = digest(b"key", wish.idempotency.encode()) if wish.idempotency else None
        record = Record(fresh, wish.kind, wish.account, wish.owner, wish.request, wish.fingerprint, key)
        record.own_name = key is not None
        record.wanted = wanted(wish.kind, wish.subject, wish.call.body)
        if wish.kind is Order.MODIFY:
            record.wanted = {**record.wanted, "was": dict(self.book.register.figures_of(wish.subject))}
        return record

    async def _named(self, record: Record, wish: Wish) -> Call:
        """The call as it goes out: a placement's orders have names to be found by, where that is possible.

        Raises:
            BadRequest: it cannot be read as an order.
        """
        if wish.kind is not Order.PLACE:
            return wish.call
        try:
            found = named(wish.call.body, PREFIX + record.id, add=self._add_names)
        except BadRequest:
            await wish.weigh()  # what the rules say counts for more than how it is written
            raise
        record.names, record.own_name = found.names, record.own_name or found.own
        tickets = [ticket.members for ticket in read_tickets(found.body)]
        if not found.names:
            record.wanted = alike(tickets)
        elif len(tickets) == 1:
            record.wanted = {"figures": figures_in(tickets[0])}
        return replace(wish.call, body=found.body)

    async def _through(self, wish: Wish, record: Record, call: Call) -> Answer:
        """From the rules to the end of its questions, or until one of them hangs."""
        try:
            await wish.weigh()
            if wish.kind in ONE_AT_A_TIME:
                await self._turn(wish, record)
            return await self._dealt(wish, record, call)
        except BaseException as exc:
            if record.state is None:
                self._refused(record, wish, reason(exc))
            raise
        finally:
            if record.state is not State.QUESTION:
                self.chain.leave(record)

    async def _turn(self, wish: Wish, record: Record) -> None:
        if wish.kind is Order.PLACE:
            await self._wait_open(wish)
        flight = record.flight
        await self.chain.enter(record, wish.patience(), flight.is_wanted if flight else wish.is_there)

    async def _dealt(self, wish: Wish, record: Record, call: Call) -> Answer:
        read = {**ONE_AT_A_TIME, **AT_ONCE}[wish.kind]
        step = Step(call, wish.asked, What.SENT, self._facts(record, wish), read)
        try:
            answer, verdict = await self.questions.dealing.exchange(record, wish, step)
        finally:
            if wish.kind is Order.CANCEL and record.state not in (None, State.REFUSED):
                self.questions.killed()  # it left, whatever came of it
        return await self.questions.go_through(record, wish, answer, verdict)

    def _facts(self, record: Record, wish: Wish) -> dict[str, object]:
        """All that a later run has to know of it."""
        named = {"account": record.account, "idempotency": record.idempotency, "coids": list(record.names)}
        whose = {"owner": record.owner, "key": wish.label, "request": record.request, "method": wish.call.method}
        more = {"fingerprint": record.fingerprint, "own_name": record.own_name, "wanted": dict(record.wanted)}
        return {"kind": record.kind.value, **named, **whose, **more}

    def _refused(self, record: Record, wish: Wish, said: tuple[str, str]) -> None:
        """Write down why nothing left; the same refusal of the same call is written once a minute."""
        code, why = said
        which = record.owner, record.fingerprint, code
        before = self._refusals.get(which)
        if before is not None and seconds_since(before.updated, self.book.utc()) < SAME_REFUSAL:
            self.book.register.drop(record)
            wish.record = before
            return
        if not self._may_write_refusal():
            self.book.register.drop(record)
            wish.record = None
            return
        wish.record = self._refusals[which] = record
        self.book.note(record, What.REFUSED, {**self._facts(record, wish), "code": code, "error": why})
        self.book.register.refused(record)
        while len(self._refusals) > MOST_REFUSALS:
            del self._refusals[next(iter(self._refusals))]

    def _may_write_refusal(self) -> bool:
        """A thousand in a row and one a second after that: a caller in a loop must not fill the disk."""
        now = self._clock.now()
        if len(self._written) == MOST_REFUSALS and now - self._written[0] < MOST_REFUSALS:
            return False
        self._written.append(now)
        return True
