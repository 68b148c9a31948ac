"""The header of a signed request, in all the ways in which clients write it."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.api_host.oauth_request import OAuthRequest, RefusedError, read_authorization

ITEMS = {
    "oauth_consumer_key": "KEY",
    "oauth_nonce": "n",
    "oauth_signature_method": "HMAC-SHA256",
    "oauth_timestamp": "1",
    "oauth_signature": "a%2Bb%3D",
}
PAIRS = ", ".join(f'{name}="{value}"' for name, value in ITEMS.items())


@pytest.mark.parametrize(
    "header",
    [
        f'OAuth realm="limited_poa", {PAIRS}',
        f'OAuth {PAIRS}, realm="limited_poa"',
        f"OAuth realm=limited_poa, {PAIRS}",
        f'OAuth realm="a, b",{PAIRS.replace(", ", ",")}',
    ],
)
def test_the_realm_may_stand_anywhere_and_is_left_out(header: str) -> None:
    assert read_authorization(header) == {**ITEMS, "oauth_signature": "a+b="}


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, "no OAuth"),
        ("Bearer x", "no OAuth"),
        ("OAuth realm", "malformed parameter realm"),
        (f'OAuth {PAIRS}, oauth_nonce="2"', "malformed parameter oauth_nonce"),
        (f"OAuth {PAIRS}".replace("oauth_timestamp", "other"), "missing parameter oauth_timestamp"),
    ],
)
def test_a_bad_header_is_refused_with_the_first_mistake(header: str | None, text: str) -> None:
    with pytest.raises(RefusedError, match=text):
        read_authorization(header)


@pytest.mark.parametrize(
    ("scheme", "host", "url"),
    [
        ("https", "API.ibkr.com", "https://api.ibkr.com/v1/api/tickle"),
        ("https", "api.ibkr.com:443", "https://api.ibkr.com/v1/api/tickle"),
        ("http", "127.0.0.1:8080", "http://127.0.0.1:8080/v1/api/tickle"),
    ],
)
def test_the_signed_url_is_the_called_one_without_query_and_usual_port(scheme: str, host: str, url: str) -> None:
    assert OAuthRequest("POST", "/v1/api/tickle", "a=b", host, {}).url(scheme) == url
