"""The web application: the routes, and what their handlers share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from ibkr_bridge.api.openapi.document import encoded_document
from ibkr_bridge.api.passthrough import proxy
from ibkr_bridge.api.routes import ALL_ROUTES, own_routes
from ibkr_bridge.clock import Clock
from ibkr_bridge.conditions.board import ConditionBoard
from ibkr_bridge.config.settings import Settings, UnappliedSettings
from ibkr_bridge.events import Bus
from ibkr_bridge.history.recorder import HistoryRecorder
from ibkr_bridge.observe.metrics import Metrics
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import (
    ADMINISTRATION,
    BODY_BUDGET,
    BUS,
    CLOCK,
    CONDITIONS,
    CONNECTIONS,
    DEMO,
    DRAIN,
    HISTORY,
    KEYRING,
    LOOP_MONITOR,
    METRICS,
    OPENAPI,
    OWN_ROUTES,
    PLACES_OF_PAGES,
    PROFILES,
    RECENT_REQUESTS,
    REDACTOR,
    REQUEST_SAMPLES,
    REQUEST_SHARES,
    SETTINGS,
    UNAPPLIED,
    DemoControl,
)
from ibkr_bridge.server.body_budget import BodyBudget
from ibkr_bridge.server.catch_all import CatchAll
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.middleware import middlewares
from ibkr_bridge.server.profile_administration import ProfileAdministration
from ibkr_bridge.server.profile_connections import ProfileConnections
from ibkr_bridge.server.recent_requests import RecentRequests
from ibkr_bridge.server.request_parsing import MAX_BODY_BYTES
from ibkr_bridge.server.request_samples import RequestSamples
from ibkr_bridge.server.request_shares import RequestShares
from ibkr_bridge.server.response_headers import add_headers
from ibkr_bridge.supervision import LoopMonitor

MAX_OPEN_PAGES = 16  # of the operator, at a time
CleanupContext = Callable[[web.Application], AsyncIterator[None]]


@dataclass(frozen=True)
class ApplicationParts:
    """What the handlers share and the daemon owns."""

    settings: Settings
    bus: Bus
    clock: Clock
    redactor: Redactor
    keys: KeyRing
    drain: Drain
    loop_monitor: LoopMonitor
    unapplied: UnappliedSettings
    conditions: ConditionBoard
    history: HistoryRecorder
    profiles: ProfileRegistry
    administration: ProfileAdministration
    connections: ProfileConnections
    metrics: Metrics
    samples: RequestSamples
    demo: DemoControl | None


def build_application(parts: ApplicationParts, contexts: Iterable[CleanupContext]) -> web.Application:
    """The application with all its routes.

    Args:
        contexts: run while it serves: each begins something and ends it.
    """
    app = web.Application(middlewares=middlewares(), client_max_size=MAX_BODY_BYTES)
    app[SETTINGS], app[BUS], app[CLOCK], app[REDACTOR] = parts.settings, parts.bus, parts.clock, parts.redactor
    app[KEYRING], app[DRAIN], app[LOOP_MONITOR] = parts.keys, parts.drain, parts.loop_monitor
    app[UNAPPLIED], app[BODY_BUDGET], app[REQUEST_SHARES] = parts.unapplied, BodyBudget(), RequestShares()
    app[CONDITIONS], app[HISTORY] = parts.conditions, parts.history
    app[PROFILES], app[ADMINISTRATION], app[OWN_ROUTES] = parts.profiles, parts.administration, own_routes()
    app[CONNECTIONS] = parts.connections
    app[METRICS], app[OPENAPI] = parts.metrics.render, encoded_document
    _add_page(app, parts)
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.extend(contexts)
    add_routes(app.router)
    return app


def _add_page(app: web.Application, parts: ApplicationParts) -> None:
    """What the operator's page shows."""
    app[REQUEST_SAMPLES], app[PLACES_OF_PAGES] = parts.samples, asyncio.Semaphore(MAX_OPEN_PAGES)
    app[RECENT_REQUESTS] = RecentRequests(parts.clock, holds_bodies=parts.demo is not None)
    if parts.demo is not None:
        app[DEMO] = parts.demo


def add_routes(router: web.UrlDispatcher) -> None:
    """Add the bridge's own routes, and the pass-through for everything else."""
    for route in ALL_ROUTES:
        for method, path in itertools.product(route.methods, route.spellings):
            router.add_route(method, path, route.handler, expect_handler=defer_100_continue)
    everything_else = CatchAll()
    everything_else.add_route("*", proxy, expect_handler=defer_100_continue)
    router.register_resource(everything_else)


async def defer_100_continue(_: web.Request) -> None:
    """Answers `Expect: 100-continue` when the body is read, not before the key has been checked."""
