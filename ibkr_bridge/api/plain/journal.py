"""Orders of the journal, and of IBKR's list, as the plain API shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

import msgspec
from aiohttp import web

from ibkr_bridge.api.plain.plain_reader import PlainReader, if_soon
from ibkr_bridge.api.plain.symbol_resolution import directory_of
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import OrderNotFound, UpstreamError
from ibkr_bridge.ibkr import reads
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.models.orders import OpenQuestion, Order, OrderKind, OrderOrigin, OrderState
from ibkr_bridge.orders.journal import transitions
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.app_keys import CLOCK, REDACTOR, profile_of
from ibkr_bridge.translation.numbers import Row
from ibkr_bridge.translation.order_answers import read_question, read_warnings
from ibkr_bridge.translation.orders import (
    JournaledOrder,
    order_id_of,
    order_of,
    order_of_row,
    row_of_status,
    without_old_status,
)

MAX_SEARCHED = 1000  # orders of the journal that are searched for a number of IBKR's
NUMBER_DIGITS = 18  # of IBKR's order numbers at most


def describe(request: web.Request, record: OrderRecord, rows: tuple[Row, ...] = ()) -> Order:
    """An order of the journal, with what rows of IBKR's know of it."""
    return order_view(request).describe(record, rows)


def order_view(request: web.Request) -> OrderView:
    """What describes the orders of the profile of a request."""
    return OrderView(profile_of(request), request.app[REDACTOR].redact, request.app[CLOCK])


@dataclass(frozen=True)
class RecentTickets:
    """Tickets by IBKR's number of the order."""

    of_orders: Mapping[str, Row]
    """As they were placed."""
    of_changes: Mapping[str, Row]
    """Of the latest change of each."""


@dataclass(frozen=True)
class OrderView:
    """Describes the orders of one profile."""

    profile: Profile
    redact: Callable[[str], str]
    clock: Clock
    _at_once: RecentTickets | None = None

    def describe(self, record: OrderRecord, rows: tuple[Row, ...] = ()) -> Order:
        """An order of the journal, with what rows of IBKR's know of it."""
        answer = record.latest_response.as_response.body if record.latest_response is not None else b""
        order = order_of(
            JournaledOrder(
                id=record.id,
                kind=OrderKind(record.operation.value),
                state=OrderState((record.state or transitions.OrderState.SENDING).value),
                account=record.account,
                coids=record.coids,
                order_ids=record.order_ids or self._subject_of(record),
                ibkr_status=record.ibkr_status,
                ticket=self.ticket_of(record),
                error=self.redact(record.error) if record.error else None,
                created=record.created,
                updated=record.updated,
                question=self._question_of(record, answer),
                warnings=read_warnings(answer) if record.state is transitions.OrderState.PLACED else (),
            ),
            rows,
        )
        return self._with_instrument(order)

    def _with_instrument(self, order: Order) -> Order:
        """The order with what is known of its instrument, where neither the journal nor IBKR's row says it."""
        instrument = directory_of(self.profile).describe([order.conid]).get(order.conid) if order.conid else None
        if instrument is None:
            return order
        return msgspec.structs.replace(
            order,
            symbol=order.symbol or instrument.symbol,
            asset_class=order.asset_class or instrument.asset_class,
            currency=order.currency or instrument.currency,
        )

    def ticket_of(self, record: OrderRecord) -> Row:
        """The ticket of an order as it is after its changes; of a change, with what it leaves as it was."""
        number = next(iter(record.order_ids or self._subject_of(record)), None)
        own = record.tickets[0] if record.tickets else {}
        if number is None:
            return own
        if record.operation is OrderOperation.PLACE:
            return {**own, **self._tickets.of_changes.get(number, {})}
        return {**self._tickets.of_orders.get(number, {}), **own}

    @property
    def _tickets(self) -> RecentTickets:
        """The tickets of the latest orders. A list of a thousand orders must not look for each among a thousand."""
        if self._at_once is not None:
            return self._at_once
        return self._read_tickets()

    def at_once(self) -> OrderView:
        """A view for many orders at a time, which are described as they are now."""
        return replace(self, _at_once=self._read_tickets())

    def _read_tickets(self) -> RecentTickets:
        of_orders: dict[str, Row] = {}
        of_changes: dict[str, Row] = {}
        for each in islice(self.profile.orders.repository.index.newest_first(), MAX_SEARCHED):
            if not each.tickets:
                continue
            if each.operation is not OrderOperation.PLACE and each.state is transitions.OrderState.PLACED:
                for number in self._subject_of(each):
                    of_changes.setdefault(number, each.tickets[0])
            if each.operation is OrderOperation.PLACE:
                for number in each.order_ids[:1]:
                    of_orders.setdefault(number, each.tickets[0])
        return RecentTickets(of_orders, of_changes)

    def _subject_of(self, record: OrderRecord) -> tuple[str, ...]:
        """IBKR's number of the order that a change or a cancel is about."""
        number = record.match_criteria.get("order")
        return (str(number),) if number and record.operation is not OrderOperation.PLACE else ()

    def describe_row(self, row: Row) -> Order | None:
        """A row of IBKR's as an order, with what the journal knows of it; None if it has no number."""
        number = order_id_of(row)
        if number is None:
            return None
        recent = [*islice(self.profile.orders.repository.index.newest_first(), MAX_SEARCHED)]
        record = placement_of(number, recent)
        if record is not None and number not in record.order_ids[:1]:
            return order_of_row(row, OrderOrigin.BRIDGE)
        coid = row.get("order_ref")  # IBKR's stream may be faster than its answer, which brings the number
        if record is None and coid:
            placed = (each for each in recent if each.operation is OrderOperation.PLACE and not each.order_ids)
            record = next((each for each in placed if coid in each.coids), None)
        return order_of_row(row) if record is None else self.describe(record, (row,))

    def _question_of(self, record: OrderRecord, answer: bytes) -> OpenQuestion | None:
        if record.state is not transitions.OrderState.QUESTION:
            return None
        return read_question(answer, next(iter(record.reply_ids), None), self._expires_at(record))

    def _expires_at(self, record: OrderRecord) -> datetime | None:
        """When the bridge declines the question of an order; None if it no longer waits for a reply."""
        pending = self.profile.orders.submitter.lock.pending
        if pending is None or pending.record is not record:
            return None
        return self.clock.utc() + timedelta(seconds=max(0.0, pending.expires_at - self.clock.now()))


