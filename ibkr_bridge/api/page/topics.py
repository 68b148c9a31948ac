"""What the page shows, in topics: each is a small JSON object that the stream sends when it has changed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from aiohttp import web

from ibkr_bridge import VERSION
from ibkr_bridge.api.gateway_routes import read_status
from ibkr_bridge.api.history import read_history
from ibkr_bridge.api.page.access import principal_of
from ibkr_bridge.api.page.order_words import order_in_words
from ibkr_bridge.api.plain.orders import Listing, join_orders
from ibkr_bridge.clock import utc_text
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.orders import Order, OrderOrigin, OrderState
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.redaction import mask_account
from ibkr_bridge.server.app_keys import (
    CLOCK,
    DEMO,
    OWN_ROUTES,
    RECENT_REQUESTS,
    REDACTOR,
    REQUEST_SAMPLES,
    profile_of,
)
from ibkr_bridge.server.recent_requests import RecentRequest
from ibkr_bridge.server.request_samples import INTERVAL_S
from ibkr_bridge.server.routing import OwnRoutes

HISTORY_DAYS = 7
MAX_ORDERS = 50
OPEN_STATES = frozenset({OrderState.SENDING, OrderState.QUESTION, OrderState.UNKNOWN})
NO_LISTING = Listing((), None, "not_read_yet")


@dataclass
class PageState:
    """What one open page has been sent, and what was fetched for it."""

    request: web.Request
    listing: Listing = NO_LISTING
    last_request: int = 0
    """The number of the latest request that it knows."""

    @property
    def profile(self) -> Profile:
        """The profile that the page shows."""
        return profile_of(self.request)


async def bridge(page: PageState) -> dict[str, Any]:
    """The bridge, and what the reader of the page may do."""
    principal, app = principal_of(page.request), page.request.app
    return {
        "version": VERSION,
        "profile": page.profile.name,
        "mode": page.profile.settings.trading_mode.value,
        "may_trade": Effect.TRADE in principal.effects,
        "access_ends": utc_text(principal.expires),
        "is_demo": DEMO in app,
    }


async def status(page: PageState) -> dict[str, Any]:
    """The status as `GET /gateway/status` has it, the conditions among it."""
    members = (await read_status(page.request)).as_json()
    return {"now": utc_text(page.request.app[CLOCK].utc()), **members}


async def traffic(page: PageState) -> dict[str, Any]:
    """The requests of the last hour."""
    samples = [asdict(each) | {"at": each.at.timestamp()} for each in page.request.app[REQUEST_SAMPLES].samples()]
    return {"interval_s": INTERVAL_S, "samples": samples}


async def orders(page: PageState) -> dict[str, Any]:
    """The latest orders in words, the open ones first."""
    listed = await join_orders(page.request, page.listing, None, MAX_ORDERS)
    rows = sorted(listed.orders, key=lambda order: order.state not in OPEN_STATES)
    return {
        "listed_at": utc_text(listed.listed_at),
        "problem": listed.problem,
        "orders": [_order(page, each) for each in rows],
    }


def _order(page: PageState, order: Order) -> dict[str, Any]:
    searches, redact = page.profile.orders, page.request.app[REDACTOR].redact
    record = searches.repository.index.find(order.id)
    until = searches.reconciler.searched_until(record) if record is not None else None
    question = order.question  # IBKR's words can name the account
    if question is not None:
        question = msgspec.structs.replace(question, texts=[redact(each) for each in question.texts])
    return {
        "id": order.id,
        "words": order_in_words(order, until),
        "state": order.state.value,
        "account": mask_account(order.account) if order.account else None,
        "created": utc_text(order.created),
        "error": order.error,
        "warnings": [redact(each) for each in order.warnings],
        "made_elsewhere": order.origin is OrderOrigin.ELSEWHERE,
        "question": msgspec.to_builtins(question),
    }


async def requests(page: PageState) -> dict[str, Any]:
    """The requests since those that the page knows."""
    recent = page.request.app[RECENT_REQUESTS].after(page.last_request, page.profile.name)
    if recent:
        page.last_request = recent[-1].number
    own_routes = page.request.app[OWN_ROUTES]
    return {"requests": [describe_request(each, own_routes) for each in recent]}


def describe_request(recent: RecentRequest, own_routes: OwnRoutes) -> dict[str, Any]:
    """One request without the values in its path and query."""
    served = recent.served
    bodies = None if recent.bodies is None else [each.decode("utf-8", "replace") for each in recent.bodies]
    return {
        "number": recent.number,
        "at": utc_text(recent.at),
        "method": served.method,
        "route": served.route,
        "parameters": recent.parameters,
        "status": served.status,
        "code": served.code,
        "ms": served.ms,
        "upstream_ms": served.upstream_ms,
        "source": served.source,
        "key": served.key,
        "request_id": served.request_id,
        "can_be_repeated": is_repeatable(recent, own_routes),
        "bodies": bodies,
    }


def is_repeatable(recent: RecentRequest, own_routes: OwnRoutes) -> bool:
    """Whether the page may send it again: a read that a valid key has sent, and that is no stream and no file."""
    served = recent.served
    if served.method != "GET" or served.profile is None or recent.target is None:
        return False
    if recent.upstream_target is not None:
        return True
    is_read = own_routes.effects.get(served.route, {}).get("GET") is Effect.READ
    return is_read and served.route not in own_routes.open_paths | own_routes.token_in_query


async def history(page: PageState) -> dict[str, Any]:
    """What has happened in the last week."""
    members: dict[str, Any] = msgspec.to_builtins(await read_history(page.request, HISTORY_DAYS))
    return members


async def demo(page: PageState) -> dict[str, Any]:
    """The faults of the simulator, in a demo."""
    control = page.request.app.get(DEMO)
    return {} if control is None else await control("GET", "/faults", None)


@dataclass(frozen=True)
class Topic:
    """One part of the page."""

    name: str
    read: Callable[[PageState], Coroutine[Any, Any, dict[str, Any]]]
    interval_s: float
    """Between two looks at it, while a page is open."""


TOPICS = (
    Topic("bridge", bridge, 60.0),
    Topic("status", status, 1.0),
    Topic("orders", orders, 1.0),
    Topic("requests", requests, 1.0),
    Topic("traffic", traffic, 10.0),
    Topic("history", history, 15.0),
    Topic("demo", demo, 2.0),
)
