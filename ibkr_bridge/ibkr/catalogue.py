"""The catalogue: one row for each IBKR endpoint. No other module contains IBKR's paths.

A row says what a call does (`effect`), what it needs (`layer`), which order operation it is (`operation`), how often IBKR
accepts it (`rate_limit`), how long its response may be used again (`ttl_s`) and what makes that stale (`cache_tag`). It
also has the calls that IBKR wants first (`prerequisites`) and the prerequisite that the endpoint itself satisfies
(`satisfies`), the limit for the head of its response (`timeout_s`), how the bridge builds that response (`composition`),
how long its lists may be (`max_items`) and what it concerns if it names no account (`concern`). Access checks, order
rules, the session gate, admission, the cache, the preflight and the log use the rows. An unknown path gets a cautious
row: a GET reads and is never cached, unless a row of another method at the same path is an order call or does more than
read; every other method trades. Pure: paths in, rows out.

Sources of the rows: OAS is IBKR's OpenAPI document 2.28.0. SW2 is the older Swagger document of the Gateway. JAR stands
for documents inside the Gateway. GUIDE stands for the pages "Client Portal API v1" and "Web API" of IBKR's campus.
CLIENTS means that maintained clients call it and IBKR answers. OURS means that the bridge adds it. Every rate limit and
every prerequisite is from the GUIDE unless its row names another source. TTLs and timeouts are the bridge's own choice;
a TTL is never longer than the period of the rate limit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

from ibkr_bridge.ibkr.endpoint import (
    UNKNOWN,
    CacheTag,
    Composition,
    Concern,
    Effect,
    Endpoint,
    Layer,
    OrderOperation,
    Prerequisite,
    RateLimit,
)

READ, CHANGE, TRADE, SESSION, COSTS_MONEY = Effect.READ, Effect.CHANGE, Effect.TRADE, Effect.SESSION, Effect.COSTS_MONEY
LOGIN, BROKERAGE = Layer.LOGIN, Layer.BROKERAGE
ACCOUNT, HISTORY, MARKET, WORLD = CacheTag.ACCOUNT, CacheTag.HISTORY, CacheTag.MARKET, CacheTag.WORLD
EACH_SECOND, ONE_IN_5_S = RateLimit(1, 1.0, "GUIDE"), RateLimit(1, 5.0, "GUIDE")
ONE_IN_15_MIN, ONE_IN_15_MIN_CLIENTS = RateLimit(1, 900.0, "GUIDE"), RateLimit(1, 900.0, "CLIENTS")
TEN_A_SECOND, EACH_MINUTE = RateLimit(10, 1.0, "GUIDE"), RateLimit(1, 60.0, "GUIDE")
SIX_HOURS_S = 6 * 3600.0
SLOW_TIMEOUT_S = 30.0
SNAPSHOT_MAX_ITEMS = (("conids", 100), ("fields", 50))

# fmt: off
CATALOGUE: tuple[Endpoint, ...] = (  # the first match wins, so literal segments come before variable ones
    # -- the session: reads are not limited, opening is
    Endpoint("GET",   "/tickle",                                             READ,    LOGIN,     "CLIENTS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("POST",  "/tickle",                                             READ,    LOGIN,     "OAS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/iserver/auth/status",                                READ,    LOGIN,     "CLIENTS"),
    Endpoint("POST",  "/iserver/auth/status",                                READ,    LOGIN,     "OAS"),
    Endpoint("POST",  "/iserver/auth/ssodh/init",                            SESSION, LOGIN,     "OAS"),
    Endpoint("POST",  "/iserver/reauthenticate",                             SESSION, LOGIN,     "SW2"),
    Endpoint("GET",   "/iserver/reauthenticate",                             SESSION, LOGIN,     "CLIENTS"),
    Endpoint("GET",   "/sso/validate",                                       READ,    LOGIN,     "OAS", rate_limit=EACH_MINUTE),  # for the keeper only; callers never reach /sso
    # -- orders
    Endpoint("GET",   "/iserver/account/orders",                             READ,    BROKERAGE, "OAS", rate_limit=ONE_IN_5_S, ttl_s=5.0, prerequisites=(Prerequisite.ACCOUNTS, Prerequisite.TWICE), composition=Composition.FILTERED),
    Endpoint("GET",   "/iserver/account/order/status/{orderId}",             READ,    BROKERAGE, "OAS", prerequisites=(Prerequisite.ACCOUNTS,)),
    Endpoint("GET",   "/iserver/account/trades",                             READ,    BROKERAGE, "OAS", rate_limit=ONE_IN_5_S, ttl_s=5.0, prerequisites=(Prerequisite.ACCOUNTS,)),
    Endpoint("POST",  "/iserver/account/{accountId}/orders/whatif",          READ,    BROKERAGE, "OAS", OrderOperation.PREVIEW, prerequisites=(Prerequisite.ACCOUNTS, Prerequisite.QUOTE)),
    Endpoint("POST",  "/iserver/account/{accountId}/order/whatif",           READ,    BROKERAGE, "SW2", OrderOperation.PREVIEW, prerequisites=(Prerequisite.ACCOUNTS, Prerequisite.QUOTE)),
    Endpoint("POST",  "/iserver/account/{accountId}/orders",                 TRADE,   BROKERAGE, "OAS", OrderOperation.PLACE),
    Endpoint("POST",  "/iserver/account/{accountId}/order",                  TRADE,   BROKERAGE, "SW2", OrderOperation.PLACE),
    Endpoint("POST",  "/iserver/account/orders/{faGroup}",                   TRADE,   BROKERAGE, "SW2", OrderOperation.PLACE),
    Endpoint("POST",  "/iserver/account/{accountId}/order/{orderId}",        TRADE,   BROKERAGE, "OAS", OrderOperation.MODIFY, prerequisites=(Prerequisite.ACCOUNTS,)),
    Endpoint("DELETE","/iserver/account/{accountId}/order/{orderId}",        TRADE,   BROKERAGE, "OAS", OrderOperation.CANCEL, prerequisites=(Prerequisite.ACCOUNTS,)),
    Endpoint("POST",  "/iserver/reply/{replyId}",                            TRADE,   BROKERAGE, "OAS", OrderOperation.REPLY, concern=Concern.KNOWN_ORDER),
    Endpoint("POST",  "/iserver/notification",                               TRADE,   BROKERAGE, "OAS", OrderOperation.ANSWER, concern=Concern.LOGIN),
    Endpoint("POST",  "/iserver/questions/suppress",                         TRADE,   BROKERAGE, "OAS", concern=Concern.LOGIN),
    Endpoint("POST",  "/iserver/questions/suppress/reset",                   TRADE,   BROKERAGE, "OAS", concern=Concern.LOGIN),
    # -- accounts
    Endpoint("GET",   "/iserver/accounts",                                   READ,    BROKERAGE, "OAS", ttl_s=5.0, cache_tag=ACCOUNT, satisfies=Prerequisite.ACCOUNTS),
    Endpoint("POST",  "/iserver/account",                                    CHANGE,  BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/dynaccount",                                 CHANGE,  BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/account/search/{pattern}",                   READ,    BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/account/pnl/partitioned",                    READ,    BROKERAGE, "OAS", rate_limit=ONE_IN_5_S, ttl_s=5.0),
    Endpoint("GET",   "/iserver/account/{accountId}/summary",                READ,    BROKERAGE, "OAS", ttl_s=2.0, prerequisites=(Prerequisite.ACCOUNTS,)),
    Endpoint("GET",   "/iserver/account/{accountId}/summary/{part}",         READ,    BROKERAGE, "OAS", ttl_s=2.0, prerequisites=(Prerequisite.ACCOUNTS,)),
    Endpoint("GET",   "/iserver/account/mta",                                READ,    BROKERAGE, "OAS", ttl_s=2.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/iserver/account/alert/{alertId}",                    READ,    BROKERAGE, "OAS", ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/iserver/account/{accountId}/alerts",                 READ,    BROKERAGE, "OAS", ttl_s=2.0, cache_tag=ACCOUNT),
    Endpoint("POST",  "/iserver/account/{accountId}/alert",                  CHANGE,  BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/account/{accountId}/alert/activate",         CHANGE,  BROKERAGE, "OAS"),
    Endpoint("DELETE","/iserver/account/{accountId}/alert/{alertId}",        CHANGE,  BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/account/allocation/{what}",                  READ,    BROKERAGE, "OAS", ttl_s=2.0, cache_tag=ACCOUNT),
    Endpoint("POST",  "/iserver/account/allocation/group/single",            READ,    BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/account/allocation/group/delete",            TRADE,   BROKERAGE, "OAS"),
    Endpoint("POST",  "/iserver/account/allocation/{what}",                  TRADE,   BROKERAGE, "OAS"),
    Endpoint("PUT",   "/iserver/account/allocation/{what}",                  TRADE,   BROKERAGE, "OAS"),
    # -- contracts and market data
    Endpoint("GET",   "/iserver/secdef/strikes",                             READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD, prerequisites=(Prerequisite.SEARCH,)),
    Endpoint("GET",   "/iserver/secdef/info",                                READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD, prerequisites=(Prerequisite.SEARCH,)),
    Endpoint("GET",   "/iserver/secdef/search",                              READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=MARKET, satisfies=Prerequisite.SEARCH),
    Endpoint("POST",  "/iserver/secdef/search",                              READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=MARKET, satisfies=Prerequisite.SEARCH),
    Endpoint("GET",   "/iserver/secdef/{what}",                              READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD),
    Endpoint("POST",  "/iserver/contract/rules",                             READ,    BROKERAGE, "OAS", ttl_s=60.0, cache_tag=WORLD),
    Endpoint("GET",   "/iserver/contract/{conid}/algos",                     READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD, prerequisites=(Prerequisite.TWICE,)),
    Endpoint("GET",   "/iserver/contract/{conid}/{what}",                    READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD),
    Endpoint("GET",   "/iserver/currency/pairs",                             READ,    BROKERAGE, "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD),
    Endpoint("GET",   "/iserver/exchangerate",                               READ,    BROKERAGE, "OAS", ttl_s=5.0, cache_tag=MARKET),
    Endpoint("GET",   "/iserver/marketdata/snapshot",                        READ,    BROKERAGE, "OAS", rate_limit=TEN_A_SECOND, ttl_s=0.5, cache_tag=MARKET, prerequisites=(Prerequisite.ACCOUNTS,), composition=Composition.FILLED, satisfies=Prerequisite.QUOTE, max_items=SNAPSHOT_MAX_ITEMS),
    Endpoint("GET",   "/iserver/marketdata/history",                         READ,    BROKERAGE, "OAS", ttl_s=2.0, cache_tag=MARKET),
    Endpoint("POST",  "/iserver/marketdata/unsubscribe",                     READ,    BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/marketdata/unsubscribeall",                  READ,    BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/marketdata/{conid}/unsubscribe",             READ,    BROKERAGE, "SW2"),
    Endpoint("GET",   "/iserver/scanner/params",                             READ,    BROKERAGE, "OAS", rate_limit=ONE_IN_15_MIN, ttl_s=900.0, cache_tag=WORLD, timeout_s=SLOW_TIMEOUT_S),
    Endpoint("POST",  "/iserver/scanner/run",                                READ,    BROKERAGE, "OAS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=MARKET),
    Endpoint("GET",   "/iserver/watchlist",                                  READ,    BROKERAGE, "OAS", ttl_s=1.0, cache_tag=ACCOUNT, prerequisites=(Prerequisite.TWICE,)),
    Endpoint("POST",  "/iserver/watchlist",                                  CHANGE,  BROKERAGE, "OAS"),
    Endpoint("DELETE","/iserver/watchlist",                                  CHANGE,  BROKERAGE, "OAS"),
    Endpoint("GET",   "/iserver/watchlists",                                 READ,    BROKERAGE, "OAS", ttl_s=2.0, cache_tag=ACCOUNT),
    # -- portfolio: needs the login only
    Endpoint("GET",   "/portfolio/accounts",                                 READ,    LOGIN,     "OAS", rate_limit=ONE_IN_5_S, ttl_s=5.0, cache_tag=ACCOUNT, satisfies=Prerequisite.PORTFOLIO),
    Endpoint("GET",   "/portfolio/subaccounts",                              READ,    LOGIN,     "OAS", rate_limit=ONE_IN_5_S, ttl_s=5.0, cache_tag=ACCOUNT, satisfies=Prerequisite.PORTFOLIO),
    Endpoint("GET",   "/portfolio/subaccounts2",                             READ,    LOGIN,     "GUIDE", ttl_s=5.0, cache_tag=ACCOUNT, satisfies=Prerequisite.PORTFOLIO),
    Endpoint("GET",   "/portfolio/subaccounts2/{page}",                      READ,    LOGIN,     "SW2", ttl_s=5.0, cache_tag=ACCOUNT),
    Endpoint("POST",  "/portfolio/allocation",                               READ,    LOGIN,     "SW2", ttl_s=2.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/positions/{conid}",                        READ,    LOGIN,     "OAS", ttl_s=1.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/meta",                         READ,    LOGIN,     "OAS", ttl_s=5.0, cache_tag=ACCOUNT, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/summary",                      READ,    LOGIN,     "OAS", ttl_s=2.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/ledger",                       READ,    LOGIN,     "OAS", ttl_s=2.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/allocation",                   READ,    LOGIN,     "OAS", ttl_s=2.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("POST",  "/portfolio/{accountId}/positions/invalidate",         READ,    LOGIN,     "OAS"),
    Endpoint("GET",   "/portfolio/{accountId}/positions/{page}",             READ,    LOGIN,     "OAS", ttl_s=2.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/positions",                    READ,    LOGIN,     "OURS", prerequisites=(Prerequisite.PORTFOLIO,), composition=Composition.PAGES),
    Endpoint("GET",   "/portfolio/{accountId}/position/{conid}",             READ,    LOGIN,     "OAS", ttl_s=1.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio/{accountId}/combo/positions",              READ,    LOGIN,     "GUIDE", ttl_s=1.0, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("GET",   "/portfolio2/{accountId}/positions",                   READ,    LOGIN,     "CLIENTS", ttl_s=0.5, prerequisites=(Prerequisite.PORTFOLIO,)),
    Endpoint("POST",  "/pa/performance",                                     READ,    LOGIN,     "OAS", rate_limit=ONE_IN_15_MIN, ttl_s=900.0, cache_tag=HISTORY, timeout_s=SLOW_TIMEOUT_S),
    Endpoint("POST",  "/pa/summary",                                         READ,    LOGIN,     "SW2", rate_limit=ONE_IN_15_MIN, ttl_s=900.0, cache_tag=HISTORY, timeout_s=SLOW_TIMEOUT_S),
    Endpoint("POST",  "/pa/transactions",                                    READ,    LOGIN,     "OAS", rate_limit=ONE_IN_15_MIN, ttl_s=900.0, cache_tag=HISTORY, timeout_s=SLOW_TIMEOUT_S),
    Endpoint("POST",  "/pa/allperiods",                                      READ,    LOGIN,     "OAS", rate_limit=ONE_IN_15_MIN_CLIENTS, ttl_s=900.0, cache_tag=HISTORY, timeout_s=SLOW_TIMEOUT_S),
    Endpoint("POST",  "/pa/{what}",                                          READ,    LOGIN,     "OAS", timeout_s=SLOW_TIMEOUT_S),
    # -- instruments, notices, history farm
    Endpoint("GET",   "/trsrv/secdef",                                       READ,    LOGIN,     "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD, max_items=(("conids", 200),)),
    Endpoint("GET",   "/trsrv/{what}",                                       READ,    LOGIN,     "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD),
    Endpoint("POST",  "/trsrv/secdef",                                       READ,    LOGIN,     "SW2", ttl_s=SIX_HOURS_S, cache_tag=WORLD, max_items=(("conids", 200),)),
    Endpoint("GET",   "/trsrv/secdef/schedule",                              READ,    LOGIN,     "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD),
    Endpoint("GET",   "/fyi/unreadnumber",                                   READ,    LOGIN,     "OAS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/fyi/settings",                                       READ,    LOGIN,     "OAS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/fyi/deliveryoptions",                                READ,    LOGIN,     "OAS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/fyi/notifications",                                  READ,    LOGIN,     "OAS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/fyi/notifications/more",                             READ,    LOGIN,     "SW2", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("POST",  "/fyi/settings/{typecode}",                            CHANGE,  LOGIN,     "OAS", rate_limit=EACH_SECOND),
    Endpoint("PUT",   "/fyi/disclaimer/{typecode}",                          CHANGE,  LOGIN,     "OAS", rate_limit=EACH_SECOND),
    Endpoint("PUT",   "/fyi/deliveryoptions/email",                          CHANGE,  LOGIN,     "OAS", rate_limit=EACH_SECOND),
    Endpoint("POST",  "/fyi/deliveryoptions/device",                         CHANGE,  LOGIN,     "OAS", rate_limit=EACH_SECOND),
    Endpoint("DELETE","/fyi/deliveryoptions/{deviceId}",                     CHANGE,  LOGIN,     "OAS", rate_limit=EACH_SECOND),
    Endpoint("PUT",   "/fyi/notifications/{notificationId}",                 CHANGE,  LOGIN,     "OAS", rate_limit=EACH_SECOND),
    Endpoint("GET",   "/fyi/disclaimer/{typecode}",                          READ,    LOGIN,     "OAS", rate_limit=EACH_SECOND, ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("POST",  "/hmds/auth/init",                                     READ,    LOGIN,     "GUIDE", satisfies=Prerequisite.HISTORY_FARM),
    Endpoint("POST",  "/hmds/scanner",                                       READ,    LOGIN,     "SW2", ttl_s=1.0, cache_tag=MARKET, prerequisites=(Prerequisite.HISTORY_FARM,)),
    Endpoint("GET",   "/hmds/history",                                       READ,    LOGIN,     "SW2", ttl_s=2.0, cache_tag=MARKET, prerequisites=(Prerequisite.HISTORY_FARM,)),
    Endpoint("GET",   "/md/snapshot",                                        READ,    BROKERAGE, "SW2", rate_limit=TEN_A_SECOND, ttl_s=0.5, cache_tag=MARKET, max_items=SNAPSHOT_MAX_ITEMS),
    Endpoint("GET",   "/calendar/metadata",                                  READ,    LOGIN,     "JAR", ttl_s=SIX_HOURS_S, cache_tag=WORLD),
    Endpoint("POST",  "/calendar/events",                                    READ,    LOGIN,     "JAR", ttl_s=60.0, cache_tag=WORLD),
    Endpoint("GET",   "/contract/trading-schedule",                          READ,    LOGIN,     "OAS", ttl_s=SIX_HOURS_S, cache_tag=WORLD),
    Endpoint("GET",   "/forecast/category/tree",                             READ,    LOGIN,     "OAS", ttl_s=60.0, cache_tag=WORLD),
    Endpoint("GET",   "/forecast/contract/details",                          READ,    LOGIN,     "OAS", ttl_s=5.0, cache_tag=MARKET),
    Endpoint("GET",   "/forecast/contract/market",                           READ,    LOGIN,     "OAS", ttl_s=5.0, cache_tag=MARKET),
    Endpoint("GET",   "/forecast/contract/rules",                            READ,    LOGIN,     "OAS", ttl_s=5.0, cache_tag=MARKET),
    Endpoint("GET",   "/forecast/contract/schedules",                        READ,    LOGIN,     "OAS", ttl_s=5.0, cache_tag=MARKET),
    Endpoint("GET",   "/acesws/{accountId}/signatures-and-owners",           READ,    LOGIN,     "OAS", ttl_s=5.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/ccp/account",                                        READ,    LOGIN,     "SW2", ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/ccp/orders",                                         READ,    LOGIN,     "SW2", ttl_s=1.0),
    Endpoint("GET",   "/ccp/positions",                                      READ,    LOGIN,     "SW2", ttl_s=1.0),
    Endpoint("GET",   "/ccp/status",                                         READ,    LOGIN,     "SW2", ttl_s=1.0, cache_tag=ACCOUNT),
    Endpoint("GET",   "/ccp/trades",                                         READ,    LOGIN,     "SW2", ttl_s=1.0),
    Endpoint("POST",  "/ccp/auth/init",                                      SESSION, LOGIN,     "SW2"),
    Endpoint("POST",  "/ccp/auth/response",                                  SESSION, LOGIN,     "SW2"),
    Endpoint("POST",  "/ccp/order",                                          TRADE,   LOGIN,     "SW2", OrderOperation.PLACE),
    Endpoint("PUT",   "/ccp/order",                                          TRADE,   LOGIN,     "SW2", OrderOperation.MODIFY),
    Endpoint("DELETE","/ccp/order",                                          TRADE,   LOGIN,     "SW2", OrderOperation.CANCEL),
    *(Endpoint(method, "/md/regsnapshot", COSTS_MONEY, BROKERAGE, "GUIDE") for method in ("GET", "POST", "PUT", "DELETE")),
    # -- financial advisors
    Endpoint("POST",  "/fa/fa-preset/get",                                   READ,    LOGIN,     "OAS", ttl_s=1.0, cache_tag=ACCOUNT),
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

FA_GROUP = "{faGroup}"  # stands for accounts that the call does not name
BRIDGED_PREFIXES = ("iserver", "portfolio", "marketdata")
KNOWN_PREFIXES = (  # further first segments of IBKR's API; the hint names the setting that opens them
    *("trsrv", "pa", "fyi", "hmds", "md", "portfolio2", "fa", "contract", "forecast", "calendar", "ccp", "acesws"),
)
API_PREFIX = "/v1/api"  # the Gateway's own prefix; without it nothing is forwarded
API_SEGMENTS = tuple(API_PREFIX.strip("/").split("/"))
MARKETDATA = "marketdata"  # IBKR has no such first segment; the bridge accepts it for /iserver/marketdata
TICKLE, AUTH_STATUS = ("tickle",), ("iserver", "auth", "status")
SSODH_INIT, REAUTHENTICATE = ("iserver", "auth", "ssodh", "init"), ("iserver", "reauthenticate")
ACCOUNTS, PORTFOLIO_ACCOUNTS, LOGOUT = ("iserver", "accounts"), ("portfolio", "accounts"), ("logout",)
VALIDATE, PORTFOLIO, EXCHANGE_RATE = ("sso", "validate"), ("portfolio",), ("iserver", "exchangerate")
ORDERS_LIST, SNAPSHOT = ("iserver", "account", "orders"), ("iserver", "marketdata", "snapshot")
SELECT_ACCOUNT = ("iserver", "account")
TRADES, REPLY = ("iserver", "account", "trades"), ("iserver", "reply")
UNSUBSCRIBE, UNSUBSCRIBE_ALL = (
    ("iserver", "marketdata", "unsubscribe"),
    ("iserver", "marketdata", "unsubscribeall"),
)
SUPPRESS, SUPPRESS_RESET = ("iserver", "questions", "suppress"), ("iserver", "questions", "suppress", "reset")
SECDEF_SEARCH, TRSRV_SECDEF, HMDS_INIT = ("iserver", "secdef", "search"), ("trsrv", "secdef"), ("hmds", "auth", "init")


def api_path(segments: tuple[str, ...]) -> str:
    """The path with which the bridge's own calls are sent."""
    return "/".join((API_PREFIX, *segments))


