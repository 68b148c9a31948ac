"""The live list of orders, one order, and the trades.

The first call of a session returns an empty list with `snapshot` false. So does every call with `force=true`, which
clears the list. The list may be out of date, and shows at most a thousand orders. A call with `filters` mutes the
stream of orders until a call with `force=true`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.book import Order, Trade
from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.instruments import ONE
from ibkr_bridge.sim.market.lots import to_cents
from ibkr_bridge.sim.market.world import World

COLD: dict[str, Any] = {"orders": [], "snapshot": False}
MAX_ROWS = 1000

FILTERS = {
    "inactive": "Inactive",
    "pending_submit": "PendingSubmit",
    "pre_submitted": "PreSubmitted",
    "submitted": "Submitted",
    "filled": "Filled",
    "pending_cancel": "PendingCancel",
    "pre_cancelled": "PreCancelled",
    "cancelled": "Cancelled",
    "warn_state": "WarnState",
    "sort_by_time": "",
}


def live_orders(world: World, request: MarketRequest) -> MarketResponse:
    """Today's orders of all accounts."""
    filters = [name for name in request.query.get("filters", "").split(",") if name]
    if any(name not in FILTERS for name in filters):  # CamelCase, for instance
        return error_response(500, "Internal Server Error")
    is_forced = request.query.get("force") == "true"
    if world.sessions.brokerage and (filters or is_forced):
        world.sessions.brokerage.is_order_stream_muted = bool(filters)
    listed = _current_list(world, request.now, is_forced=is_forced)
    if listed is None:
        return ok_response(COLD)
    states = {FILTERS[name] for name in filters} - {""}
    account = request.query.get("accountId")
    orders = [each for each in listed if account in (None, each.account) and (not states or each.state in states)]
    return ok_response({"orders": [order_row(world, each) for each in orders[:MAX_ROWS]], "snapshot": True})


def _current_list(world: World, now: float, *, is_forced: bool) -> list[Order] | None:
    """The orders that the list shows now; None while there is no list."""
    session = world.sessions.brokerage
    if session is None:
        return None
    if session.orders_requested_at is None or is_forced:
        session.orders_requested_at, session.orders_listed_at = now, None
        return None
    if now < session.orders_requested_at + world.list_load_delay_s:
        return None
    if session.orders_listed_at is None or now >= session.orders_listed_at + world.list_lag_s:
        session.orders, session.orders_listed_at = world.book.orders(now), now
    return session.orders


def status(world: World, request: MarketRequest) -> MarketResponse:
    """One order; 503 if IBKR no longer has it."""
    number = request.parts["order"]
    order = world.book.find(int(number), request.now) if number.isdigit() else None
    return error_response(503, "Service Unavailable") if order is None else ok_response(_status_row(world, order))


def trades(world: World, request: MarketRequest) -> MarketResponse:
    """Today's executions."""
    world.book.orders(request.now)
    return ok_response([trade_row(world, trade) for trade in world.book.trades])


def order_row(world: World, order: Order) -> dict[str, Any]:
    """One order as the live list and the stream show it."""
    instrument = world.quotes.instrument(order.conid)
    remaining = order.size - order.filled if order.is_working else Decimal(0)
    return {
        "acct": order.account,
        "account": order.account,
        "conidex": str(order.conid),
        "conid": order.conid,
        "orderId": order.number,
        "cashCcy": instrument.currency if instrument else "USD",
        "sizeAndFills": f"{order.filled}/{order.size}",
        "orderDesc": f"{order.side} {order.size} {order.kind} {order.tif}",
        "ticker": instrument.symbol if instrument else "",
        "companyName": instrument.name if instrument else "",
        "secType": instrument.kind if instrument else "",
        "listingExchange": instrument.exchange if instrument else "",
        "remainingQuantity": remaining,
        "filledQuantity": order.filled,
        "totalSize": order.size,
        "status": order.state,
        "order_ccp_status": order.state,
        "origOrderType": order.kind,
        "orderType": order.kind,
        "supportsTaxOpt": "1",
        "lastExecutionTime": world.calendar.utc_at(order.at).strftime("%y%m%d%H%M%S"),
        "lastExecutionTime_r": world.calendar.epoch_ms(order.at),
        "side": order.side,
        "timeInForce": order.tif,
        "price": "" if order.price is None else str(order.price),
        "auxPrice": "" if order.stop is None else str(order.stop),
        "avgPrice": str(order.average) if order.filled else "",
        "order_ref": order.coid,
        "bgColor": "#FFFFFF",
        "fgColor": "#0000CC",
    } | ({"parentId": order.parent} if order.parent else {})


def _status_row(world: World, order: Order) -> dict[str, Any]:
    instrument = world.quotes.instrument(order.conid)
    return {
        "order_id": order.number,
        "request_id": "1",
        "account": order.account,
        "conid": order.conid,
        "conidex": str(order.conid),
        "symbol": instrument.symbol if instrument else "",
        "side": order.side[:1],
        "order_type": order.kind,
        "size": order.size - order.filled,
        "total_size": order.size,
        "cum_fill": order.filled,
        "average_price": str(order.average) if order.filled else "",
        "limit_price": "" if order.price is None else str(order.price),
        "stop_price": "" if order.stop is None else str(order.stop),
        "currency": instrument.currency if instrument else "USD",
        "tif": order.tif,
        "order_status": order.state,
        "order_ccp_status": order.state,
        "order_not_editable": not order.is_working,
        "cannot_cancel_order": not order.is_working,
        "order_time": world.calendar.utc_at(order.at).strftime("%y%m%d%H%M%S"),
        "order_ref": order.coid,
    }


def trade_row(world: World, trade: Trade) -> dict[str, Any]:
    """One trade as its list and the stream show it."""
    order, instrument = trade.order, world.quotes.instrument(trade.order.conid)
    multiplier = instrument.multiplier if instrument else ONE
    exchange = instrument.exchange if instrument else ""
    verb = "Bought" if order.side == "BUY" else "Sold"
    return {
        "execution_id": f"0000e0d5.{trade.number:08x}.01.01",
        "symbol": instrument.symbol if instrument else "",
        "supports_tax_opt": "1",
        "side": order.side[:1],
        "order_description": f"{verb} {trade.size} @ {trade.price} on {exchange}",
        "order_ref": order.coid,
        "order_id": order.number,
        "trade_time": world.calendar.utc_at(trade.at).strftime("%Y%m%d-%H:%M:%S"),
        "trade_time_r": world.calendar.epoch_ms(trade.at),
        "size": trade.size,
        "price": str(trade.price),
        "submitter": "simulated",
        "exchange": exchange,
        "commission": str(float(trade.commission)),
        "net_amount": to_cents(trade.size * trade.price * multiplier),
        "account": order.account,
        "accountCode": order.account,
        "account_allocation_name": order.account,
        "company_name": instrument.name if instrument else "",
        "contract_description_1": instrument.description if instrument else "",
        "sec_type": instrument.kind if instrument else "",
        "listing_exchange": exchange,
        "conid": order.conid,
        "conidEx": str(order.conid),
    }


ROUTES = (
    Route("GET", "/iserver/account/orders", live_orders, RequiredSession.ACCOUNTS, cold=COLD),
    Route("GET", "/iserver/account/order/status/{order}", status, RequiredSession.ACCOUNTS),
    Route("GET", "/iserver/account/trades", trades, RequiredSession.ACCOUNTS, cold=[]),
)
