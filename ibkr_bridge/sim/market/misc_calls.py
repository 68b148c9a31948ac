"""The smaller rooms: notices, watchlists, alerts, scanners and performance. Simple, but of the right shape."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.holdings import worth
from ibkr_bridge.sim.market.quotes import INSTRUMENTS
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


def notices(world: World, ask: MarketRequest) -> MarketResponse:
    """What IBKR wants a person to read."""
    read = world.kept.setdefault("read", {})
    return ok_response([each | {"R": int(each["ID"] in read)} for each in NOTICES])


def unread(world: World, ask: MarketRequest) -> MarketResponse:
    """How many notices nobody has read."""
    return ok_response({"BN": len(NOTICES) - len(world.kept.get("read", {}))})


def read_notice(world: World, ask: MarketRequest) -> MarketResponse:
    """Mark one notice as read."""
    world.kept.setdefault("read", {})[ask.parts["notice"]] = True
    return ok_response({"V": 1, "T": 5, "P": {"R": 1, "ID": ask.parts["notice"]}})


def watchlists(world: World, ask: MarketRequest) -> MarketResponse:
    """The user's lists."""
    lists = world.kept.get("watchlists", {}).values()
    rows = [{"is_open": False, "read_only": False, "name": each["name"], "id": each["id"]} for each in lists]
    return ok_response(
        {"data": {"scanners_only": False, "system_lists": [], "show_scanners": False, "user_lists": rows}}
    )


def watchlist(world: World, ask: MarketRequest) -> MarketResponse:
    """One list with its rows; the first answer has none."""
    found = world.kept.get("watchlists", {}).get(ask.query.get("id", ""))
    if found is None:
        return error_response(503, "Service Unavailable")
    return ok_response(found | {"instruments": []} if world.is_first(f"watchlist {found['id']}") else found)


def keep_watchlist(world: World, ask: MarketRequest) -> MarketResponse:
    """Make a list; one of the same id is overwritten without a word."""
    form = ask.form
    made: dict[str, Any] = {
        "id": str(form.get("id", "")),
        "name": str(form.get("name", "")),
        "hash": "1",
        "readOnly": False,
    }
    world.kept.setdefault("watchlists", {})[made["id"]] = made | {"instruments": form.get("rows", [])}
    return ok_response(made)


def drop_watchlist(world: World, ask: MarketRequest) -> MarketResponse:
    """Forget a list."""
    if world.kept.get("watchlists", {}).pop(ask.query.get("id", ""), None) is None:
        return error_response(500, "Internal Server Error")
    return ok_response({"data": {"deleted": ask.query["id"]}, "action": "context", "MID": "1"})


def alerts(world: World, ask: MarketRequest) -> MarketResponse:
    """The alerts of an account."""
    return ok_response(
        [each for each in world.kept.get("alerts", {}).values() if each["account"] == ask.parts["account"]]
    )


def keep_alert(world: World, ask: MarketRequest) -> MarketResponse:
    """Make an alert."""
    kept = world.kept.setdefault("alerts", {})
    number = len(kept) + 1
    name = str(ask.form.get("alertName", ""))
    kept[str(number)] = {"order_id": number, "account": ask.parts["account"], "alert_name": name, "alert_active": 1}
    return ok_response(
        {"request_id": None, "order_id": number, "success": True, "text": "Submitted", "order_status": None}
    )


def alert(world: World, ask: MarketRequest) -> MarketResponse:
    """One alert; an unknown one is an error inside a 200."""
    found = world.kept.get("alerts", {}).get(ask.parts["alert"])
    return error_response(200, "Alert not found") if found is None else ok_response(found)


def drop_alert(world: World, ask: MarketRequest) -> MarketResponse:
    """Forget an alert."""
    if world.kept.get("alerts", {}).pop(ask.parts["alert"], None) is None:
        return error_response(200, "Alert not found")
    return ok_response({"request_id": 1, "order_id": int(ask.parts["alert"]), "success": True, "text": "Deleted"})


def scan(world: World, ask: MarketRequest) -> MarketResponse:
    """What a scanner finds."""
    rows = [{"server_id": str(n), "symbol": each.symbol, "con_id": each.conid} for n, each in enumerate(INSTRUMENTS)]
    return ok_response({"contracts": rows, "scan_data_column_name": "Chg%"})


def performance(world: World, ask: MarketRequest) -> MarketResponse:
    """How accounts did over one of the allowed periods."""
    period = str(ask.form.get("period", "1D"))
    if period not in PERIODS:
        return error_response(400, f"Invalid period: {period}")
    accounts = [str(each) for each in ask.form.get("acctIds", [])]
    rows = [{"id": name, "idType": "acctid", "navs": [worth(world, name, ask.now)]} for name in accounts]
    day = world.calendar.at(ask.now).strftime("%Y%m%d")
    nav = {"data": rows, "freq": "D", "dates": [day]}
    return ok_response(
        {"currencyType": "base", "rc": 0, "nav": nav, "nd": 1, "included": accounts, "id": "getPerformanceData"}
    )


def all_periods(world: World, ask: MarketRequest) -> MarketResponse:
    """The same for every period, under the account's id."""
    accounts = [str(each) for each in ask.form.get("acctIds", [])]
    return ok_response({"currencyType": "base", "rc": 0, **{name: {"periods": list(PERIODS)} for name in accounts}})


def transactions(world: World, ask: MarketRequest) -> MarketResponse:
    """Past transactions of an instrument."""
    if not all(ask.form.get(name) for name in ("acctIds", "conids", "currency")):
        return error_response(400, "Bad Request: acctIds, conids and currency are required")
    return ok_response(
        {"rc": 0, "currency": ask.form["currency"], "transactions": [], "nd": 1, "id": "getTransactions"}
    )


def _said(body: object) -> Any:
    return lambda world, ask: ok_response(body)


ROUTES = (
    Route("GET", "/fyi/unreadnumber", unread),
    Route("GET", "/fyi/notifications", notices),
    Route("GET", "/fyi/notifications/more", _said([])),
    Route("PUT", "/fyi/notifications/{notice}", read_notice),
    Route("GET", "/fyi/settings", _said([{"FC": "MF", "FN": "Fund", "FD": "Notices", "H": 0, "A": 1}])),
    Route("POST", "/fyi/settings/{code}", _said({"V": 1, "T": 10})),
    Route("GET PUT", "/fyi/disclaimer/{code}", _said({"FC": "MF", "DT": "Read this."})),
    Route("GET", "/fyi/deliveryoptions", _said({"E": [], "M": 1})),
    Route("GET", "/iserver/watchlists", watchlists, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/watchlist", watchlist, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/watchlist", keep_watchlist, RequiredSession.BROKERAGE),
    Route("DELETE", "/iserver/watchlist", drop_watchlist, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/account/{account}/alerts", alerts, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/account/{account}/alert", keep_alert, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/account/alert/{alert}", alert, RequiredSession.BROKERAGE),
    Route("DELETE", "/iserver/account/{account}/alert/{alert}", drop_alert, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/scanner/params", _said(SCANS), RequiredSession.BROKERAGE),
    Route("POST", "/iserver/scanner/run", scan, RequiredSession.BROKERAGE),
    Route("POST", "/pa/performance", performance),
    Route("POST", "/pa/allperiods", all_periods),
    Route("POST", "/pa/transactions", transactions),
)
