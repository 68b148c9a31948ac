"""The rows of the routes about profiles."""

from __future__ import annotations

from ibkr_bridge.api.profile_routes import PROFILE_ROUTES
from ibkr_bridge.ibkr.endpoint import Effect


def test_only_the_list_needs_no_key_that_manages() -> None:
    """Everything else changes who may do what."""
    assert [route.path for route in PROFILE_ROUTES if route.effect is not Effect.MANAGE] == ["/profiles"]


def test_they_concern_the_bridge() -> None:
    """The key of an app need not name a profile for them."""
    assert all(route.of_bridge for route in PROFILE_ROUTES)
