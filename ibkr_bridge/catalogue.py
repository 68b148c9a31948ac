"""All we know of each IBKR endpoint, one row each; no path is named anywhere else.

A row says what a call does (`effect`), which layer of the session it needs (`layer`) and, for orders, which part of
an order's life it is (`order`). Scope, guard, session gate and log lines read it. What is not listed gets the
cautious row: a GET reads, any other method trades. Pure: paths in, rows out.

Where each row is from: OAS is IBKR's OpenAPI document 2.28.0; SW2 the older Swagger document of the Gateway; GUIDE the
pages "Client Portal API v1" and "Web API" of IBKR's campus; CLIENTS what maintained clients call and IBKR answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from urllib.parse import unquote


class Effect(Enum):
    """What a call does, at worst."""

    READ = "read"
    TRADE = "trade"  # changes something at IBKR
    SESSION = "session"  # concerns the sign-in; the keeper rations these
    COSTS_MONEY = "costs_money"  # IBKR charges for every call


class Layer(Enum):
    """What must be up for a call to make sense."""

    LOGIN = "login"  # somebody is signed in
    BROKERAGE = "brokerage"  # and the brokerage session is open


class Order(Enum):
    """Which part of an order's life a call is."""

    PLACE = "place"
    MODIFY = "modify"
    REPLY = "reply"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Endpoint:
    """One row: a method, a path below `/v1/api` with its variable segments in braces, and what is known of it."""

    method: str
    path: str
    effect: Effect
    layer: Layer
    source: str
    order: Order | None = None

    @property
    def known(self) -> bool:
        """Whether it stands in the table; a cautious row does not."""
        return self.source != UNKNOWN

    @property
    def repeatable(self) -> bool:
        """Whether asking twice is the same as asking once, for sure: a listed GET that reads and gives nothing back."""
        return self.known and self.method == "GET" and self.effect is READ and self.segments[-1] not in GIVES_BACK

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path between its slashes."""
        return tuple(self.path.strip("/").split("/"))


UNKNOWN = "unknown"
READ, TRADE, SESSION, COSTS_MONEY = Effect.READ, Effect.TRADE, Effect.SESSION, Effect.COSTS_MONEY
LOGIN, BROKERAGE = Layer.LOGIN, Layer.BROKERAGE
GIVES_BACK = ("unsubscribe", "unsubscribeall")  # reading by method and effect, yet everybody's quotes end

# fmt: off
CATALOGUE: tuple[Endpoint, ...] = (  # the first row that fits counts: literal segments stand above variable ones
    # -- the session: asking is free, opening is rationed
    Endpoint("GET",    "/tickle",                                             READ,        LOGIN,     "CLIENTS"),
    Endpoint("POST",   "/tickle",                                             READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/iserver/auth/status",                                READ,        LOGIN,     "CLIENTS"),
    Endpoint("POST",   "/iserver/auth/status",                                READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/iserver/auth/ssodh/init",                            SESSION,     LOGIN,     "OAS"),
    Endpoint("POST",   "/iserver/reauthenticate",                             SESSION,     LOGIN,     "SW2"),
    Endpoint("GET",    "/iserver/reauthenticate",                             SESSION,     LOGIN,     "CLIENTS"),
    # -- orders
    Endpoint("GET",    "/iserver/account/orders",                             READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/order/status/{orderId}",             READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/trades",                             READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account/{accountId}/orders/whatif",          READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account/{accountId}/order/whatif",           READ,        BROKERAGE, "SW2"),
    Endpoint("POST",   "/iserver/account/{accountId}/orders",                 TRADE,       BROKERAGE, "OAS", Order.PLACE),
    Endpoint("POST",   "/iserver/account/{accountId}/order",                  TRADE,       BROKERAGE, "SW2", Order.PLACE),
    Endpoint("POST",   "/iserver/account/orders/{faGroup}",                   TRADE,       BROKERAGE, "SW2", Order.PLACE),
    Endpoint("POST",   "/iserver/account/{accountId}/order/{orderId}",        TRADE,       BROKERAGE, "OAS", Order.MODIFY),
    Endpoint("DELETE", "/iserver/account/{accountId}/order/{orderId}",        TRADE,       BROKERAGE, "OAS", Order.CANCEL),
    Endpoint("POST",   "/iserver/reply/{replyId}",                            TRADE,       BROKERAGE, "OAS", Order.REPLY),
    Endpoint("POST",   "/iserver/notification",                               TRADE,       BROKERAGE, "OAS", Order.REPLY),
    Endpoint("POST",   "/iserver/questions/suppress",                         TRADE,       BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/questions/suppress/reset",                   TRADE,       BROKERAGE, "OAS"),
    # -- accounts
    Endpoint("GET",    "/iserver/accounts",                                   READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account",                                    TRADE,       BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/dynaccount",                                 TRADE,       BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/search/{pattern}",                   READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/pnl/partitioned",                    READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/{accountId}/summary",                READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/{accountId}/summary/{part}",         READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/mta",                                READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/alert/{alertId}",                    READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/{accountId}/alerts",                 READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account/{accountId}/alert",                  TRADE,       BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account/{accountId}/alert/activate",         TRADE,       BROKERAGE, "OAS"),
    Endpoint("DELETE", "/iserver/account/{accountId}/alert/{alertId}",        TRADE,       BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/account/allocation/{what}",                  READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account/allocation/group/single",            READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account/allocation/group/delete",            TRADE,       BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/account/allocation/{what}",                  TRADE,       BROKERAGE, "OAS"),
    Endpoint("PUT",    "/iserver/account/allocation/{what}",                  TRADE,       BROKERAGE, "OAS"),
    # -- contracts and market data
    Endpoint("GET",    "/iserver/secdef/{what}",                              READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/secdef/search",                              READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/contract/rules",                             READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/contract/{conid}/{what}",                    READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/currency/pairs",                             READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/exchangerate",                               READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/marketdata/snapshot",                        READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/marketdata/history",                         READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/marketdata/unsubscribe",                     READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/marketdata/unsubscribeall",                  READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/marketdata/{conid}/unsubscribe",             READ,        BROKERAGE, "SW2"),
    Endpoint("GET",    "/iserver/scanner/params",                             READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/scanner/run",                                READ,        BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/watchlist",                                  READ,        BROKERAGE, "OAS"),
    Endpoint("POST",   "/iserver/watchlist",                                  TRADE,       BROKERAGE, "OAS"),
    Endpoint("DELETE", "/iserver/watchlist",                                  TRADE,       BROKERAGE, "OAS"),
    Endpoint("GET",    "/iserver/watchlists",                                 READ,        BROKERAGE, "OAS"),
    # -- portfolio: the login is enough
    Endpoint("GET",    "/portfolio/accounts",                                 READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/subaccounts",                              READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/subaccounts2",                             READ,        LOGIN,     "GUIDE"),
    Endpoint("GET",    "/portfolio/subaccounts2/{page}",                      READ,        LOGIN,     "SW2"),
    Endpoint("POST",   "/portfolio/allocation",                               READ,        LOGIN,     "SW2"),
    Endpoint("GET",    "/portfolio/positions/{conid}",                        READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/{accountId}/meta",                         READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/{accountId}/summary",                      READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/{accountId}/ledger",                       READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/{accountId}/allocation",                   READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/portfolio/{accountId}/positions/invalidate",         READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/{accountId}/positions/{page}",             READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/{accountId}/position/{conid}",             READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/portfolio/{accountId}/combo/positions",              READ,        LOGIN,     "GUIDE"),
    Endpoint("GET",    "/portfolio2/{accountId}/positions",                   READ,        LOGIN,     "CLIENTS"),
    Endpoint("POST",   "/pa/{what}",                                          READ,        LOGIN,     "OAS"),
    # -- instruments, notices, history farm
    Endpoint("GET",    "/trsrv/{what}",                                       READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/trsrv/secdef",                                       READ,        LOGIN,     "SW2"),
    Endpoint("GET",    "/trsrv/secdef/schedule",                              READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/fyi/{what}",                                         READ,        LOGIN,     "OAS"),
    Endpoint("GET",    "/fyi/notifications/more",                             READ,        LOGIN,     "SW2"),
    Endpoint("GET",    "/fyi/disclaimer/{typecode}",                          READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/hmds/auth/init",                                     READ,        LOGIN,     "GUIDE"),
    Endpoint("POST",   "/hmds/scanner",                                       READ,        LOGIN,     "SW2"),
    *(Endpoint(method, "/md/regsnapshot", COSTS_MONEY, BROKERAGE, "GUIDE") for method in ("GET", "POST", "PUT", "DELETE")),
    # -- financial advisors
    Endpoint("POST",   "/fa/fa-preset/get",                                   READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/fa/model/list",                                      READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/fa/model/summary",                                   READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/fa/model/positions",                                 READ,        LOGIN,     "OAS"),
    Endpoint("POST",   "/fa/model/accounts-details",                          READ,        LOGIN,     "OAS"),
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
    return _cautious(method, segments[0] if segments else "")


def met(method: str, path: str) -> Endpoint:
    """The row of a call as callers of the bridge write its path: raw, with or without `/v1/api`, `/marketdata` alone."""
    segments = decoded(path)
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
