"""The traits of IBKR's Web API."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr.catalogue import CATALOGUE, endpoint_of
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.upstream.oauth.traits import oauth_traits


@pytest.mark.parametrize("rate", [1, 2, 10, 50])
def test_the_rate_follows_the_setting_with_room_to_spare(rate: int) -> None:
    """Handshakes, the websocket and other programs count at IBKR too."""
    traits = oauth_traits(rate, is_portfolio_only=False)

    assert traits.total is not None
    assert 1 <= traits.total.calls <= max(1, rate - rate // 5)
    assert all(1 <= limit.calls <= traits.total.calls for limit in traits.by_priority.values())
    assert Limits.of(traits).slots > 100


def test_a_portfolio_only_profile_has_no_brokerage_calls() -> None:
    """The reason names the setting."""
    traits = oauth_traits(10, is_portfolio_only=True)

    assert all(traits.has(each) is (each.layer is not Layer.BROKERAGE) for each in CATALOGUE)
    assert not traits.has(endpoint_of("POST", "/iserver/account/DU1/orders"))
    assert traits.has(endpoint_of("GET", "/portfolio/DU1/positions/0"))
    assert all("IBKR_BRIDGE_PORTFOLIO_ONLY" in reason for reason in traits.missing.values())
