"""Notices, watchlists, alerts, scanners and performance: simple, but with the right shape."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
    unknown_account_response,
)
from ibkr_bridge.sim.market.instruments import INSTRUMENTS, STOCK
from ibkr_bridge.sim.market.world import World

PERIODS = ("1D", "7D", "MTD", "1M", "YTD", "1Y")

NOTICES: list[dict[str, Any]] = [
    {"R": 0, "D": "1718640000.0", "MS": "A notice", "MD": "Nothing is wrong.", "ID": "1", "HT": 0, "FC": "MF"}
]

SCANS: dict[str, Any] = {
    "scan_type_list": [{"display_name": "Top % Gainers", "code": "TOP_PERC_GAIN", "instruments": ["STK"]}],
    "instrument_list": [{"display_name": "US Stocks", "type": "STK", "filters": ["priceAbove"]}],
    "filter_list": [{"group": "price", "display_name": "Price Above", "code": "priceAbove", "type": "non-range"}],
    "location_tree": [{"display_name": "US Stocks", "type": "STK.US", "locations": []}],
}


def notices(world: World, request: MarketRequest) -> MarketResponse:
    """IBKR's notices to the user."""
    read = world.stored.setdefault("read", {})
    return ok_response([each | {"R": int(each["ID"] in read)} for each in NOTICES])


def unread_count(world: World, request: MarketRequest) -> MarketResponse:
    """The number of notices that are not marked as read."""
    return ok_response({"BN": len(NOTICES) - len(world.stored.get("read", {}))})


def mark_notice_read(world: World, request: MarketRequest) -> MarketResponse:
    """Mark one notice as read."""
    world.stored.setdefault("read", {})[request.parts["notice"]] = True
    return ok_response({"V": 1, "T": 5, "P": {"R": 1, "ID": request.parts["notice"]}})


def watchlists(world: World, request: MarketRequest) -> MarketResponse:
    """The user's watchlists, without their rows."""
    lists = world.stored.get("watchlists", {}).values()
    rows = [{"is_open": False, "read_only": False, "name": each["name"], "id": each["id"]} for each in lists]
    return ok_response(
        {"data": {"scanners_only": False, "system_lists": [], "show_scanners": False, "user_lists": rows}}
    )


def watchlist(world: World, request: MarketRequest) -> MarketResponse:
    """One watchlist with its rows; the first response has none."""
    watchlist = world.stored.get("watchlists", {}).get(request.query.get("id", ""))
    if watchlist is None:
        return error_response(503, "Service Unavailable")
    return ok_response(
        watchlist | {"instruments": []} if world.is_first_request(f"watchlist {watchlist['id']}") else watchlist
    )


def save_watchlist(world: World, request: MarketRequest) -> MarketResponse:
    """Store a watchlist; one with the same id is overwritten without a warning."""
    form = request.form
    watchlist: dict[str, Any] = {
        "id": str(form.get("id", "")),
        "name": str(form.get("name", "")),
        "hash": "1",
        "readOnly": False,
    }
    world.stored.setdefault("watchlists", {})[watchlist["id"]] = watchlist | {"instruments": form.get("rows", [])}
    return ok_response(watchlist)


def delete_watchlist(world: World, request: MarketRequest) -> MarketResponse:
    """Delete a watchlist."""
    if world.stored.get("watchlists", {}).pop(request.query.get("id", ""), None) is None:
        return error_response(500, "Internal Server Error")
    return ok_response({"data": {"deleted": request.query["id"]}, "action": "context", "MID": "1"})


def alerts(world: World, request: MarketRequest) -> MarketResponse:
    """The alerts of an account."""
    return ok_response(
        [each for each in world.stored.get("alerts", {}).values() if each["account"] == request.parts["account"]]
    )


def save_alert(world: World, request: MarketRequest) -> MarketResponse:
    """Store an alert."""
    alerts = world.stored.setdefault("alerts", {})
    number = len(alerts) + 1
    name = str(request.form.get("alertName", ""))
    alerts[str(number)] = {
        "order_id": number,
        "account": request.parts["account"],
        "alert_name": name,
        "alert_active": 1,
    }
    return ok_response(
        {"request_id": None, "order_id": number, "success": True, "text": "Submitted", "order_status": None}
    )


def alert(world: World, request: MarketRequest) -> MarketResponse:
    """One alert; for an unknown one an error inside a 200."""
    alert = world.stored.get("alerts", {}).get(request.parts["alert"])
    return error_response(200, "Alert not found") if alert is None else ok_response(alert)


