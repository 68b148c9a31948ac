"""The properties that follow from the columns of the catalogue."""

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
def test_a_read_is_repeated_or_shared_only_if_that_is_surely_harmless(
    method: str, path: str, is_read: bool, is_repeatable: bool, is_shareable: bool
) -> None:
    """Some calls release something, although they are reads by method and effect."""
    endpoint = endpoint_of(method, path)

    assert (endpoint.is_read, endpoint.is_repeatable, endpoint.is_shareable) == (is_read, is_repeatable, is_shareable)


def test_an_order_makes_only_orders_stale_and_other_changes_more() -> None:
    """A read makes nothing stale."""
    assert endpoint_of("POST", "/iserver/account/DU1/orders").invalidates == (CacheTag.ORDERS,)
    assert CacheTag.ACCOUNT in endpoint_of("POST", "/iserver/watchlist").invalidates
    assert endpoint_of("GET", "/portfolio/accounts").invalidates == ()


def test_an_unlisted_endpoint_is_recognised_by_its_source() -> None:
    """Whatever its other columns are."""
    endpoint = Endpoint("GET", "/x/{id}", Effect.READ, Layer.LOGIN, UNKNOWN)

    assert (endpoint.is_listed, endpoint.segments) == (False, ("x", "{id}"))


def test_an_endpoint_that_releases_something_is_never_a_read() -> None:
    """It must not be shared: the call of the second caller would not be sent."""
    assert not any(endpoint.is_read for endpoint in CATALOGUE if endpoint.segments[-1] in RELEASES)


def test_the_session_goes_before_orders_and_orders_before_reads() -> None:
    """The admission queue is served in this order."""
    assert sorted(Priority) == [Priority.SESSION, Priority.ORDERS, Priority.READS]
