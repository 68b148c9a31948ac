"""The routes of the plain API, as a whole."""

from __future__ import annotations

import pytest

from ibkr_bridge.api.plain.routes import PLAIN_ROUTES
from ibkr_bridge.api.route import Auth, Route
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.base import Model


@pytest.mark.parametrize("route", PLAIN_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_has_shapes_and_errors_without_repetition(route: Route) -> None:
    """The OpenAPI document is made of them."""
    assert route.auth is Auth.KEY_OR_TOKEN
    assert route.endless or (route.response is not None and issubclass(route.response, Model))
    assert len(set(route.errors)) == len(route.errors)
    assert (route.request is not None) == (route.method in ("POST", "PATCH"))


def test_only_order_calls_trade_and_only_one_cancels() -> None:
    """A cancel is tried even while too many requests are handled."""
    trading = {route.method for route in PLAIN_ROUTES if route.effect is Effect.TRADE}

    assert trading == {"POST", "PATCH", "DELETE"}
    assert [(route.method, route.path) for route in PLAIN_ROUTES if route.cancels] == [("DELETE", "/orders/{id}")]