async def find_record(request: web.Request, order_id: str) -> OrderRecord | None:
    """The order of the journal with an id of the bridge, or with IBKR's number; None if there is none.

    Of a bracket, only the parent is the order of the journal. The numbers of its children are orders of their own.
    """
    repository = profile_of(request).orders.repository
    record = repository.index.find(order_id)
    if record is None and not is_number(order_id):
        record = OrderRecord.from_entries([entry for _, entry, _ in await repository.journal.read_all(order_id)])
    if record is None:
        placed = await find_placement(request, order_id)
        record = placed if placed is not None and order_id in placed.order_ids[:1] else None
    return record if record is not None and record.state is not None else None


async def find_placement(request: web.Request, number: str) -> OrderRecord | None:
    """The placement that made the order with IBKR's number, be it the parent or a child; None if there is none."""
    return placement_of(number, await profile_of(request).orders.repository.newest(None, MAX_SEARCHED))


def placement_of(number: str, records: Iterable[OrderRecord]) -> OrderRecord | None:
    """The first placement that made the order with IBKR's number. Changes and cancels have the number too."""
    placed = (each for each in records if each.operation is OrderOperation.PLACE)
    return next((each for each in placed if number in each.order_ids), None)


def is_number(order_id: str) -> bool:
    """Whether an id is one of IBKR's numbers."""
    return order_id.isascii() and order_id.isdigit() and len(order_id) <= NUMBER_DIGITS


async def fetch_row(reader: PlainReader, order_id: str) -> Row | None:
    """The row of one order, with IBKR's number; None if IBKR does not show it.

    Raises:
        BridgeError: IBKR was not asked, so nobody knows whether it has the order.
    """
    try:
        return row_of_status((await reader.fetch(reads.order_status(order_id))).value)
    except (OrderNotFound, UpstreamError):  # of an order that it no longer has, IBKR says 503 and no more
        return None


async def fetch_order(request: web.Request, reader: PlainReader, order_id: str) -> tuple[Order, OrderRecord | None]:
    """One order with what IBKR knows of it now, and its record if the journal has one.

    Raises:
        OrderNotFound: there is no such order.
        BridgeError: the journal does not have it, and IBKR cannot be asked.
    """
    record = await find_record(request, order_id)
    if record is not None:
        number = next(iter(record.order_ids), None)
        row = await if_soon(fetch_row(reader, number)) if number is not None and is_number(number) else None
        if row is None:
            return without_old_status(describe(request, record)), record
        return describe(request, record, (row,)), record
    row = await fetch_row(reader, order_id) if is_number(order_id) else None
    order = order_view(request).describe_row(row) if row is not None else None
    if order is None:
        raise OrderNotFound("there is no such order")
    return order, None
