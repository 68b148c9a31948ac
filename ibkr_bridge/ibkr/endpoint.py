"""What can be known of an IBKR endpoint: the columns of the catalogue, and what follows from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property


class Effect(Enum):
    """What a call does, at worst."""

    READ = "read"
    CHANGE = "change"  # changes something at IBKR that is no order: an alert, a watchlist, which account is selected
    TRADE = "trade"  # places, changes or ends orders, or changes how they are placed
    SESSION = "session"  # concerns the sign-in; the keeper rations these
    COSTS_MONEY = "costs_money"  # IBKR charges for every call


class Layer(Enum):
    """What must be up for a call to make sense."""

    LOGIN = "login"  # somebody is signed in
    BROKERAGE = "brokerage"  # and the brokerage session is open


class OrderOperation(Enum):
    """Which part of an order's life a call is."""

    PLACE = "place"
    MODIFY = "modify"
    REPLY = "reply"
    CANCEL = "cancel"
    ANSWER = "answer"  # to a notice about an order
    PREVIEW = "preview"  # changes nothing, but ends a question that hangs, as every order call does


class CacheTag(Enum):
    """What an answer is about, and so what makes it stale."""

    ORDERS = "orders"  # orders, positions, money: any order call, whatever changes an account, another session
    ACCOUNT = "account"  # accounts and what users keep there: whatever changes one of them, another session
    HISTORY = "history"  # how it went so far: another session
    MARKET = "market"  # prices: another session
    WORLD = "world"  # contracts and calendars: time alone


class Prerequisite(Enum):
    """What IBKR wants to be asked first, once in a brokerage session."""

    ACCOUNTS = "accounts"  # /iserver/accounts; else 500 "Please query /accounts first"
    PORTFOLIO = "portfolio"  # /portfolio/accounts; else empty or stale data, without an error
    SEARCH = "search"  # a contract search for the symbol; else 500, or nothing
    UNDERLYING = "underlying"  # a contract search for what it derives from; else it has no quotes
    QUOTE = "quote"  # a snapshot of the instrument; else a warning, and numbers that mean nothing
    TWICE = "twice"  # the same call; its first answer is empty or thin
    HISTORY_FARM = "history_farm"  # /hmds/auth/init; else 404


class Composition(Enum):
    """How an answer is made where it is not IBKR's own, as that would be a trap."""

    FILTERED = "filtered"  # asked without filters, which would silence the order stream, and filtered here
    PAGES = "pages"  # all pages, one after the other
    FILLED = "filled"  # asked again until the fields are there that were asked for


class Priority(IntEnum):
    """Who goes first."""

    SESSION = 0  # what IBKR wants to be asked before anything else
    ORDERS = 1
    READS = 2


@dataclass(frozen=True)
class RateLimit:
    """At most so many calls in any so many seconds, and who says so."""

    calls: int
    period_s: float
    source: str


@dataclass(frozen=True)
class Endpoint:
    """One row: a method, a path below `/v1/api` with its variable segments in braces, and what is known of it."""

    method: str
    path: str
    effect: Effect
    layer: Layer
    source: str
    operation: OrderOperation | None = None
    rate_limit: RateLimit | None = None
    ttl_s: float = 0.0
    """Seconds an answer may be told again."""
    cache_tag: CacheTag = CacheTag.ORDERS
    prerequisites: tuple[Prerequisite, ...] = ()
    timeout_s: float | None = None
    """Seconds for its answer to begin, where it is given another time than IBKR_GATEWAY_TIMEOUT."""
    composition: Composition | None = None
    """How its answer is made, where it is more or less than what IBKR says to it."""
    satisfies: Prerequisite | None = None
    """What has been asked first once this was answered."""
    max_items: tuple[tuple[str, int], ...] = ()
    """Lists in its query or body, and how many values IBKR takes in each."""

    @cached_property
    def is_listed(self) -> bool:
        """Whether it stands in the table; a cautious row does not."""
        return self.source != UNKNOWN

    @cached_property
    def is_repeatable(self) -> bool:
        """Whether asking twice is the same as asking once, for sure: a listed GET that reads and gives nothing back."""
        return self.is_listed and self.method == "GET" and self.is_read

    @cached_property
    def is_read(self) -> bool:
        """Whether it changes nothing, not even what others are sent."""
        return self.effect is Effect.READ and self.segments[-1] not in RELEASES

    @cached_property
    def invalidates(self) -> tuple[CacheTag, ...]:
        """What is stale once it has been sent."""
        if self.is_read:
            return ()
        return (CacheTag.ORDERS,) if self.operation else (CacheTag.ORDERS, CacheTag.ACCOUNT, CacheTag.MARKET)

    @cached_property
    def is_shareable(self) -> bool:
        """Whether those who ask the same at the same time can have one answer."""
        return self.is_listed and self.is_read

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path between its slashes."""
        return tuple(self.path.strip("/").split("/"))


UNKNOWN = "unknown"
RELEASES = ("unsubscribe", "unsubscribeall", "invalidate")  # reading by method and effect, yet something ends by them
