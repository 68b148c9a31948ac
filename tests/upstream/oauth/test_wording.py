"""The words for IBKR's Web API."""

from __future__ import annotations

import pytest

from ibkr_bridge.errors import GatewayError, GatewayForbidden, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.upstream.oauth.wording import api_wording


@pytest.mark.parametrize("kind", [GatewayUnreachable, GatewayTimeout, GatewayProtocolError, GatewayForbidden])
def test_no_error_sends_a_person_to_a_gateway(kind: type[GatewayError]) -> None:
    """There is none on this road."""
    error = api_wording("api.ibkr.com").error(kind, "{name} did not answer")

    assert error.detail == "api.ibkr.com did not answer"
    assert error.hint != kind.hint
    assert "Gateway" not in error.hint
