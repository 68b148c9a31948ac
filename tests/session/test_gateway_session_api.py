"""The session at the Gateway; `test_session_api.py` has its calls."""

from __future__ import annotations

from ibkr_bridge.session.backoff import GRACE_S
from ibkr_bridge.session.gateway_session_api import GATEWAY_HINTS, GatewaySessionApi
from tests.session.test_oauth_session_api import FakeUpstream


def test_a_person_signs_in_and_the_gateway_opens_the_session_first() -> None:
    """So it gets some seconds for that after a fresh login."""
    api = GatewaySessionApi(FakeUpstream())

    assert (api.grace_s, api.opening_wait_s, api.next_act) == (GRACE_S, 0.0, "")
    assert GATEWAY_HINTS.needs_person


def test_a_request_of_a_person_sends_nothing() -> None:
    """He signs in at the Gateway."""
    upstream = FakeUpstream()

    GatewaySessionApi(upstream).request_access()

    assert upstream.sent == []
