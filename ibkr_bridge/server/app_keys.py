"""The application keys: under these, handlers find the objects they share. They are declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_shares import RequestShares
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.supervision import LoopMonitor

SETTINGS = web.AppKey("settings", Settings)
UNAPPLIED = web.AppKey("unapplied", UnappliedSettings)
CONDITIONS = web.AppKey("conditions", ConditionBoard)
HISTORY = web.AppKey("history", HistoryRecorder)
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
METRICS = web.AppKey[Callable[[], Awaitable[bytes]]]("metrics")
"""Returns the metrics as text."""
OPENAPI = web.AppKey[Callable[[], bytes]]("openapi")
"""Returns the document that describes the routes. A handler cannot import it, since it is made of all handlers."""
REQUEST_CONTEXT = web.RequestKey("request_context", RequestContext)


def profile_of(request: web.Request) -> Profile:
    """The profile that a request concerns: its key belongs to it. The open routes describe the default profile."""
    principal = request[REQUEST_CONTEXT].principal
    profiles = request.app[PROFILES]
    return profiles.default if principal is None else profiles.get(principal.profile)