def delete_alert(world: World, request: MarketRequest) -> MarketResponse:
    """Delete an alert."""
    if world.stored.get("alerts", {}).pop(request.parts["alert"], None) is None:
        return error_response(200, "Alert not found")
    return ok_response({"request_id": 1, "order_id": int(request.parts["alert"]), "success": True, "text": "Deleted"})


def scan(world: World, request: MarketRequest) -> MarketResponse:
    """The result of a scanner: all stocks."""
    found = [each for each in INSTRUMENTS if each.kind == STOCK]
    rows = [{"server_id": str(n), "symbol": each.symbol, "con_id": each.conid} for n, each in enumerate(found)]
    return ok_response({"contracts": rows, "scan_data_column_name": "Chg%"})


def performance(world: World, request: MarketRequest) -> MarketResponse:
    """The performance of accounts over one of the allowed periods."""
    period = str(request.form.get("period", "1D"))
    if period not in PERIODS:
        return error_response(400, f"Invalid period: {period}")
    accounts = [str(each) for each in request.form.get("acctIds", [])]
    if (unknown := world.find_unknown(accounts)) is not None:
        return unknown_account_response(unknown)
    values = {name: world.accounting.statement(name, request.now).base.net_liquidation for name in accounts}
    rows = [{"id": name, "idType": "acctid", "navs": [value]} for name, value in values.items()]
    day = world.calendar.utc_at(request.now).strftime("%Y%m%d")
    nav = {"data": rows, "freq": "D", "dates": [day]}
    return ok_response(
        {"currencyType": "base", "rc": 0, "nav": nav, "nd": 1, "included": accounts, "id": "getPerformanceData"}
    )


def all_periods(world: World, request: MarketRequest) -> MarketResponse:
    """The performance over every period, under the account's id."""
    accounts = [str(each) for each in request.form.get("acctIds", [])]
    if (unknown := world.find_unknown(accounts)) is not None:
        return unknown_account_response(unknown)
    return ok_response({"currencyType": "base", "rc": 0, **{name: {"periods": list(PERIODS)} for name in accounts}})


def transactions(world: World, request: MarketRequest) -> MarketResponse:
    """Past transactions of an instrument."""
    if not all(request.form.get(name) for name in ("acctIds", "conids", "currency")):
        return error_response(400, "Bad Request: acctIds, conids and currency are required")
    if (unknown := world.find_unknown(map(str, request.form["acctIds"]))) is not None:
        return unknown_account_response(unknown)
    return ok_response(
        {"rc": 0, "currency": request.form["currency"], "transactions": [], "nd": 1, "id": "getTransactions"}
    )


def _constant(body: object) -> Any:
    return lambda world, request: ok_response(body)


ROUTES = (
    Route("GET", "/fyi/unreadnumber", unread_count),
    Route("GET", "/fyi/notifications", notices),
    Route("GET", "/fyi/notifications/more", _constant([])),
    Route("PUT", "/fyi/notifications/{notice}", mark_notice_read),
    Route("GET", "/fyi/settings", _constant([{"FC": "MF", "FN": "Fund", "FD": "Notices", "H": 0, "A": 1}])),
    Route("POST", "/fyi/settings/{code}", _constant({"V": 1, "T": 10})),
    Route("GET PUT", "/fyi/disclaimer/{code}", _constant({"FC": "MF", "DT": "Read this."})),
    Route("GET", "/fyi/deliveryoptions", _constant({"E": [], "M": 1})),
    Route("GET", "/iserver/watchlists", watchlists, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/watchlist", watchlist, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/watchlist", save_watchlist, RequiredSession.BROKERAGE),
    Route("DELETE", "/iserver/watchlist", delete_watchlist, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/account/{account}/alerts", alerts, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/account/{account}/alert", save_alert, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/account/alert/{alert}", alert, RequiredSession.BROKERAGE),
    Route("DELETE", "/iserver/account/{account}/alert/{alert}", delete_alert, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/scanner/params", _constant(SCANS), RequiredSession.BROKERAGE),
    Route("POST", "/iserver/scanner/run", scan, RequiredSession.BROKERAGE),
    Route("POST", "/pa/performance", performance),
    Route("POST", "/pa/allperiods", all_periods),
    Route("POST", "/pa/transactions", transactions),
)
