"""What follows from the columns of the catalogue."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr.catalogue import CATALOGUE, endpoint_of
from ibkr_bridge.ibkr.endpoint import RELEASES, UNKNOWN, CacheTag, Effect, Endpoint, Layer, Priority


@pytest.mark.parametrize(
    ("method", "path", "is_read", "is_repeatable", "is_shareable"),
    [
        ("GET", "/portfolio/accounts", True, True, True),
        ("POST", "/pa/performance", True, False, True),
        ("GET", "/iserver/marketdata/unsubscribeall", False, False, False),
        ("POST", "/portfolio/DU1/positions/invalidate", False, False, False),
        ("GET", "/iserver/not/known", True, False, False),
        ("POST", "/iserver/account/DU1/orders", False, False, False),
    ],
)
def test_a_read_is_repeated_or_shared_only_where_that_is_sure_to_do_no_harm(
    method: str, path: str, is_read: bool, is_repeatable: bool, is_shareable: bool
) -> None:
    """Something ends by some calls that read by method and effect."""
    endpoint = endpoint_of(method, path)

    assert (endpoint.is_read, endpoint.is_repeatable, endpoint.is_shareable) == (is_read, is_repeatable, is_shareable)


def test_an_order_makes_only_orders_stale_and_other_changes_more() -> None:
    """A read makes nothing stale."""
    assert endpoint_of("POST", "/iserver/account/DU1/orders").invalidates == (CacheTag.ORDERS,)
    assert CacheTag.ACCOUNT in endpoint_of("POST", "/iserver/watchlist").invalidates
    assert endpoint_of("GET", "/portfolio/accounts").invalidates == ()


def test_an_endpoint_that_is_not_listed_is_known_by_its_source() -> None:
    """Whatever else is said of it."""
    made = Endpoint("GET", "/x/{id}", Effect.READ, Layer.LOGIN, UNKNOWN)

    assert (made.is_listed, made.segments) == (False, ("x", "{id}"))


def test_what_releases_something_is_no_read_anywhere_in_the_catalogue() -> None:
    """It must not be shared: the second caller's would not be sent."""
    assert not any(endpoint.is_read for endpoint in CATALOGUE if endpoint.segments[-1] in RELEASES)


def test_the_session_goes_before_orders_and_orders_before_reads() -> None:
    """Queues are served in this order."""
    assert sorted(Priority) == [Priority.SESSION, Priority.ORDERS, Priority.READS]
