"""The application keys: under these, handlers find the objects they share. They are declared here and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiohttp import web

from ibkr_bridge.clock import Clock
from ibkr_bridge.conditions.board import ConditionBoard
from ibkr_bridge.config.settings import Settings, UnappliedSettings
from ibkr_bridge.events import Bus
from ibkr_bridge.history.recorder import HistoryRecorder
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.body_budget import BodyBudget
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.profile_administration import ProfileAdministration
from ibkr_bridge.server.profile_connections import ProfileConnections
from ibkr_bridge.server.recent_requests import RecentRequests
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_samples import RequestSamples
from ibkr_bridge.server.request_shares import RequestShares
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.supervision import LoopMonitor

SETTINGS = web.AppKey("settings", Settings)
UNAPPLIED = web.AppKey("unapplied", UnappliedSettings)
CONDITIONS = web.AppKey("conditions", ConditionBoard)
HISTORY = web.AppKey("history", HistoryRecorder)
ADMINISTRATION = web.AppKey("administration", ProfileAdministration)
CONNECTIONS = web.AppKey("connections", ProfileConnections)
PROFILES = web.AppKey("profiles", ProfileRegistry)
BUS = web.AppKey("bus", Bus)
CLOCK = web.AppKey("clock", Clock)
REDACTOR = web.AppKey("redactor", Redactor)
KEYRING = web.AppKey("keyring", KeyRing)
LOOP_MONITOR = web.AppKey("loop_monitor", LoopMonitor)
DRAIN = web.AppKey("drain", Drain)
BODY_BUDGET = web.AppKey("body_budget", BodyBudget)
REQUEST_SHARES = web.AppKey("request_shares", RequestShares)
OWN_ROUTES = web.AppKey("own_routes", OwnRoutes)
REQUEST_SAMPLES = web.AppKey("request_samples", RequestSamples)
DemoControl = Callable[[str, str, Mapping[str, Any] | None], Awaitable[dict[str, Any]]]
"""Sends a command to the simulator of a demo: method, target and body, as `sim/control.py` reads them. It raises a
`ValueError` with words for a person if the simulator refuses.
"""
DEMO = web.AppKey[DemoControl]("demo")
"""Only a demo has it."""
PLACES_OF_PAGES = web.AppKey("places_of_pages", asyncio.Semaphore)
"""One place for each of the operator's pages that may be open at a time."""
RECENT_REQUESTS = web.AppKey("recent_requests", RecentRequests)
METRICS = web.AppKey[Callable[[Collection[str] | None], Awaitable[bytes]]]("metrics")
"""Returns the metrics of some profiles as text; of all for None."""
OPENAPI = web.AppKey[Callable[[], bytes]]("openapi")
"""Returns the document that describes the routes. A handler cannot import it, since it is made of all handlers."""
REQUEST_CONTEXT = web.RequestKey("request_context", RequestContext)


def profile_of(request: web.Request) -> Profile:
    """The profile that a request concerns, as its key says. The open routes describe the default profile.

    Raises:
        ProfileNotFound: it was removed since the request came, or the request concerns none.
    """
    context, profiles = request[REQUEST_CONTEXT], request.app[PROFILES]
    if context.principal is None:
        return profiles.default
    return profiles.get(context.profile or "")


def settings_of(request: web.Request) -> Settings:
    """The settings of the profile that a request concerns; those of `main` for what concerns none."""
    context = request.get(REQUEST_CONTEXT)
    name = context.profile if context is not None else None
    if name is None or name not in request.app[PROFILES]:
        return request.app[SETTINGS]
    return request.app[PROFILES].get(name).settings
