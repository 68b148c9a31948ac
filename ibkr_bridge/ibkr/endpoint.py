"""The columns of the catalogue of IBKR's endpoints, and the properties that follow from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property


class FastEnum(Enum):
    """An enumeration whose members are looked up in sets and tables with each call.

    Python computes the hash of a member anew each time, in Python. Members are single objects, so their identity does.
    """

    __hash__ = object.__hash__


class Effect(FastEnum):
    """What a call does at worst."""

    READ = "read"
    CHANGE = "change"  # changes something other than orders: an alert, a watchlist, the selected account
    TRADE = "trade"  # places, modifies or cancels orders, or changes how they are placed
    SESSION = "session"  # opens or ends a session; the keeper limits these
    COSTS_MONEY = "costs_money"  # IBKR charges for every call
    MANAGE = "manage"  # adds, changes or removes profiles and their keys


class Layer(FastEnum):
    """What a call needs."""

    LOGIN = "login"  # somebody is signed in
    BROKERAGE = "brokerage"  # in addition the brokerage session is open


class OrderOperation(FastEnum):
    """What a call does with an order."""

    PLACE = "place"
    MODIFY = "modify"
    REPLY = "reply"
    CANCEL = "cancel"
    ANSWER = "answer"  # answers a notice about an order
    PREVIEW = "preview"  # changes nothing, but it cancels a pending question, as every order call does


class Concern(Enum):
    """What a call that names no account concerns, if it trades."""

    ANY_ACCOUNT = "any_account"  # a model or a group may trade in accounts that IBKR does not list for the login
    LOGIN = "login"  # the login's accounts and no others
    KNOWN_ORDER = "known_order"  # one order that the bridge has placed; the bridge knows its account


class CacheTag(FastEnum):
    """What a response is about, and so which events make it stale."""

    ORDERS = "orders"  # orders, positions, money; stale after an order call, a change of an account, a new session
    ACCOUNT = "account"  # accounts and their settings; stale after a change of an account, a new session
    HISTORY = "history"  # past performance; stale after a new session
    MARKET = "market"  # prices; stale after a new session
    WORLD = "world"  # contracts and calendars; stale after their TTL only


class Prerequisite(FastEnum):
    """A call that IBKR wants before another one, once in a brokerage session."""

    ACCOUNTS = "accounts"  # /iserver/accounts; otherwise 500 "Please query /accounts first"
    PORTFOLIO = "portfolio"  # /portfolio/accounts; otherwise empty or stale data, without an error
    SEARCH = "search"  # a contract search for the symbol; otherwise 500 or no data
    UNDERLYING = "underlying"  # a contract search for the underlying of a derivative; otherwise it has no quotes
    QUOTE = "quote"  # a quote snapshot of the instrument; otherwise a warning and wrong numbers
    TWICE = "twice"  # the same call; its first response is empty or partial
    HISTORY_FARM = "history_farm"  # /hmds/auth/init; otherwise 404


class Composition(Enum):
    """How the bridge builds a response if IBKR's own would mislead callers."""

    FILTERED = "filtered"  # fetched without filters, which would stop the order stream, and filtered here
    PAGES = "pages"  # all pages are fetched, one after the other
    FILLED = "filled"  # fetched again until the requested fields are there


class Priority(IntEnum):
    """The order in which calls leave the admission queue; the lowest value goes first."""

    SESSION = 0  # prerequisites of a session and of other calls
    ORDERS = 1
    READS = 2


@dataclass(frozen=True)
class RateLimit:
    """At most `calls` calls in any `period_s` seconds, and the source of these figures."""

    calls: int
    period_s: float
    source: str


@dataclass(frozen=True)
class Endpoint:
    """One row of the catalogue. The path is that below `/v1/api`; its variable segments are in braces."""

    method: str
    path: str
    effect: Effect
    layer: Layer
    source: str
    operation: OrderOperation | None = None
    rate_limit: RateLimit | None = None
    ttl_s: float = 0.0
    """Seconds for which a response may be used again; 0 means never."""
    cache_tag: CacheTag = CacheTag.ORDERS
    prerequisites: tuple[Prerequisite, ...] = ()
    timeout_s: float | None = None
    """Seconds until the head of its response; None means IBKR_GATEWAY_TIMEOUT."""
    composition: Composition | None = None
    """How the bridge builds the response if it differs from IBKR's own."""
    satisfies: Prerequisite | None = None
    """The prerequisite that a successful response to this endpoint satisfies."""
    max_items: tuple[tuple[str, int], ...] = ()
    """Lists in its query or body, each with the number of values that IBKR accepts."""
    concern: Concern = Concern.ANY_ACCOUNT
    """What it concerns if it names no account."""

    @cached_property
    def is_listed(self) -> bool:
        """Whether it is a row of the catalogue, and not one made for an unknown path."""
        return self.source != UNKNOWN

    @cached_property
    def is_slow(self) -> bool:
        """Whether IBKR takes long for it anyway, so that its row has a deadline of its own."""
        return self.timeout_s is not None

    @cached_property
    def is_repeatable(self) -> bool:
        """Whether it may safely be sent twice: a listed GET that only reads."""
        return self.is_listed and self.method == "GET" and self.is_read

    @cached_property
    def is_read(self) -> bool:
        """Whether it changes nothing, and releases nothing that other callers use."""
        return self.effect is Effect.READ and self.segments[-1] not in RELEASES

    @cached_property
    def invalidates(self) -> tuple[CacheTag, ...]:
        """The tags whose responses are stale once this call was sent."""
        if self.is_read:
            return ()
        return (CacheTag.ORDERS,) if self.operation else (CacheTag.ORDERS, CacheTag.ACCOUNT, CacheTag.MARKET)

    @cached_property
    def is_shareable(self) -> bool:
        """Whether callers with the same request at the same time may share one response."""
        return self.is_listed and self.is_read

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path between its slashes."""
        return tuple(self.path.strip("/").split("/"))


UNKNOWN = "unknown"
# These are reads by method and effect, but they end a subscription or drop IBKR's cache.
RELEASES = ("unsubscribe", "unsubscribeall", "invalidate")