def _index() -> dict[tuple[str, int], list[tuple[tuple[str, ...], Endpoint]]]:
    rows: dict[tuple[str, int], list[tuple[tuple[str, ...], Endpoint]]] = {}
    for endpoint in CATALOGUE:
        rows.setdefault((endpoint.method, len(endpoint.segments)), []).append((endpoint.segments, endpoint))
    return rows


_INDEX = _index()
OTHER_METHODS = tuple({endpoint.method: None for endpoint in CATALOGUE if endpoint.method != "GET"})


@lru_cache(maxsize=1024)
def match(method: str, segments: tuple[str, ...]) -> Endpoint:
    """The row of a call; a cautious one for an unknown path.

    Args:
        method: in upper case.
        segments: the path below `/v1/api`, decoded, without an empty segment at its end.
    """
    if (listed := _listed_endpoint(method, segments)) is not None:
        return listed
    lower = tuple(segment.lower() for segment in segments)
    if lower != segments and not (endpoint := match(method, lower)).is_read:
        return endpoint  # IBKR may ignore the case, and then the call trades or costs money
    return _unlisted_endpoint(method, segments)


def _listed_endpoint(method: str, segments: tuple[str, ...]) -> Endpoint | None:
    for pattern, endpoint in _INDEX.get((method, len(segments)), ()):
        if all(part == segment or part[0] == "{" for part, segment in zip(pattern, segments, strict=True)):
            return endpoint
    return None


