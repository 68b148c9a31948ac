"""The web application: its routes, and what its handlers share."""

from __future__ import annotations

from ibkr_bridge.api.routes import ALL_ROUTES
from ibkr_bridge.application import MAX_OPEN_PAGES
from ibkr_bridge.server.app_keys import DEMO, PLACES_OF_PAGES, PROFILES, RECENT_REQUESTS, SETTINGS
from tests.harness import Harness


async def test_handlers_find_what_the_daemon_owns(harness: Harness) -> None:
    """Under the keys of `app_keys`."""
    app = harness.application

    assert app[SETTINGS] is harness.bridge.settings
    assert app[PROFILES].default is harness.bridge.profile
    assert app[PLACES_OF_PAGES]._value == MAX_OPEN_PAGES


async def test_only_a_demo_has_a_simulator_and_bodies(harness: Harness) -> None:
    """A real bridge holds no body after its request."""
    assert DEMO not in harness.application
    assert not harness.application[RECENT_REQUESTS].holds_bodies


async def test_every_route_is_served(harness: Harness) -> None:
    """And everything else reaches the pass-through."""
    served = {resource.canonical for resource in harness.application.router.resources()}

    assert {route.path for route in ALL_ROUTES} <= served
    assert (await harness.get("/nothing-of-the-kind")).code == "not_bridged"
