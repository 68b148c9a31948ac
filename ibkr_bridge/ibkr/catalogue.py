"""All we know of each IBKR endpoint, one row each; no path is named anywhere else.

A row says what a call does (`effect`), which layer of the session it needs (`layer`), which part of an order's life it
is (`order`), how often IBKR takes it (`pace`), how long and until what its answer may be told again (`fresh`, `holds`),
what wants to be asked first (`needs`) and for what it is that itself (`meets`), how long it may take (`within`), how its
answer is made (`made`), how much may be asked for at once (`most`). Scope, guard, session gate, pacing, sharing, memory,
pre-flight and log lines read it. What is not listed gets the cautious row: a GET reads and is asked anew each
time, any other method trades. Pure: paths in, rows out.

Where each row is from: OAS is IBKR's OpenAPI document 2.28.0; SW2 the older Swagger document of the Gateway; JAR those
found inside the Gateway; GUIDE the pages "Client Portal API v1" and "Web API" of IBKR's campus; CLIENTS what maintained
clients call and IBKR answers; OURS what the bridge offers besides. Every `pace` and every need is the GUIDE's, unless it
says otherwise. `fresh` and `within` are ours: an answer is told again no longer than its pace, where there is one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

from ibkr_bridge.ibkr.endpoint import UNKNOWN, Effect, Endpoint, Holds, Layer, Made, Need, Order, Pace

READ, CHANGE, TRADE, SESSION, COSTS_MONEY = Effect.READ, Effect.CHANGE, Effect.TRADE, Effect.SESSION, Effect.COSTS_MONEY
LOGIN, BROKERAGE = Layer.LOGIN, Layer.BROKERAGE
ACCOUNT, HISTORY, MARKET, WORLD = Holds.ACCOUNT, Holds.HISTORY, Holds.MARKET, Holds.WORLD
EACH_SECOND, IN_5_S = Pace(1, 1.0, "GUIDE"), Pace(1, 5.0, "GUIDE")
IN_15_MIN, IN_15_MIN_TOO = Pace(1, 900.0, "GUIDE"), Pace(1, 900.0, "CLIENTS")
TEN_A_SECOND, EACH_MINUTE = Pace(10, 1.0, "GUIDE"), Pace(1, 60.0, "GUIDE")
HOURS = 6 * 3600.0
SLOW = 30.0
SNAPSHOT_MOST = (("conids", 100), ("fields", 50))

# fmt: off
CATALOGUE: tuple[Endpoint, ...] = (  # the first row that fits counts: literal segments stand above variable ones
    # -- the session: asking is free, opening is rationed
    Endpoint("GET",   "/tickle",                                             READ,    LOGIN,     "CLIENTS", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("POST",  "/tickle",                                             READ,    LOGIN,     "OAS", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/iserver/auth/status",                                READ,    LOGIN,     "CLIENTS"),
    Endpoint("POST",  "/iserver/auth/status",                                READ,    LOGIN,     "OAS"),
    Endpoint("POST",  "/iserver/auth/ssodh/init",                            SESSION, LOGIN,     "OAS"),
    Endpoint("POST",  "/iserver/reauthenticate",                             SESSION, LOGIN,     "SW2"),
    Endpoint("GET",   "/iserver/reauthenticate",                             SESSION, LOGIN,     "CLIENTS"),
    Endpoint("GET",   "/sso/validate",                                       READ,    LOGIN,     "OAS", pace=EACH_MINUTE),  # the keeper's own; callers never reach /sso
    # -- orders
    Endpoint("GET",   "/iserver/account/orders",                             READ,    BROKERAGE, "OAS", pace=IN_5_S, fresh=5.0, needs=(Need.ACCOUNTS, Need.TWICE), made=Made.FILTERED),
    Endpoint("GET",   "/iserver/account/order/status/{orderId}",             READ,    BROKERAGE, "OAS", needs=(Need.ACCOUNTS,)),
    Endpoint("GET",   "/iserver/account/trades",                             READ,    BROKERAGE, "OAS", pace=IN_5_S, fresh=5.0, needs=(Need.ACCOUNTS,)),
    Endpoint("POST",  "/iserver/account/{accountId}/orders/whatif",          READ,    BROKERAGE, "OAS", Order.PREVIEW, needs=(Need.ACCOUNTS, Need.QUOTE)),
    Endpoint("POST",  "/iserver/account/{accountId}/order/whatif",           READ,    BROKERAGE, "SW2", Order.PREVIEW, needs=(Need.ACCOUNTS, Need.QUOTE)),
    Endpoint("POST",  "/iserver/account/{accountId}/orders",                 TRADE,   BROKERAGE, "OAS", Order.PLACE),
    Endpoint("POST",  "/iserver/account/{accountId}/order",                  TRADE,   BROKERAGE, "SW2", Order.PLACE),
    Endpoint("POST",  "/iserver/account/orders/{faGroup}",                   TRADE,   BROKERAGE, "SW2", Order.PLACE),
    Endpoint("POST",  "/iserver/account/{accountId}/order/{orderId}",        TRADE,   BROKERAGE, "OAS", Order.MODIFY, needs=(Need.ACCOUNTS,)),
    Endpoint("DELETE","/iserver/account/{accountId}/order/{orderId}",        TRADE,   BROKERAGE, "OAS", Order.CANCEL, needs=(Need.ACCOUNTS,)),
    Endpoint("POST",  "/iserver/reply/{replyId}",                            TRADE,   BROKERAGE, "OAS", Order.REPLY),
    Endpoint("POST",  "/iserver/notification",                               TRADE,   BROKERAGE, "OAS", Order.ANSWER),
    Endpoint("POST",  "/iserver/questions/suppress",                         TRADE,   BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/questions/suppress/reset",                   TRADE,   BROKERAGE, "OAS"),
    # -- accounts
    Endpoint("GET",   "/iserver/accounts",                                   READ,    BROKERAGE, "OAS", fresh=5.0, holds=ACCOUNT, meets=Need.ACCOUNTS),
    Endpoint("POST",  "/iserver/account",                                    CHANGE,  BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/dynaccount",                                 CHANGE,  BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/account/search/{pattern}",                   READ,    BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/account/pnl/partitioned",                    READ,    BROKERAGE, "OAS", pace=IN_5_S, fresh=5.0),
    Endpoint("GET",   "/iserver/account/{accountId}/summary",                READ,    BROKERAGE, "OAS", fresh=2.0, needs=(Need.ACCOUNTS,)),
    Endpoint("GET",   "/iserver/account/{accountId}/summary/{part}",         READ,    BROKERAGE, "OAS", fresh=2.0, needs=(Need.ACCOUNTS,)),
    Endpoint("GET",   "/iserver/account/mta",                                READ,    BROKERAGE, "OAS", fresh=2.0, holds=ACCOUNT),
    Endpoint("GET",   "/iserver/account/alert/{alertId}",                    READ,    BROKERAGE, "OAS", fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/iserver/account/{accountId}/alerts",                 READ,    BROKERAGE, "OAS", fresh=2.0, holds=ACCOUNT),
    Endpoint("POST",  "/iserver/account/{accountId}/alert",                  CHANGE,  BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/account/{accountId}/alert/activate",         CHANGE,  BROKERAGE, "OAS"),
    Endpoint("DELETE","/iserver/account/{accountId}/alert/{alertId}",        CHANGE,  BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/account/allocation/{what}",                  READ,    BROKERAGE, "OAS", fresh=2.0, holds=ACCOUNT),
    Endpoint("POST",  "/iserver/account/allocation/group/single",            READ,    BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/account/allocation/group/delete",            TRADE,   BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/account/allocation/{what}",                  TRADE,   BROKERAGE, "OAS"),
    Endpoint("PUT",   "/iserver/account/allocation/{what}",                  TRADE,   BROKERAGE, "OAS"),
    # -- contracts and market data
    Endpoint("GET",   "/iserver/secdef/strikes",                             READ,    BROKERAGE, "OAS", fresh=HOURS, holds=WORLD, needs=(Need.SEARCH,)),
    Endpoint("GET",   "/iserver/secdef/info",                                READ,    BROKERAGE, "OAS", fresh=HOURS, holds=WORLD, needs=(Need.SEARCH,)),
    Endpoint("GET",   "/iserver/secdef/search",                              READ,    BROKERAGE, "OAS", fresh=HOURS, holds=MARKET, meets=Need.SEARCH),
    Endpoint("POST",  "/iserver/secdef/search",                              READ,    BROKERAGE, "OAS", fresh=HOURS, holds=MARKET, meets=Need.SEARCH),
    Endpoint("GET",   "/iserver/secdef/{what}",                              READ,    BROKERAGE, "OAS", fresh=HOURS, holds=WORLD),
    Endpoint("POST",  "/iserver/contract/rules",                             READ,    BROKERAGE, "OAS", fresh=60.0, holds=WORLD),
    Endpoint("GET",   "/iserver/contract/{conid}/algos",                     READ,    BROKERAGE, "OAS", fresh=HOURS, holds=WORLD, needs=(Need.TWICE,)),
    Endpoint("GET",   "/iserver/contract/{conid}/{what}",                    READ,    BROKERAGE, "OAS", fresh=HOURS, holds=WORLD),
    Endpoint("GET",   "/iserver/currency/pairs",                             READ,    BROKERAGE, "OAS", fresh=HOURS, holds=WORLD),
    Endpoint("GET",   "/iserver/exchangerate",                               READ,    BROKERAGE, "OAS", fresh=5.0, holds=MARKET),
    Endpoint("GET",   "/iserver/marketdata/snapshot",                        READ,    BROKERAGE, "OAS", pace=TEN_A_SECOND, fresh=0.5, holds=MARKET, needs=(Need.ACCOUNTS,), made=Made.FILLED, meets=Need.QUOTE, most=SNAPSHOT_MOST),
    Endpoint("GET",   "/iserver/marketdata/history",                         READ,    BROKERAGE, "OAS", fresh=2.0, holds=MARKET),
    Endpoint("POST",  "/iserver/marketdata/unsubscribe",                     READ,    BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/marketdata/unsubscribeall",                  READ,    BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/marketdata/{conid}/unsubscribe",             READ,    BROKERAGE, "SW2"),
    Endpoint("GET",   "/iserver/scanner/params",                             READ,    BROKERAGE, "OAS", pace=IN_15_MIN, fresh=900.0, holds=WORLD, within=SLOW),
    Endpoint("POST",  "/iserver/scanner/run",                                READ,    BROKERAGE, "OAS", pace=EACH_SECOND, fresh=1.0, holds=MARKET),
    Endpoint("GET",   "/iserver/watchlist",                                  READ,    BROKERAGE, "OAS", fresh=1.0, holds=ACCOUNT, needs=(Need.TWICE,)),
    Endpoint("POST",  "/iserver/watchlist",                                  CHANGE,  BROKERAGE, "OAS"),
    Endpoint("DELETE","/iserver/watchlist",                                  CHANGE,  BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/watchlists",                                 READ,    BROKERAGE, "OAS", fresh=2.0, holds=ACCOUNT),
    # -- portfolio: the login is enough
    Endpoint("GET",   "/portfolio/accounts",                                 READ,    LOGIN,     "OAS", pace=IN_5_S, fresh=5.0, holds=ACCOUNT, meets=Need.PORTFOLIO),
    Endpoint("GET",   "/portfolio/subaccounts",                              READ,    LOGIN,     "OAS", pace=IN_5_S, fresh=5.0, holds=ACCOUNT, meets=Need.PORTFOLIO),
    Endpoint("GET",   "/portfolio/subaccounts2",                             READ,    LOGIN,     "GUIDE", fresh=5.0, holds=ACCOUNT, meets=Need.PORTFOLIO),
    Endpoint("GET",   "/portfolio/subaccounts2/{page}",                      READ,    LOGIN,     "SW2", fresh=5.0, holds=ACCOUNT),
    Endpoint("POST",  "/portfolio/allocation",                               READ,    LOGIN,     "SW2", fresh=2.0, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/positions/{conid}",                        READ,    LOGIN,     "OAS", fresh=1.0, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/meta",                         READ,    LOGIN,     "OAS", fresh=5.0, holds=ACCOUNT, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/summary",                      READ,    LOGIN,     "OAS", fresh=2.0, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/ledger",                       READ,    LOGIN,     "OAS", fresh=2.0, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/allocation",                   READ,    LOGIN,     "OAS", fresh=2.0, needs=(Need.PORTFOLIO,)),
    Endpoint("POST",  "/portfolio/{accountId}/positions/invalidate",         READ,    LOGIN,     "OAS"),
    Endpoint("GET",   "/portfolio/{accountId}/positions/{page}",             READ,    LOGIN,     "OAS", fresh=2.0, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/positions",                    READ,    LOGIN,     "OURS", needs=(Need.PORTFOLIO,), made=Made.PAGES),
    Endpoint("GET",   "/portfolio/{accountId}/position/{conid}",             READ,    LOGIN,     "OAS", fresh=1.0, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/combo/positions",              READ,    LOGIN,     "GUIDE", fresh=1.0, needs=(Need.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio2/{accountId}/positions",                   READ,    LOGIN,     "CLIENTS", fresh=0.5, needs=(Need.PORTFOLIO,)),
    Endpoint("POST",  "/pa/performance",                                     READ,    LOGIN,     "OAS", pace=IN_15_MIN, fresh=900.0, holds=HISTORY, within=SLOW),
    Endpoint("POST",  "/pa/summary",                                         READ,    LOGIN,     "SW2", pace=IN_15_MIN, fresh=900.0, holds=HISTORY, within=SLOW),
    Endpoint("POST",  "/pa/transactions",                                    READ,    LOGIN,     "OAS", pace=IN_15_MIN, fresh=900.0, holds=HISTORY, within=SLOW),
    Endpoint("POST",  "/pa/allperiods",                                      READ,    LOGIN,     "OAS", pace=IN_15_MIN_TOO, fresh=900.0, holds=HISTORY, within=SLOW),
    Endpoint("POST",  "/pa/{what}",                                          READ,    LOGIN,     "OAS", within=SLOW),
    # -- instruments, notices, history farm
    Endpoint("GET",   "/trsrv/secdef",                                       READ,    LOGIN,     "OAS", fresh=HOURS, holds=WORLD, most=(("conids", 200),)),
    Endpoint("GET",   "/trsrv/{what}",                                       READ,    LOGIN,     "OAS", fresh=HOURS, holds=WORLD),
    Endpoint("POST",  "/trsrv/secdef",                                       READ,    LOGIN,     "SW2", fresh=HOURS, holds=WORLD, most=(("conids", 200),)),
    Endpoint("GET",   "/trsrv/secdef/schedule",                              READ,    LOGIN,     "OAS", fresh=HOURS, holds=WORLD),
    Endpoint("GET",   "/fyi/unreadnumber",                                   READ,    LOGIN,     "OAS", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/fyi/settings",                                       READ,    LOGIN,     "OAS", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/fyi/deliveryoptions",                                READ,    LOGIN,     "OAS", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/fyi/notifications",                                  READ,    LOGIN,     "OAS", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/fyi/notifications/more",                             READ,    LOGIN,     "SW2", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("POST",  "/fyi/settings/{typecode}",                            CHANGE,  LOGIN,     "OAS", pace=EACH_SECOND),
    Endpoint("PUT",   "/fyi/disclaimer/{typecode}",                          CHANGE,  LOGIN,     "OAS", pace=EACH_SECOND),
    Endpoint("PUT",   "/fyi/deliveryoptions/email",                          CHANGE,  LOGIN,     "OAS", pace=EACH_SECOND),
    Endpoint("POST",  "/fyi/deliveryoptions/device",                         CHANGE,  LOGIN,     "OAS", pace=EACH_SECOND),
    Endpoint("DELETE","/fyi/deliveryoptions/{deviceId}",                     CHANGE,  LOGIN,     "OAS", pace=EACH_SECOND),
    Endpoint("PUT",   "/fyi/notifications/{notificationId}",                 CHANGE,  LOGIN,     "OAS", pace=EACH_SECOND),
    Endpoint("GET",   "/fyi/disclaimer/{typecode}",                          READ,    LOGIN,     "OAS", pace=EACH_SECOND, fresh=1.0, holds=ACCOUNT),
    Endpoint("POST",  "/hmds/auth/init",                                     READ,    LOGIN,     "GUIDE", meets=Need.HISTORY_FARM),
    Endpoint("POST",  "/hmds/scanner",                                       READ,    LOGIN,     "SW2", fresh=1.0, holds=MARKET, needs=(Need.HISTORY_FARM,)),
    Endpoint("GET",   "/hmds/history",                                       READ,    LOGIN,     "SW2", fresh=2.0, holds=MARKET, needs=(Need.HISTORY_FARM,)),
    Endpoint("GET",   "/md/snapshot",                                        READ,    BROKERAGE, "SW2", pace=TEN_A_SECOND, fresh=0.5, holds=MARKET, most=SNAPSHOT_MOST),
    Endpoint("GET",   "/calendar/metadata",                                  READ,    LOGIN,     "JAR", fresh=HOURS, holds=WORLD),
    Endpoint("POST",  "/calendar/events",                                    READ,    LOGIN,     "JAR", fresh=60.0, holds=WORLD),
    Endpoint("GET",   "/contract/trading-schedule",                          READ,    LOGIN,     "OAS", fresh=HOURS, holds=WORLD),
    Endpoint("GET",   "/forecast/category/tree",                             READ,    LOGIN,     "OAS", fresh=60.0, holds=WORLD),
    Endpoint("GET",   "/forecast/contract/details",                          READ,    LOGIN,     "OAS", fresh=5.0, holds=MARKET),
    Endpoint("GET",   "/forecast/contract/market",                           READ,    LOGIN,     "OAS", fresh=5.0, holds=MARKET),
    Endpoint("GET",   "/forecast/contract/rules",                            READ,    LOGIN,     "OAS", fresh=5.0, holds=MARKET),
    Endpoint("GET",   "/forecast/contract/schedules",                        READ,    LOGIN,     "OAS", fresh=5.0, holds=MARKET),
    Endpoint("GET",   "/acesws/{accountId}/signatures-and-owners",           READ,    LOGIN,     "OAS", fresh=5.0, holds=ACCOUNT),
    Endpoint("GET",   "/ccp/account",                                        READ,    LOGIN,     "SW2", fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/ccp/orders",                                         READ,    LOGIN,     "SW2", fresh=1.0),
    Endpoint("GET",   "/ccp/positions",                                      READ,    LOGIN,     "SW2", fresh=1.0),
    Endpoint("GET",   "/ccp/status",                                         READ,    LOGIN,     "SW2", fresh=1.0, holds=ACCOUNT),
    Endpoint("GET",   "/ccp/trades",                                         READ,    LOGIN,     "SW2", fresh=1.0),
    Endpoint("POST",  "/ccp/auth/init",                                      SESSION, LOGIN,     "SW2"),
    Endpoint("POST",  "/ccp/auth/response",                                  SESSION, LOGIN,     "SW2"),
    Endpoint("POST",  "/ccp/order",                                          TRADE,   LOGIN,     "SW2", Order.PLACE),
    Endpoint("PUT",   "/ccp/order",                                          TRADE,   LOGIN,     "SW2", Order.MODIFY),
    Endpoint("DELETE","/ccp/order",                                          TRADE,   LOGIN,     "SW2", Order.CANCEL),
    *(Endpoint(method, "/md/regsnapshot", COSTS_MONEY, BROKERAGE, "GUIDE") for method in ("GET", "POST", "PUT", "DELETE")),
    # -- financial advisors
    Endpoint("POST",  "/fa/fa-preset/get",                                   READ,    LOGIN,     "OAS", fresh=1.0, holds=ACCOUNT),
    Endpoint("POST",  "/fa/model/list",                                      READ,    LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/model/summary",                                   READ,    LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/model/positions",                                 READ,    LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/model/accounts-details",                          READ,    LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/fa-preset/save",                                  TRADE,   LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/model/save",                                      TRADE,   LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/model/invest-divest",                             TRADE,   LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/model/invest-divest-positions",                   TRADE,   LOGIN,     "OAS"),
    Endpoint("POST",  "/fa/model/submit-transfers",                          TRADE,   LOGIN,     "OAS"),
)
# fmt: on

FA_GROUP = "{faGroup}"  # stands for accounts nobody names
BRIDGED = ("iserver", "portfolio", "marketdata")
KNOWN_PREFIXES = (  # what IBKR offers below /v1/api besides; named in the hint when one of them is not open
    *("trsrv", "pa", "fyi", "hmds", "md", "portfolio2", "fa", "contract", "forecast", "calendar", "ccp", "acesws"),
)
API = "/v1/api"  # the Gateway's own prefix; without it nothing is forwarded
API_SEGMENTS = tuple(API.strip("/").split("/"))
MARKETDATA = "marketdata"  # IBKR has no such root; ours means /iserver/marketdata
TICKLE, AUTH_STATUS = ("tickle",), ("iserver", "auth", "status")
SSODH_INIT, REAUTHENTICATE = ("iserver", "auth", "ssodh", "init"), ("iserver", "reauthenticate")
ACCOUNTS, PORTFOLIO_ACCOUNTS, LOGOUT = ("iserver", "accounts"), ("portfolio", "accounts"), ("logout",)
VALIDATE, PORTFOLIO, EXCHANGE_RATE = ("sso", "validate"), ("portfolio",), ("iserver", "exchangerate")
ORDERS_LIST, SNAPSHOT = ("iserver", "account", "orders"), ("iserver", "marketdata", "snapshot")
TRADES, REPLY = ("iserver", "account", "trades"), ("iserver", "reply")
UNSUBSCRIBE, UNSUBSCRIBE_ALL = (
    ("iserver", "marketdata", "unsubscribe"),
    ("iserver", "marketdata", "unsubscribeall"),
)
SUPPRESS, SUPPRESS_RESET = ("iserver", "questions", "suppress"), ("iserver", "questions", "suppress", "reset")
SEARCH, DEFINITIONS, FARM = ("iserver", "secdef", "search"), ("trsrv", "secdef"), ("hmds", "auth", "init")


def target(segments: tuple[str, ...]) -> str:
    """The path of an endpoint of our own choice, as it goes out."""
    return "/".join((API, *segments))


def _index() -> dict[tuple[str, int], list[tuple[tuple[str, ...], Endpoint]]]:
    rows: dict[tuple[str, int], list[tuple[tuple[str, ...], Endpoint]]] = {}
    for row in CATALOGUE:
        rows.setdefault((row.method, len(row.segments)), []).append((row.segments, row))
    return rows


_ROWS = _index()


@lru_cache(maxsize=1024)
def find(method: str, segments: tuple[str, ...]) -> Endpoint:
    """The row of a call; the cautious one where none fits.

    Args:
        method: in capitals.
        segments: the path below `/v1/api`, decoded, without a trailing empty one.
    """
    for pattern, row in _ROWS.get((method, len(segments)), ()):
        if all(want == have or want[0] == "{" for want, have in zip(pattern, segments, strict=True)):
            return row
    lower = tuple(segment.lower() for segment in segments)
    if lower != segments and not (row := find(method, lower)).reads:
        return row  # should IBKR not mind the case, it trades or costs money all the same
    return _cautious(method, segments[0] if segments else "")


def met(method: str, path: str) -> Endpoint:
    """The row of a call as callers of the bridge write it: raw, with or without `/v1/api`, query, `/marketdata` alone."""
    segments = decoded(path.partition("?")[0])
    if segments[:2] == API_SEGMENTS:
        segments = segments[2:]
    return find(method, ("iserver", *segments) if segments[:1] == (MARKETDATA,) else segments)


def _cautious(method: str, prefix: str) -> Endpoint:
    shown = prefix if prefix in BRIDGED + KNOWN_PREFIXES else "?"  # never a caller's own words in a log
    effect = READ if method == "GET" else TRADE
    return Endpoint(method, f"/{shown}/*", effect, BROKERAGE if prefix == "iserver" else LOGIN, UNKNOWN)


def account_in(row: Endpoint, segments: tuple[str, ...]) -> str | None:
    """The account a path names, where its row says that it names one."""
    for name, value in zip(row.segments, segments, strict=False):
        if name == "{accountId}":
            return value
    return None


OTHER_THAN_VISIBLE = re.compile(r"[^!-~]")
MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
"""What a path cannot have, on either side of the bridge."""


def decoded(path: str) -> tuple[str, ...]:
    """A raw path between its slashes, each segment decoded; a trailing slash is ignored."""
    return tuple(unquote(segment) for segment in path.strip("/").split("/"))