def endpoint_of(method: str, path: str) -> Endpoint:
    """The row of a path as callers write it: not decoded, with or without `/v1/api`, a query or `/iserver` in front."""
    segments = decode_segments(path.partition("?")[0])
    if segments[:2] == API_SEGMENTS:
        segments = segments[2:]
    return match(method, ("iserver", *segments) if segments[:1] == (MARKETDATA,) else segments)


def _unlisted_endpoint(method: str, segments: tuple[str, ...]) -> Endpoint:
    # The path appears in logs and must not contain text of a caller.
    prefix = segments[0] if segments else ""
    printable = prefix if prefix in BRIDGED_PREFIXES + KNOWN_PREFIXES else "?"
    effect = READ if method == "GET" and not _does_more_by_another_method(segments) else TRADE
    return Endpoint(method, f"/{printable}/*", effect, BROKERAGE if prefix == "iserver" else LOGIN, UNKNOWN)


def _does_more_by_another_method(segments: tuple[str, ...]) -> bool:
    """Whether IBKR changes, trades or charges at this path; nobody knows whether it looks at the method there.

    A preview reads, but like every order call it cancels a pending question.
    """
    others = filter(None, (_listed_endpoint(method, segments) for method in OTHER_METHODS))
    return any(other.effect is not READ or other.operation is not None for other in others)


def account_from_path(endpoint: Endpoint, segments: tuple[str, ...]) -> str | None:
    """The account in a path; None if the row has no `{accountId}`."""
    for name, value in zip(endpoint.segments, segments, strict=False):
        if name == "{accountId}":
            return value
    return None


NOT_VISIBLE_ASCII = re.compile(r"[^!-~]")
MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
"""What a path must not contain, neither from callers nor to IBKR."""


def decode_segments(path: str) -> tuple[str, ...]:
    """Split a raw path at its slashes and decode each segment. A slash at the end is ignored."""
    return tuple(unquote(segment) for segment in path.strip("/").split("/"))
