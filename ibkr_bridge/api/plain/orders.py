"""Orders: those of the journal and of IBKR's list, and one order with its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from aiohttp import web

from ibkr_bridge.api.plain.answers import answer, enum_parameter, integer_parameter
from ibkr_bridge.api.plain.journal import fetch_order, order_view
from ibkr_bridge.api.plain.plain_reader import PlainReader
from ibkr_bridge.errors import BadRequest, BridgeError, GatewayTimeout
from ibkr_bridge.ibkr import reads
from ibkr_bridge.models.orders import OrderDetails, OrderEventEntry, OrderKind, OrderList, OrderOrigin, OrderState
from ibkr_bridge.orders.journal import transitions
from ibkr_bridge.server.app_keys import REDACTOR, profile_of
from ibkr_bridge.translation.numbers import Row
from ibkr_bridge.translation.orders import (
    order_id_of,
    order_of_row,
    orders_made_elsewhere,
    read_order_rows,
    without_old_status,
)

LIST_TIMEOUT_S = 2.0  # seconds: the journal is shown in any case, and nobody waits long for the rest of it
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000  # orders in one response


@dataclass(frozen=True)
class Listing:
    """IBKR's list of orders, or why there is none."""

    rows: tuple[Row, ...]
    listed_at: datetime | None
    problem: str | None


async def list_orders(request: web.Request) -> web.Response:
    """The orders of the last day and those that are open, the latest first; then those that were made elsewhere."""
    state: OrderState | None = enum_parameter(request, "state", OrderState)
    limit = integer_parameter(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    listing = await fetch_listing(request) if state in (None, OrderState.PLACED) else Listing((), None, None)
    return answer(await join_orders(request, listing, state, limit))


async def join_orders(request: web.Request, listing: Listing, state: OrderState | None, limit: int) -> OrderList:
    """The orders of the journal and those of IBKR's list.

    Args:
        listing: IBKR's list.
        state: of the orders of the journal; None for all.
        limit: how many at most.
    """
    repository = profile_of(request).orders.repository
    wanted = transitions.OrderState(state.value) if state is not None else None
    records = await repository.newest(wanted, limit)
    every = await repository.newest(None, MAX_LIMIT)
    journaled_names = {name for record in every for name in (*record.order_ids, *record.coids)}
    view = order_view(request).at_once()
    rows = {number: row for row in reversed(listing.rows) if (number := order_id_of(row)) is not None}
    orders = [view.describe(each, tuple(rows[name] for name in each.order_ids if name in rows)) for each in records]
    children = [rows[number] for record in records for number in record.order_ids[1:] if number in rows]
    orders += [order for row in children if (order := order_of_row(row, OrderOrigin.BRIDGE)) is not None]
    orders += orders_made_elsewhere(listing.rows, journaled_names)
    is_stale = listing.problem is not None
    if is_stale:
        orders = [without_old_status(each) for each in orders]
    return OrderList(orders[:limit], listing.listed_at, is_stale, listing.problem)


async def fetch_listing(request: web.Request) -> Listing:
    """IBKR's list of orders, or the code of the reason why there is none."""
    try:
        async with asyncio.timeout(LIST_TIMEOUT_S):
            fetched = await PlainReader(request).fetch(reads.order_list())
    except TimeoutError:
        return Listing((), None, GatewayTimeout.code)
    except BadRequest:
        raise  # a header of the caller's
    except BridgeError as exc:
        return Listing((), None, exc.code)
    return Listing(tuple(read_order_rows(fetched.value)), fetched.as_of, None)


async def get_order(request: web.Request) -> web.Response:
    """One order with all its events, however old it is."""
    return answer(await read_order(request))


async def read_order(request: web.Request) -> OrderDetails:
    """The order that the path of a request names.

    Raises:
        OrderNotFound: there is none.
        BridgeError: neither the journal nor IBKR can be asked.
    """
    order, record = await fetch_order(request, PlainReader(request), request.match_info["id"])
    events = await _events_of(request, record.id) if record is not None else []
    return OrderDetails(**msgspec.structs.asdict(order), events=events)


async def _events_of(request: web.Request, order_id: str) -> list[OrderEventEntry]:
    redact = request.app[REDACTOR].redact
    entries = await profile_of(request).orders.repository.journal.read_all(order_id)
    return [_event_of(entry, redact) for _, entry, _ in entries]


def _event_of(entry: transitions.JournalEntry, redact: Callable[[str], str]) -> OrderEventEntry:
    """What callers may see of an entry. The rest, such as digests of keys, is for the bridge only."""
    facts = entry.facts

    def text(name: str) -> str | None:
        return redact(str(facts[name])) if facts.get(name) is not None else None

    def texts(name: str) -> list[str]:
        listed = facts.get(name)
        return [redact(str(each)) for each in listed] if isinstance(listed, list) else []

    return OrderEventEntry(
        at=datetime.fromisoformat(entry.at),
        what=entry.what.value,
        state=OrderState(entry.state.value),
        kind=OrderKind(facts["kind"]) if facts.get("kind") else None,
        error=text("error"),
        code=text("code"),
        status=text("status"),
        reply=text("reply"),
        by=text("by"),
        request=text("request"),
        order_ids=texts("order_ids"),
        coids=texts("coids"),
        replies=texts("replies"),
        messages=texts("messages"),
        late=facts.get("late") is True if "late" in facts else None,
    )
