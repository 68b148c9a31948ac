"""The routes of connections: what their bodies may have. `tests/stories/test_connecting.py` has the behaviour."""

from __future__ import annotations

import pytest

from ibkr_bridge.models.connections import ConnectionStep
from ibkr_bridge.profiles.connection_steps import Step
from tests.api.test_profiles import managing
from tests.harness import Harness

__all__ = ["managing"]
CONNECTION = "/profiles/main/connection"


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", CONNECTION, b"{", "bad_request"),
        ("POST", CONNECTION, b"{}", "validation_failed"),
        ("POST", CONNECTION, b'{"kind": "oauth2"}', "validation_failed"),
        ("POST", CONNECTION, b'{"kind": "oauth1a", "other": 1}', "validation_failed"),
        ("POST", CONNECTION, b'{"kind": "oauth1a"}', "bad_request"),  # its road is the Gateway
        ("POST", f"{CONNECTION}/verifier", b'{"oauth_token": "a"}', "validation_failed"),
        ("POST", f"{CONNECTION}/verifier", b'{"oauth_token": "a", "oauth_verifier": "b"}', "bad_request"),
        ("PUT", "/consumer", b'{"consumer_key": "A"}', "validation_failed"),
        ("GET", "/profiles/nobody/connection", None, "profile_not_found"),
        ("DELETE", "/profiles/nobody/connection", None, "profile_not_found"),
    ],
)
async def test_what_is_not_as_it_should_be_is_refused(
    harness: Harness, managing: str, method: str, path: str, body: bytes | None, code: str
) -> None:
    """Nothing is begun."""
    headers = {"Content-Type": "application/json"}
    assert (await harness.request(method, path, key=managing, headers=headers, body=body)).code == code


def test_the_route_knows_every_step() -> None:
    """Else a step would be an error for the caller."""
    assert [each.value for each in ConnectionStep] == [each.value for each in Step]
