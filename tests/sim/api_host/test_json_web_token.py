"""Tokens of OAuth 2.0, taken apart."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.api_host import usual_keys
from ibkr_bridge.sim.api_host.json_web_token import WebToken
from ibkr_bridge.sim.api_host.keys import load_public_key
from tests.sim.api_host.test_assertions import organisation_key, sign

CLAIMS = {"iss": "shop"}


def test_a_token_is_signed_by_its_key_and_no_other() -> None:
    token = WebToken.read(sign({"alg": "RS256", "kid": "main"}, CLAIMS))
    assert (token.header["kid"], token.claims) == ("main", CLAIMS)
    assert token.is_signed_by(organisation_key().public_key())
    assert not token.is_signed_by(load_public_key(usual_keys().signature_public_pem))


def test_another_algorithm_is_no_signature() -> None:
    """A token that says `none` must not be taken for one without a mistake."""
    assert not WebToken.read(sign({"alg": "none"}, CLAIMS)).is_signed_by(organisation_key().public_key())


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "W10.W10.", "e30.!.", "\xff.\xff.\xff"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        WebToken.read(text)
