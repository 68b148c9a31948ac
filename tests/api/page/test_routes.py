"""The routes of the page."""

from __future__ import annotations

from ibkr_bridge.api.page.routes import PAGE_ROUTES
from ibkr_bridge.api.route import Auth
from ibkr_bridge.api.routes import ROUTES, own_routes


def test_all_but_the_page_itself_need_its_cookie() -> None:
    """And the cookie reaches no other route, since its path is /page."""
    assert {route.path for route in PAGE_ROUTES if route.auth is not Auth.PAGE} == {"/"}
    assert all(route.path.startswith("/page/") for route in PAGE_ROUTES if route.auth is Auth.PAGE)


def test_they_are_no_part_of_the_api() -> None:
    """No program is told of them."""
    assert {route.path for route in ROUTES}.isdisjoint(route.path for route in PAGE_ROUTES)
    assert own_routes().of_page == {route.path for route in PAGE_ROUTES} - {"/"}
